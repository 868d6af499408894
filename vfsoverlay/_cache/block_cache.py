"""The front of the room: versions of objects in, descriptors and handles out."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import Final

from vfsoverlay import _real
from vfsoverlay._cache import layout, locks
from vfsoverlay._cache.boot import boot_id
from vfsoverlay._cache.cached_object import CachedObject
from vfsoverlay._cache.large_objects import LargeObjects
from vfsoverlay._cache.object_file import DiskFull, ObjectFile, ReadRange, WaitedTooLong
from vfsoverlay._cache.records import Record
from vfsoverlay._cache.single_flight import SingleFlight
from vfsoverlay._cache.small_objects import READ, SmallObjects
from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._model import ObjectId

#: Bytes of one block: the unit of the presence map and the least that a random read fetches.
BLOCK_SIZE: Final = 128 * 1024

#: How many objects this process remembers as complete; forgetting one costs a look at its record.
_REMEMBERED: Final = 65_536

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Known:
    """How the complete data file of an object looked when its record was last compared."""

    __slots__ = ("ctime_ns", "mtime_ns", "path", "size", "used")

    def __init__(self, path: str, record: Record) -> None:
        self.path = path
        self.size = record.size
        self.mtime_ns = record.mtime_ns
        self.ctime_ns = record.ctime_ns
        self.used = False


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
        self._pin = self._locks.pin
        self._metrics = metrics or Metrics()
        self._deadline = deadline
        self._cache_size = cache_size
        self._min_free = min_free
        boot = boot or boot_id()
        self._small = SmallObjects(self.layout, self._locks, boot)
        self._large = LargeObjects(self.layout, self._locks, boot, block_size)
        self._known: dict[ObjectId, _Known] = {}
        self._flights = SingleFlight()
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
        known = self._known.get(object_id)
        if known is None:
            known = self._look_up(object_id)
            if known is None:
                return None
        try:
            fd = _real.open(known.path, READ)
        except OSError:
            self._known.pop(object_id, None)
            return None
        # Pinned first, compared then: an evictor renames the file, which changes its ctime, before it looks for
        # pins. So either it finds this pin, or the comparison finds the rename.
        self._pin(fd)
        found = _real.fstat(fd)
        if found.st_ctime_ns == known.ctime_ns and found.st_mtime_ns == known.mtime_ns and found.st_size == known.size:
            known.used = True
            return fd
        _real.close(fd)
        self._known.pop(object_id, None)
        return None

    def complete(self, object_id: ObjectId, read_range: ReadRange, *, purpose: Purpose = "read") -> int:
        """Fetch what is missing, each block once over all threads and processes; then as ``open_complete``.

        Raises:
            OSError: What *read_range* raised; ENOSPC naming the object where the disk cannot hold it.
        """
        fd = self.open_complete(object_id)
        if fd is not None:
            return fd
        try:
            if object_id.size <= layout.SMALL_OBJECT:
                return self._complete_small(object_id, read_range, purpose)
            return self._complete_large(object_id, read_range, purpose)
        except DiskFull as error:
            raise self._no_space(object_id) from error
        except OSError as error:
            if error.errno in _FULL:
                raise self._no_space(object_id) from error
            raise

    def open_partial(self, object_id: ObjectId, read_range: ReadRange) -> CachedObject:
        """A handle that fetches what is read."""
        stem = self.layout.stem(object_id)
        file = self._open_file(object_id, stem)
        return CachedObject(
            file,
            read_range,
            deadline=self._deadline,
            complete=lambda: self.complete(object_id, read_range),
            release=lambda: self._close_file(object_id, file),
        )

    def after_fork(self) -> None:
        """In the child: forget threads and locks of the parent; open handles go on."""
        locks.after_fork()
        self._mutex = threading.Lock()
        self._flights = SingleFlight()
        for file in self._open_files.values():
            file.after_fork()

    def close(self) -> None:
        """Close what is open; descriptors handed out stay."""
        with self._mutex:
            files, self._open_files = self._open_files, {}
        for file in files.values():
            file.close()

    def _look_up(self, object_id: ObjectId) -> _Known | None:
        stem = self.layout.stem(object_id)
        small = object_id.size <= layout.SMALL_OBJECT
        record = self._small.recorded(stem) if small else self._large.recorded(stem, object_id.size)
        return None if record is None else self._remember(object_id, stem, record)

    def _remember(self, object_id: ObjectId, stem: str, record: Record) -> _Known:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        known = self._known[object_id] = _Known(stem + layout.DATA, record)
        return known

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
            self._remember(object_id, stem, record)
            fd = self.open_complete(object_id)
        if fd is None:
            msg = f"{object_id.key}: another program changed its file in the cache {self.directory}; try again"
            raise OSError(errno.EIO, msg)
        return fd

    def _complete_large(self, object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> int:
        stem = self.layout.stem(object_id)
        file = self._open_file(object_id, stem)
        try:
            deadline = time.monotonic() + self._deadline
            most = max(1, 8 * 1024 * 1024 // file.block_size)
            try:
                file.ensure(0, file.blocks, read_range, purpose, deadline, most=most)
            except WaitedTooLong:
                return self._small.private(object_id, stem, read_range, purpose)
            fd = file.descriptor(os.O_RDONLY | os.O_CLOEXEC)
            self._pin(fd)
            return fd
        finally:
            self._close_file(object_id, file)

    def _open_file(self, object_id: ObjectId, stem: str) -> ObjectFile:
        digest = object_id.digest
        with self._mutex:
            file = self._open_files.get(digest)
            if file is not None:
                file.references += 1
                return file
        deadline = time.monotonic() + self._deadline
        held = self._lock(stem, deadline)
        if held is None:
            msg = f"{object_id.key}: another process holds its lock in {self.directory} and does not go on"
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
            if file.references or self._open_files.get(digest) is not file:
                return
            del self._open_files[digest]
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
