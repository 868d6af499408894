"""A store that is made when it is first asked: a process that finds all its bytes in the cache never pays for one."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator

from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.protocol import Begun, ObjectRow, ObjectStore, Page, Sink
from vfsoverlay.errors import StoreUnavailable


class DeferredStore:
    """Stands in front of a store that another process has made before, and that is the same here.

    Libraries that speak to stores take many times as long to load as all of ours, and a worker that
    reads what others have fetched needs none of them.

    Args:
        origin: That of the store, as the other process found it: part of the identity of all cached bytes.
        make: Makes the store; may fail and be called again.
    """

    def __init__(self, origin: str, make: Callable[[], ObjectStore]) -> None:
        self._origin = origin
        self._make = make
        self._made: ObjectStore | None = None
        self._lock = threading.Lock()

    @property
    def origin(self) -> str:
        """As the other process told it."""
        return self._origin

    @property
    def is_ordered(self) -> bool:
        """As the store."""
        return self._store().is_ordered

    def check_access(self, prefix: str) -> None:
        """As the store."""
        self._store().check_access(prefix)

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """As the store."""
        return self._store().list_pages(prefix, start_after=start_after, delimiter=delimiter, page_size=page_size)

    def head(self, key: str) -> ObjectRow:
        """As the store."""
        return self._store().head(key)

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """As the store."""
        self._store().read_range(info, start, stop, sink, purpose=purpose)

    def begin(self, info: ObjectInfo, purpose: Purpose) -> Begun | None:
        """As the store, once there is one: to make it may take long."""
        begin = None if self._made is None else self._made.begin
        return None if begin is None else begin(info, purpose)

    def after_fork(self) -> None:
        """As the store; in the child, a new lock."""
        self._lock = threading.Lock()
        if self._made is not None:
            self._made.after_fork()

    def close(self) -> None:
        """As the store, if there is one."""
        if self._made is not None:
            self._made.close()

    def _store(self) -> ObjectStore:
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._checked(self._make())
        return self._made

    def _checked(self, store: ObjectStore) -> ObjectStore:
        """Refuse a store that is another one here, such as by another endpoint in the environment of this process."""
        if store.origin == self._origin:
            return store
        found = store.origin
        store.close()
        msg = (
            f"the process that made this mount reads {self._origin}, but the settings of this one lead to {found}; "
            "give both the same endpoint and region, or unmount() and mount() here"
        )
        raise StoreUnavailable(errno.EIO, msg)
