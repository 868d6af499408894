"""Stores for tests of the rooms above the store: in memory, failing by script, or slow."""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import md5

from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.protocol import Begin, ObjectRow, ObjectStore, Page, Sink
from vfsoverlay.errors import CannotAccessSource, StaleObject
from vfsoverlay.testing._listing import page_of


class MemoryStore:
    """Objects in a dict; overwriting one changes its ETag, and readers of the old version get ``StaleObject``.

    Args:
        objects: Keys and contents to begin with.
        origin: What distinguishes this store from others.
        max_page: Items a page has at most, whatever is asked for: 1 finds errors at page borders.
        piece: Bytes that a sink gets at a time.
    """

    #: Each answer is waited for.
    begin: Begin | None = None

    def __init__(
        self,
        objects: dict[str, bytes] | None = None,
        *,
        origin: str = "memory://bucket",
        max_page: int = 1000,
        piece: int = 64 * 1024,
    ) -> None:
        self._origin = origin
        self._max_page = max_page
        self._piece = piece
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._writes = 0
        self.requests: Counter[str] = Counter()
        """Requests by purpose: "check", "list" (one a page), "head", and those of ``read_range``."""
        self.closed = False
        self.forks = 0
        """How often ``after_fork`` was called."""
        for key, body in (objects or {}).items():
            self.put(key, body)

    # ----------------------------------------------------------------------------- filling

    def put(self, key: str, body: bytes, *, mtime_ns: int = 1_700_000_000_000_000_000, **fields: str) -> ObjectInfo:
        """Store *body*; the ETag differs from that of every earlier write. *fields* are those of ``ObjectInfo``."""
        with self._lock:
            self._writes += 1
            etag = fields.pop("etag", md5(b"%d " % self._writes + body).hexdigest())
            info = ObjectInfo(key, len(body), mtime_ns, etag, **fields)
            self._objects[key] = (info, body)
            return info

    def delete(self, key: str) -> None:
        """Remove *key*; raises ``KeyError`` if it is not there."""
        with self._lock:
            del self._objects[key]

    def info(self, key: str) -> ObjectInfo:
        """What a listing says of *key*."""
        return self._objects[key][0]

    # ------------------------------------------------------------------------- ObjectStore

    @property
    def origin(self) -> str:
        """See ``ObjectStore``."""
        return self._origin

    @property
    def is_ordered(self) -> bool:
        """See ``ObjectStore``."""
        return True

    def check_access(self, prefix: str) -> None:
        """See ``ObjectStore``; *prefix* may be empty of objects."""
        self._count("check")
        if self.closed:
            raise CannotAccessSource.because("failed", f"the store was closed, {prefix!r} cannot be listed")

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """See ``ObjectStore``."""
        limit = min(page_size, self._max_page)
        while True:
            self._count("list")
            with self._lock:
                objects = dict(self._objects)
            page = page_of(sorted(objects), prefix, delimiter, start_after, limit)
            rows: list[ObjectRow] = [objects[key][0][:] for key in page.keys]
            yield Page(rows, page.prefixes)
            if not page.truncated:
                return
            start_after = page.last

    def head(self, key: str) -> ObjectRow:
        """See ``ObjectStore``."""
        self._count("head")
        with self._lock:
            if key not in self._objects:
                raise FileNotFoundError(errno.ENOENT, f"there is no object {key!r}")
            return self._objects[key][0][:]

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """See ``ObjectStore``."""
        self._count(purpose)
        with self._lock:
            current, body = self._objects.get(info.key, (None, b""))
        if current is None:
            raise FileNotFoundError(errno.ENOENT, f"there is no object {info.key!r}")
        if (current.etag, current.size) != (info.etag, info.size):
            raise StaleObject(errno.ESTALE, f"object {info.key!r} changed since it was listed")
        if not 0 <= start < stop <= len(body):
            msg = f"range {start}-{stop} does not lie in the {len(body)} bytes of {info.key!r}"
            raise ValueError(msg)
        view = memoryview(body)
        for position in range(start, stop, self._piece):
            sink(view[position : min(position + self._piece, stop)])

    def after_fork(self) -> None:
        """See ``ObjectStore``."""
        self._lock = threading.Lock()
        self.forks += 1

    def close(self) -> None:
        """See ``ObjectStore``."""
        self.closed = True

    def _count(self, purpose: str) -> None:
        with self._lock:
            self.requests[purpose] += 1


