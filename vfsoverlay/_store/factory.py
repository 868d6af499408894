"""Which store serves a source URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vfsoverlay._metrics import Metrics
from vfsoverlay._model import Prefix
from vfsoverlay._store.protocol import ObjectStore
from vfsoverlay._store.uri import S3_PROTOCOLS, parse_source


def open_store(source: str, option: Callable[[str], Any], metrics: Metrics) -> tuple[ObjectStore, Prefix]:
    """The store of *source*, and the prefix of its keys that is mounted.

    Args:
        source: URL of the mount spec.
        option: Gives the value of an option by its name, as ``Mount.option`` does.
        metrics: Where the store counts.

    Raises:
        ValueError: A protocol that fsspec does not know, or options that contradict each other.
        CannotAccessSource: It is already clear that the source cannot be reached. No request is sent.
    """
    parsed = parse_source(source)
    if parsed.protocol in S3_PROTOCOLS and option("transport") == "auto":
        from vfsoverlay._store.s3_settings import settings_from
        from vfsoverlay._store.s3_store import S3Store

        store = S3Store(
            parsed.bucket,
            settings_from(option),
            metrics,
            deadline=option("deadline"),
            version_at=option("version_at"),
        )
        return store, parsed.prefix
    from vfsoverlay._store.fsspec_store import open_fsspec_store

    return open_fsspec_store(parsed, option, metrics)
