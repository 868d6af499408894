"""What the rest of the house asks of a store: pages of a listing, and ranges of an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectInfo

#: Receives the body of one range in order, piece by piece; a piece is only valid during the call.
Sink = Callable[[memoryview], object]

#: A listed object as a plain tuple in the order of ``ObjectInfo``'s fields (a million named tuples cost a second).
ObjectRow = tuple[str, int, int, str, str, str]


class Page(NamedTuple):
    """One answer of a listing; keys are whole keys (with the mount's prefix), in byte order where the store has one."""

    rows: list[ObjectRow]
    prefixes: list[str]
    """Common prefixes, ending in the delimiter; empty without a delimiter."""


class Begun(Protocol):
    """A read of one whole object that is on its way; used by one thread at a time."""

    def fileno(self) -> int:
        """A descriptor that can be read when more of the answer has come."""

    def take(self) -> bool:
        """Take what has come, without a wait. True: there is nothing more to wait for."""

    def content(self) -> bytes | None:
        """All of the object, checked as ``read_range`` does; None: only ``finish`` can tell what is the matter."""

    def finish(self, sink: Sink) -> None:
        """As ``ObjectStore.read_range``, going on with what has come; not after ``content`` gave it."""

    def close(self) -> None:
        """Give it up."""


#: Asks for all of an object, which is not empty. None: only ``read_range`` can, which may wait, as for a connection.
Begin = Callable[[ObjectInfo, Purpose], "Begun | None"]


class ObjectStore(Protocol):
    """One bucket (or one file system of fsspec), seen read-only; safe to use from many threads.

    Failures are the exceptions of ``vfsoverlay.errors`` or plain OSErrors, without filename: who
    knows the caller's spelling adds it. Definite absence of a key is ``FileNotFoundError``.
    """

    @property
    def origin(self) -> str:
        """Endpoint and bucket: what makes equal keys of two stores different objects."""

    @property
    def is_ordered(self) -> bool:
        """Whether pages are in byte order of keys and begin at ``start_after`` at no cost: then parts overlap."""

    def check_access(self, prefix: str) -> None:
        """Prove that *prefix* can be listed, with one request at most; raise ``CannotAccessSource``."""

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """Pages of all keys that begin with *prefix* and follow *start_after*; close the iterator to stop early."""

    def head(self, key: str) -> ObjectRow:
        """What a listing would say of *key*, for those who may read but not list; dates may be to the second only."""

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """Give bytes *start* to *stop* (exclusive) of this very version to *sink*, exactly once each and in order.

        Retries resume behind the last byte that *sink* took. The answer's ETag, total size and
        range are checked; another version raises ``StaleObject``. Never called for an empty range.

        Before another attempt *sink* may get an empty piece. It raises there if nobody wants the rest any more,
        and whatever it raises ends the reading at once.

        What *sink* took before another exception is right and may be kept; after ``ObjectDamaged``
        (a whole object without its checksum, whose last piece is held back) it may not.
        """

    @property
    def begin(self) -> Begin | None:
        """Asks for all of a version and does not wait for the answer, so that many such reads need one thread.

        None: this kind of store waits for each answer.
        """

    def after_fork(self) -> None:
        """Drop connections, locks and loops of the parent; called in the child."""

    def close(self) -> None:
        """Give connections back; the store is not used afterwards."""
