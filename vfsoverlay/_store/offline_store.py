"""A store that is never asked: what is not on local disk already is refused, by name."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.protocol import Begin, ObjectRow, ObjectStore, Page, Sink
from vfsoverlay.errors import CannotAccessSource, StoreUnavailable


class OfflineStore:
    """Stands in front of a store and lets nothing through but its name.

    Args:
        store: Says which objects are meant; sends no request.
        source: URL of the mount.
        prefix: The part of *source* that its keys begin with.
    """

    #: Nothing is asked for.
    begin: Begin | None = None

    def __init__(self, store: ObjectStore, source: str, prefix: str) -> None:
        self._store = store
        self._source = source
        self._base = source.removesuffix(prefix)

    @property
    def origin(self) -> str:
        """As the store has it: bytes that came from there are found under it."""
        return self._store.origin

    @property
    def is_ordered(self) -> bool:
        """As the store."""
        return self._store.is_ordered

    def check_access(self, prefix: str) -> None:  # noqa: ARG002 - the interface
        """Raises: nothing can be proved."""
        raise self._unlisted()

    def list_pages(
        self,
        prefix: str,  # noqa: ARG002 - the interface
        *,
        start_after: str = "",  # noqa: ARG002 - the interface
        delimiter: str = "",  # noqa: ARG002 - the interface
        page_size: int = 1000,  # noqa: ARG002 - the interface
    ) -> Iterator[Page]:
        """Raises: names come from a listing that was kept."""
        raise self._unlisted()

    def head(self, key: str) -> ObjectRow:  # noqa: ARG002 - the interface
        """Raises: as ``list_pages``."""
        raise self._unlisted()

    def read_range(
        self,
        info: ObjectInfo,
        start: int,
        stop: int,
        sink: Sink,  # noqa: ARG002 - the interface
        *,
        purpose: Purpose = "read",  # noqa: ARG002 - the interface
    ) -> None:
        """Raises: who asks here has not found the bytes in the cache."""
        what = f"bytes {start} to {stop} of {info.size}" if stop - start < info.size else f"its {info.size} bytes"
        msg = (
            f"{self._base}{info.key} is not in the cache ({what}), and offline=True allows no request; "
            "fetch it before ('vfsoverlay warm'), or mount without offline"
        )
        raise StoreUnavailable(errno.EIO, msg)

    def after_fork(self) -> None:
        """As the store."""
        self._store.after_fork()

    def close(self) -> None:
        """As the store."""
        self._store.close()

    def _unlisted(self) -> CannotAccessSource:
        return CannotAccessSource.because(
            "offline",
            f"no listing of {self._source} is in the cache, and offline=True allows no request; "
            "mount it once without offline, or give index=FILE with what 'vfsoverlay index save' wrote",
        )
