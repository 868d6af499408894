"""The front of the room: versions of objects in, descriptors and handles out."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import Final

from vfsoverlay._cache import layout, locks
from vfsoverlay._cache.boot import boot_id
from vfsoverlay._cache.budget import Budget, DiskFull
from vfsoverlay._cache.cached_object import CachedObject, LargeHandle, SmallHandle
from vfsoverlay._cache.catalog import Catalog
from vfsoverlay._cache.check import Report, check
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.eviction import Evictor, Usage
from vfsoverlay._cache.fetcher import Fetcher
from vfsoverlay._cache.large_objects import LargeObjects
from vfsoverlay._cache.ledger import Ledger
from vfsoverlay._cache.object_file import ObjectFile, WaitedTooLong
from vfsoverlay._cache.read_range import FULL, ReadRange
from vfsoverlay._cache.records import Record
from vfsoverlay._cache.single_flight import SingleFlight
from vfsoverlay._cache.small_objects import SmallObjects
from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._model import ObjectId

#: Bytes of one block: the unit of the presence map and the least that a random read fetches.
BLOCK_SIZE: Final = 128 * 1024


class BlockCache:
    """Bytes of object versions in one directory, shared by all processes that name the same directory.

    Args:
        directory: Made if missing; private to this user.
        cache_size: Bytes the cache may use on disk; None: 20 GiB or half of what is free, whichever is less.
        min_free: Bytes that stay free on the disk; None: 5 % of the disk, at most 5 GiB.
        block_size: Bytes of a block; existing objects keep theirs.
        metrics: Where things are counted.
        deadline: Seconds to wait for another process that fetches the wanted bytes.
        boot: The identity of this boot; None: ask the kernel.

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
        boot: bytes | None = None,
    ) -> None:
        self.layout = layout.Layout(directory)
        self.layout.prepare()
        self._locks = locks.probe(self.layout.locks)
        self._metrics = metrics or Metrics()
        self._deadline = deadline
        self._boot = boot or boot_id()
        self._catalog = Catalog(self.layout.meta)
        self._complete = CompleteFiles(self._locks)
        self._evictor = Evictor(self.layout, self._locks, self._metrics, self._last_uses)
        ledger = Ledger(f"{self.layout.locks}/ledger", self._locks)
        self._budget = Budget(directory, ledger, self._evictor, cache_size=cache_size, min_free=min_free)
        self._small = SmallObjects(self.layout, self._locks, self._boot, self._budget)
        self._large = LargeObjects(self.layout, self._locks, self._boot, self._budget, block_size)
        self._flights = SingleFlight()
        self._fetcher = Fetcher()
        self._open_files: dict[str, ObjectFile] = {}
        self._mutex = threading.Lock()

    @property
    def directory(self) -> str:
        """Where the bytes lie."""
        return self.layout.directory

    def open_complete(self, object_id: ObjectId) -> int | None:
        """A readable descriptor of the complete data file, pinned until its last duplicate is closed; or None.

        Never asks the store, never waits, and believes nothing but a data file that looks exactly as its record says.
        """
        fd = self._complete.open(object_id)
        if fd is not None:
            return fd
        stem = self.layout.stem(object_id)
        record = self._recorded(stem, object_id.size)
        if record is None:
            return None
        self._complete.remember(object_id, stem, record)
        return self._complete.open(object_id)

    def complete(self, object_id: ObjectId, read_range: ReadRange, *, purpose: Purpose = "read") -> int:
        """Fetch what is missing, each block once over all threads and processes; then as ``open_complete``.

        Raises:
            OSError: What *read_range* raised; ENOSPC naming the object where the disk cannot hold it.
        """
        fd = self.open_complete(object_id)
        if fd is not None:
            return fd
        if self._catalog.is_due:
            self._write_hints()
        fetch = self._complete_small if _is_small(object_id) else self._complete_large
        try:
            return fetch(object_id, read_range, purpose)
        except DiskFull as error:
            raise self._no_space(object_id) from error
        except OSError as error:
            if error.errno in FULL:
                raise self._no_space(object_id) from error
            raise

    def open_partial(self, object_id: ObjectId, read_range: ReadRange) -> CachedObject:
        """A handle that fetches what is read; of small objects, everything with the first read.

        Raises:
            OSError: The files of a large object cannot be made; never for want of space.
        """

        def complete() -> int:
            return self.complete(object_id, read_range)

        small = SmallHandle(object_id.key, object_id.size, read_range, complete=complete, directory=self.directory)
        if _is_small(object_id):
            return small
        try:
            file = self._open_file(object_id)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return small
        return LargeHandle(
            object_id.key,
            file,
            read_range,
            fetcher=self._fetcher,
            metrics=self._metrics,
            deadline=self._deadline,
            complete=complete,
            release=lambda: self._close_file(object_id, file),
        )

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
        self._mutex = threading.Lock()
        self._flights = SingleFlight()
        self._fetcher.after_fork()
        self._budget.after_fork()
        self._catalog.after_fork()
        for file in self._open_files.values():
            file.after_fork()

    def close(self) -> None:
        """Write what other processes should know; handles and descriptors that were handed out stay usable."""
        self._budget.flush()
        if self._catalog.is_due:
            self._write_hints()
        self._catalog.close()

    def _recorded(self, stem: str, size: int) -> Record | None:
        if size <= layout.SMALL_OBJECT:
            return self._small.recorded(stem)
        return self._large.recorded(stem, size)

    def _last_uses(self) -> dict[str, float]:
        self._write_hints()
        return self._catalog.last_uses()

    def _write_hints(self) -> None:
        for digest in self._complete.take_used():
            self._catalog.note(digest)
        self._catalog.write()

    def _complete_small(self, object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> int:
        deadline = time.monotonic() + self._deadline
        key = object_id.digest
        while not self._flights.join(key, deadline):
            fd = self.open_complete(object_id)
            if fd is not None:
                return fd
            if time.monotonic() >= deadline:
                return self._small.private(object_id, self.layout.stem(object_id), read_range, purpose)
        try:
            return self._lead_small(object_id, read_range, purpose, deadline)
        finally:
            self._flights.leave(key)

    def _lead_small(self, object_id: ObjectId, read_range: ReadRange, purpose: Purpose, deadline: float) -> int:
        stem = self.layout.stem(object_id)
        held = self._lock(stem, deadline)
        if held is None:
            return self._small.private(object_id, stem, read_range, purpose)
        with held:
            fd = self.open_complete(object_id)
            if fd is not None:
                return fd
            record = self._small.verify(stem, object_id.size)
            if record is None:
                record = self._small.fetch(object_id, stem, read_range, purpose)
            self._complete.remember(object_id, stem, record)
            fd = self._complete.open(object_id)
        if fd is None:
            msg = f"{object_id.key}: another program changed its file in the cache {self.directory}; try again"
            raise OSError(errno.EIO, msg)
        return fd

    def _complete_large(self, object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> int:
        file = self._open_file(object_id)
        try:
            deadline = time.monotonic() + self._deadline
            self._fetcher.fetch_all(file, read_range, purpose, deadline)
            fd = file.descriptor(os.O_RDONLY | os.O_CLOEXEC)
            self._locks.pin(fd)
            return fd
        except WaitedTooLong:
            return self._small.private(object_id, self.layout.stem(object_id), read_range, purpose)
        finally:
            self._close_file(object_id, file)

    def _open_file(self, object_id: ObjectId) -> ObjectFile:
        digest = object_id.digest
        with self._mutex:
            file = self._open_files.get(digest)
            if file is not None:
                file.references += 1
                return file
        stem = self.layout.stem(object_id)
        self._catalog.note(digest)
        held = self._lock(stem, time.monotonic() + self._deadline)
        if held is None:
            msg = f"{object_id.key}: another process holds its lock in {self.directory} and does not go on; end it"
            raise OSError(errno.ETIMEDOUT, msg)
        with held:
            opened = self._large.open(object_id, stem)
        with self._mutex:
            # Another thread may have been faster; one file a process, or claims would not meet.
            file = self._open_files.setdefault(digest, opened)
            file.references += 1
        if file is not opened:
            opened.close()
        return file

    def _close_file(self, object_id: ObjectId, file: ObjectFile) -> None:
        digest = object_id.digest
        with self._mutex:
            file.references -= 1
            if file.references:
                return
            self._open_files.pop(digest, None)
        file.close()

    def _lock(self, stem: str, deadline: float) -> locks.Held | None:
        path = self.layout.lock_file(layout.shard_of(stem))
        try:
            return locks.acquire(self._locks, path, layout.lock_byte(stem), deadline)
        except FileNotFoundError:
            # Somebody deleted the cache underneath: start anew.
            self.layout.prepare()
            return locks.acquire(self._locks, path, layout.lock_byte(stem), deadline)

    def _no_space(self, object_id: ObjectId) -> OSError:
        msg = (
            f"no space left for the {object_id.size} bytes of {object_id.key} in the cache; "
            "free some, or set cache_dir or cache_size"
        )
        return OSError(errno.ENOSPC, msg, self.directory)


def _is_small(object_id: ObjectId) -> bool:
    return object_id.size <= layout.SMALL_OBJECT
