"""Which store serves a source URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vfsoverlay._fork_gate import no_fork
from vfsoverlay._metrics import Metrics
from vfsoverlay._model import Prefix
from vfsoverlay._store.deferred_store import DeferredStore
from vfsoverlay._store.protocol import ObjectStore
from vfsoverlay._store.uri import S3_PROTOCOLS, Source, parse_source

#: Gives the value of an option by its name, as ``Mount.option`` does.
OptionOf = Callable[[str], Any]


@no_fork  # a child that is forked within an import would wait forever for a thread that it does not have
def open_store(source: str, option: OptionOf, metrics: Metrics) -> tuple[ObjectStore, Prefix]:
    """The store of *source*, and the prefix of its keys that is mounted.

    Args:
        source: URL of the mount spec.
        option: Value of an option by its name.
        metrics: Where the store counts.

    Raises:
        ValueError: A protocol that fsspec does not know, or options that contradict each other.
        CannotAccessSource: It is already clear that the source cannot be reached. No request is sent.
    """
    parsed = parse_source(source)
    if parsed.protocol not in S3_PROTOCOLS:
        return _fsspec_store(parsed, option, metrics), parsed.prefix
    if option("transport") == "s3fs":
        return _s3fs_store(parsed, option, metrics), parsed.prefix
    return _s3_store(parsed, option, metrics), parsed.prefix


def defer_store(
    source: str, option: OptionOf, metrics: Metrics, origin: str, aside: Callable[[Callable[[], Any]], Any]
) -> tuple[ObjectStore, Prefix]:
    """As ``open_store``, for a store that another process has made with this *origin*: made when it is first asked.

    By then the mount is visible. *aside* runs what must not see it, since the libraries that a store
    loads could be files of this very mount.
    """

    def make() -> ObjectStore:
        store: ObjectStore = aside(lambda: open_store(source, option, metrics)[0])
        return store

    return DeferredStore(origin, make), parse_source(source).prefix


# The modules below load botocore or fsspec, which only a mount of their kind should pay for.


def _s3_store(source: Source, option: OptionOf, metrics: Metrics) -> ObjectStore:
    from vfsoverlay._store.s3_settings import settings_from
    from vfsoverlay._store.s3_store import S3Store

    settings = settings_from(option)
    return S3Store(source.bucket, settings, metrics, deadline=option("deadline"), version_at=option("version_at"))


def _s3fs_store(source: Source, option: OptionOf, metrics: Metrics) -> ObjectStore:
    from vfsoverlay._store.fsspec_file_system import FileSystem
    from vfsoverlay._store.fsspec_open import opener_of
    from vfsoverlay._store.s3fs_store import S3fsStore

    _refuse_version_at(option)
    make, _ = opener_of(source, option)
    origin = f"{option('endpoint_url') or 's3:/'}/{source.bucket}"
    base = FileSystem(make, metrics, deadline=option("deadline"))
    return S3fsStore(base, source.bucket, origin, option("sse_customer_key"))


def _fsspec_store(source: Source, option: OptionOf, metrics: Metrics) -> ObjectStore:
    from vfsoverlay._store.fsspec_file_system import FileSystem
    from vfsoverlay._store.fsspec_open import opener_of
    from vfsoverlay._store.fsspec_store import FsspecStore

    _refuse_version_at(option)
    make, root = opener_of(source, option)
    # The paths of some file systems, such as http, are whole URLs.
    scheme = f"{source.protocol}://"
    origin = root if root.startswith(scheme) else scheme + root
    return FsspecStore(FileSystem(make, metrics, deadline=option("deadline")), root, origin)


def _refuse_version_at(option: OptionOf) -> None:
    if option("version_at") is not None:
        msg = "version_at is for s3:// sources with transport='auto' only"
        raise ValueError(msg)