class _WrappingStore:
    """Passes everything on to another store."""

    #: Each answer is waited for.
    begin: Begin | None = None

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    @property
    def origin(self) -> str:
        """See ``ObjectStore``."""
        return self.inner.origin

    @property
    def is_ordered(self) -> bool:
        """See ``ObjectStore``."""
        return self.inner.is_ordered

    def check_access(self, prefix: str) -> None:
        """See ``ObjectStore``."""
        self.inner.check_access(prefix)

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """See ``ObjectStore``."""
        return self.inner.list_pages(prefix, start_after=start_after, delimiter=delimiter, page_size=page_size)

    def head(self, key: str) -> ObjectRow:
        """See ``ObjectStore``."""
        return self.inner.head(key)

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """See ``ObjectStore``."""
        self.inner.read_range(info, start, stop, sink, purpose=purpose)

    def after_fork(self) -> None:
        """See ``ObjectStore``."""
        self.inner.after_fork()

    def close(self) -> None:
        """See ``ObjectStore``."""
        self.inner.close()


#: What the next call of a method does: fail at once, fail after so many bytes or pages, or (None) work.
Step = BaseException | tuple[int, BaseException] | None


class FlakyStore(_WrappingStore):
    """Fails by script: each call of a method takes the next step of that method's list, and works when it is used up.

        FlakyStore(store, read=[OSError(errno.EIO, "down"), None, (4096, OSError(errno.EIO, "cut"))])

    The first read fails at once, the second works, the third fails after 4,096 bytes. For a
    listing the number counts pages.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        check: list[Step] | None = None,
        list: list[Step] | None = None,
        read: list[Step] | None = None,
    ) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._script = {"check": [*(check or ())], "list": [*(list or ())], "read": [*(read or ())]}

    @property
    def steps_left(self) -> int:
        """Steps that no call has taken yet; 0 proves that the whole script was played."""
        with self._lock:
            return sum(map(len, self._script.values()))

    def _next(self, method: str) -> tuple[int, BaseException | None]:
        with self._lock:
            step = self._script[method].pop(0) if self._script[method] else None
        return step if isinstance(step, tuple) else (0, step)

    def check_access(self, prefix: str) -> None:
        """See ``ObjectStore``."""
        _, error = self._next("check")
        if error is not None:
            raise error
        super().check_access(prefix)

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """See ``ObjectStore``."""
        after, error = self._next("list")
        pages = super().list_pages(prefix, start_after=start_after, delimiter=delimiter, page_size=page_size)
        for number, page in enumerate(pages):
            if error is not None and number == after:
                raise error
            yield page

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """See ``ObjectStore``."""
        after, error = self._next("read")
        if error is None:
            super().read_range(info, start, stop, sink, purpose=purpose)
            return
        if after:
            super().read_range(info, start, min(start + after, stop), sink, purpose=purpose)
        raise error


class SlowStore(_WrappingStore):
    """Waits before each request, as a network does.

    Args:
        inner: The store that answers.
        latency: Seconds before each page and each range.
        bandwidth: Bytes a second of each range; 0 is no limit.
        sleep: How to wait; a test may pass a clock of its own.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        latency: float = 0.0,
        bandwidth: float = 0.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(inner)
        self._latency = latency
        self._bandwidth = bandwidth
        self._sleep = sleep

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """See ``ObjectStore``."""
        for page in super().list_pages(prefix, start_after=start_after, delimiter=delimiter, page_size=page_size):
            self._sleep(self._latency)
            yield page

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """See ``ObjectStore``."""
        self._sleep(self._latency)

        def paced(piece: memoryview) -> None:
            if self._bandwidth:
                self._sleep(len(piece) / self._bandwidth)
            sink(piece)

        super().read_range(info, start, stop, paced, purpose=purpose)
