"""The front of the room: versions of objects in, descriptors and handles out."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar
from weakref import WeakSet

from vfsoverlay import _real
from vfsoverlay._cache import ahead_budget, fetch_task, layout, locks
from vfsoverlay._cache.boot import boot_id
from vfsoverlay._cache.budget import Budget, DiskFull
from vfsoverlay._cache.cached_object import CachedObject, LargeHandle, SmallHandle
from vfsoverlay._cache.catalog import Catalog
from vfsoverlay._cache.check import Report, check
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.eviction import Evictor, Usage
from vfsoverlay._cache.fetch_task import Fetch, FetchTask, WholeFetch
from vfsoverlay._cache.fetcher import Fetcher
from vfsoverlay._cache.large_objects import LargeObjects
from vfsoverlay._cache.ledger import Ledger
from vfsoverlay._cache.lookahead import Lookahead
from vfsoverlay._cache.object_file import WaitedTooLong
from vfsoverlay._cache.object_locks import ObjectLocks
from vfsoverlay._cache.read_range import FULL, ReadRange, Wanted
from vfsoverlay._cache.records import Record
from vfsoverlay._cache.small_fetch import SmallFetch
from vfsoverlay._cache.small_objects import SmallObjects
from vfsoverlay._cache.warm import warm
from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._model import ObjectId

__all__ = ["BLOCK_SIZE", "BlockCache", "CachedObject", "Lookahead", "ReadRange", "Report", "Usage", "Wanted"]

#: Bytes of one block: the unit of the presence map and the least that a random read fetches.
BLOCK_SIZE: Final = 128 * 1024


Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often the directory may be deleted while one object is fetched.
_TRIES: Final = 10

_LOGGER: Final = logging.getLogger("vfsoverlay")


class BlockCache:
    """Bytes of object versions in one directory, shared by all processes that name the same directory.

    Args:
        directory: Made if missing; private to this user.
        cache_size: Bytes the cache may use on disk; None: 20 GiB or half of what is free, whichever is less.
        min_free: Bytes that stay free on the disk; None: 5 % of the disk, at most 5 GiB.
        block_size: Bytes of a block; existing objects keep theirs.
        metrics: Where things are counted.
        deadline: Seconds to wait for another process that fetches the wanted bytes.
        readahead: Whether sequential readers are fetched ahead of.
        promotion: Whether many random reads of one object may end in fetching it whole.
        memory_budget: Bytes that this process may have on their way before a reader waits for them.
        boot: The identity of this boot; None: ask the kernel.
        kind_of_locks: How processes exclude each other; None: the best that the directory's file system has.

    Raises:
        OSError: The directory cannot be used; names it.
    """

    def __init__(
        self,
        directory: str,
        *,
        cache_size: int | None = None,
        min_free: int | None = None,
        block_size: int = BLOCK_SIZE,
        metrics: Metrics | None = None,
        deadline: float = 120.0,
        readahead: bool = True,
        promotion: bool = True,
        memory_budget: int = ahead_budget.MOST,
        boot: bytes | None = None,
        kind_of_locks: locks.Locks | None = None,
    ) -> None:
        self.layout = layout.Layout(directory)
        self.layout.prepare()
        self._locks = kind_of_locks or locks.probe(self.layout.locks)
        self._metrics = metrics or Metrics()
        self._deadline = deadline
        self._readahead = readahead
        self._promotion = promotion
        self._noted_memory = False
        self._boot = boot or boot_id()
        self._catalog = Catalog(self.layout.meta)
        self._known = CompleteFiles(self._locks)
        self._hit = self._metrics.ticker("hits")
        object_locks = ObjectLocks(self.layout, self._locks)
        self._evictor = Evictor(self.layout, object_locks, self._metrics, self._last_uses)
        ledger = Ledger(f"{self.layout.locks}/ledger", self._locks, self.layout.prepare)
        self._budget = budget = Budget(directory, ledger, self._evictor, cache_size=cache_size, min_free=min_free)
        self._small = SmallObjects(self.layout, object_locks, self._boot, budget, self._known, deadline)
        self._large = LargeObjects(self.layout, object_locks, self._boot, budget, block_size, deadline)
        self._fetcher = Fetcher(ahead_budget.AheadBudget(memory_budget))
        self._handles: WeakSet[CachedObject] = WeakSet()

    @property
    def directory(self) -> str:
        """Where the bytes lie."""
        return self.layout.directory

    def open_complete(self, object_id: ObjectId) -> int | None:
        """A readable descriptor of the complete data file, pinned until its last duplicate is closed; or None.

        Never asks the store, never waits, and believes nothing but a data file that looks exactly as its record says.
        """
        fd = self._look(object_id, self.layout.stem(object_id))
        if fd is not None:
            self._hit()
        return fd

    def open_known(self, object_id: ObjectId) -> tuple[int, int, int] | None:
        """As ``open_complete``, with the (st_dev, st_ino) behind the descriptor; of large objects, only known ones."""
        opened = self._known.open_identified(object_id) if self._known.knows(object_id) else None
        if opened is None and object_id.size <= layout.SMALL_OBJECT:
            opened = self._small.open_recorded(object_id)
        if opened is not None:
            self._hit()
        return opened

    def open(
        self, object_id: ObjectId, read_range: ReadRange, on_miss: Callable[[], object], *, purpose: Purpose = "read"
    ) -> int:
        """``open_complete``, or else *on_miss* and ``complete``."""
        stem = self.layout.stem(object_id)
        fd = self._look(object_id, stem)
        if fd is not None:
            self._hit()
            return fd
        on_miss()
        return self._fetch(object_id, stem, read_range, purpose)

    def complete(self, object_id: ObjectId, read_range: ReadRange, *, purpose: Purpose = "read") -> int:
        """Fetch what is missing, each block once over all threads and processes; then as ``open_complete``.

        Raises:
            OSError: What *read_range* raised; ENOSPC naming the object where the disk cannot hold it.
        """
        stem = self.layout.stem(object_id)
        fd = self._look(object_id, stem)
        return self._fetch(object_id, stem, read_range, purpose) if fd is None else fd

    def open_partial(self, object_id: ObjectId, read_range: ReadRange) -> CachedObject:
        """A handle that fetches what is read; of small objects, everything with the first read.

        Raises:
            OSError: The files of a large object cannot be made; never for want of space.
        """

        def complete() -> int:
            return self.complete(object_id, read_range)

        handle: CachedObject
        handle = SmallHandle(
            object_id.key,
            object_id.size,
            read_range,
            complete=complete,
            note_memory=self._note_memory,
        )
        if not _is_small(object_id):
            try:
                handle = self._open_large(object_id, read_range, complete)
            except OSError as error:
                if error.errno not in FULL:
                    raise
        self._handles.add(handle)
        return handle

    def _open_large(self, object_id: ObjectId, read_range: ReadRange, complete: Callable[[], int]) -> CachedObject:
        stem = self.layout.stem(object_id)
        file = self._persist(lambda: self._large.use(object_id, stem))
        self._catalog.note(layout.digest_of(stem))
        return LargeHandle(
            object_id.key,
            file,
            read_range,
            fetcher=self._fetcher,
            metrics=self._metrics,
            reads_ahead=self._readahead,
            # An object that would push most others out is not worth fetching on a guess.
            promotes=self._promotion and object_id.size <= self._budget.cache_size // 2,
            deadline=self._deadline,
            complete=complete,
            note_memory=self._note_memory,
            release=lambda: self._large.release(stem, file),
        )

    def _note_memory(self) -> None:
        """Say once that bytes are not kept: the next reader fetches them again, which costs time and money."""
        if not self._noted_memory:
            self._noted_memory = True
            _LOGGER.warning(
                "no room in the cache %s: reads are served from memory and not kept; free space or raise cache_size",
                self.directory,
            )

    def warm(
        self,
        items: Iterable[Item],
        identify: Callable[[Item], ObjectId],
        resolve: Callable[[Item], Wanted],
        *,
        ahead: int = 64,
    ) -> Iterator[Item]:
        """Give *items* in order, each as soon as its object is complete; *items* is consumed lazily.

        Args:
            items: What to fetch, in the order of use.
            identify: The object of an item.
            resolve: The same, and how to come by its bytes; asked for what is missing.
            ahead: How many items may be on their way.

        Raises:
            OSError: As ``complete`` raises it, when the item's turn comes.
        """

        def fetching(item: Item) -> Fetch | None:
            stem = self._stem_unless_there(identify(item))
            return None if stem is None else self._fetch_ahead(resolve(item), stem, "warm")

        return warm(items, fetching, self._fetcher.start, ahead=ahead)

    def lookahead(self, resolve: Callable[[Item], Wanted]) -> Lookahead[Item]:
        """Directory readahead over items whose objects *resolve* gives; large objects are skipped."""

        def size(item: Item) -> int:
            object_id = resolve(item).object_id
            return object_id.size if _is_small(object_id) else -1

        def start(item: Item, ended: Callable[[object], object]) -> bool:
            wanted = resolve(item)
            fetch = self._fetch_ahead(wanted, self.layout.stem(wanted.object_id), "readahead")

            def whole() -> None:
                # Looked for in the thread that fetches: the opener is to go on.
                if self._stem_unless_there(wanted.object_id) is not None:
                    fetch.finish()

            return self._fetcher.start(FetchTask(fetch if fetch.has_steps else WholeFetch(whole), ended))

        return Lookahead(start, size=size, metrics=self._metrics, ahead=self._fetcher.ahead)

    def _stem_unless_there(self, object_id: ObjectId) -> str | None:
        """Where the object is to be; None: it is complete on disk. Who fetches it meets a failure of the disk again."""
        if self._known.holds(object_id):
            return None
        stem = self.layout.stem(object_id)
        try:
            record = self._recorded(object_id, stem)
        except OSError:
            return stem
        if record is None:
            return stem
        self._known.remember(object_id, stem, record)
        return None if self._known.holds(object_id) else stem

    def _fetch_ahead(self, wanted: Wanted, stem: str, purpose: Purpose) -> Fetch:
        """What fetches an object for somebody who will open it later."""
        object_id = wanted.object_id

        def counted(begun_at: float, fetch: Callable[[], None]) -> None:
            with self._missing(object_id, begun_at):
                self._persist(fetch)

        def whole() -> None:
            begun = time.monotonic()
            _real.close(self._fetch(object_id, stem, wanted.read_range, purpose))
            self._fetcher.observe(object_id.size, time.monotonic() - begun)

        if _is_small(object_id):
            return SmallFetch(self._small, stem, wanted, purpose, counted)
        return WholeFetch(whole)

    def evict(self, wanted: int) -> int:
        """Free about *wanted* bytes, oldest use first; the bytes freed."""
        return self._budget.evict(wanted)

    def clear(self) -> int:
        """Evict everything that is not in use; the bytes freed."""
        return self.evict(1 << 62)

    def usage(self) -> Usage:
        """Count the object versions on disk and the bytes they have."""
        versions = list(self._evictor.versions())
        return Usage(len(versions), sum(version.allocated for version in versions))

    def check(self) -> Report:
        """Read everything and compare checksums; what is wrong is reported and dropped, if nobody uses it."""
        return check(self.layout, self._locks, self._evictor)

    def after_fork(self) -> None:
        """In the child: forget threads and locks of the parent; open handles and descriptors go on."""
        locks.after_fork()
        fetch_task.after_fork()
        ahead_budget.after_fork()
        self._fetcher.after_fork()
        self._small.after_fork()
        self._large.after_fork()
        self._budget.after_fork()
        self._catalog.after_fork()
        for handle in list(self._handles):
            handle.after_fork()

    def close(self) -> None:
        """Write what other processes should know; handles and descriptors that were handed out stay usable."""
        if _real.exists(self.layout.locks):
            # Otherwise somebody has tidied up, and it should stay so.
            self._budget.flush()
        if self._catalog.is_due:
            self._write_hints()

    def _fetch(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        fetch = self._small.complete if _is_small(object_id) else self._complete_large
        with self._missing(object_id, time.monotonic()):
            return self._persist(lambda: fetch(object_id, stem, read_range, purpose))

    def _persist(self, action: Callable[[], Result]) -> Result:
        """What *action* gives; begun again when somebody deletes the directory underneath it."""
        for _ in range(_TRIES):
            try:
                return action()
            except FileNotFoundError as error:  # noqa: PERF203 - a try that works ends the loop
                if not str(error.filename).startswith(self.directory):
                    raise
                with suppress(FileNotFoundError):
                    self.layout.prepare()
        # Without a file name, as ENOSPC.
        raise OSError(errno.EIO, f"the cache {self.directory} is deleted again and again while it is in use")

    @contextmanager
    def _missing(self, object_id: ObjectId, begun: float) -> Iterator[None]:
        """Count a miss and the time from *begun* to its end; a full disk in the block is the caller's ENOSPC."""
        self._metrics.add("misses")
        if self._catalog.is_due:
            self._write_hints()
        try:
            yield
        except DiskFull as error:
            raise self._no_space(object_id) from error
        except OSError as error:
            if error.errno in FULL:
                raise self._no_space(object_id) from error
            raise
        finally:
            self._metrics.add("seconds.waited", time.monotonic() - begun)

    def _recorded(self, object_id: ObjectId, stem: str) -> Record | None:
        return self._small.recorded(stem) if _is_small(object_id) else self._large.recorded(stem, object_id.size)

    def _look(self, object_id: ObjectId, stem: str) -> int | None:
        fd = self._known.open(object_id)
        if fd is not None:
            return fd
        record = self._recorded(object_id, stem)
        if record is None:
            return None
        self._known.remember(object_id, stem, record)
        return self._known.open(object_id)

    def _last_uses(self) -> dict[str, float]:
        self._note_uses()
        return self._catalog.last_uses()

    def _note_uses(self) -> None:
        for digest in self._known.take_used():
            self._catalog.note(digest)

    def _write_hints(self) -> None:
        self._note_uses()
        self._catalog.write()

    def _complete_large(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        file = self._large.use(object_id, stem)
        try:
            self._fetcher.fetch_all(file, read_range, purpose, time.monotonic() + self._deadline)
            # The thread that brought the last block may not have come to that yet.
            file.seal()
            fd = file.descriptor(os.O_RDONLY | os.O_CLOEXEC)
            self._locks.pin(fd)
            return fd
        except WaitedTooLong:
            return self._small.private(object_id, stem, read_range, purpose)
        finally:
            self._large.release(stem, file)

    def _no_space(self, object_id: ObjectId) -> OSError:
        msg = (
            f"no space left for the {object_id.size} bytes of {object_id.key} in the cache {self.directory}; "
            "free some, or set cache_dir or cache_size"
        )
        # Without a file name: the caller's own spelling of the path belongs there.
        return OSError(errno.ENOSPC, msg)


def _is_small(object_id: ObjectId) -> bool:
    return object_id.size <= layout.SMALL_OBJECT
