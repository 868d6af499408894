"""Small objects: fetched whole into a temporary file, then renamed, so that half a file is never seen."""

from __future__ import annotations

import errno
import os
import time
from typing import Final
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.object_locks import ObjectLocks
from vfsoverlay._cache.read_range import FULL, FileSink, ReadRange, check_length
from vfsoverlay._cache.records import Record, RecordFile
from vfsoverlay._cache.single_flight import SingleFlight
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class SmallObjects:
    """The small objects of one cache directory."""

    __slots__ = ("_boot", "_budget", "_complete", "_files", "_flights", "_layout", "_object_locks", "_seconds")

    def __init__(
        self,
        places: layout.Layout,
        object_locks: ObjectLocks,
        boot: bytes,
        budget: Budget,
        complete: CompleteFiles,
        deadline: float,
    ) -> None:
        self._layout = places
        self._object_locks = object_locks
        self._boot = boot
        self._budget = budget
        self._complete = complete
        self._seconds = deadline
        self._files: dict[str, RecordFile] = {}
        self._flights = SingleFlight()

    def recorded(self, stem: str) -> Record | None:
        """The record of *stem* if it is sound and of this boot."""
        record = self._record_file(stem).lookup(layout.digest_of(stem))
        return record if record is not None and record.boot == self._boot else None

    def complete(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        """A pinned, readable descriptor; fetches unless another thread or process is doing it.

        Raises:
            OSError: What *read_range* raised, or what writing raised after everything evictable was evicted.
            DiskFull: The bounds of the cache do not allow it.
        """
        deadline = time.monotonic() + self._seconds
        while not self._flights.join(stem, deadline):
            fd = self._complete.open(object_id)
            if fd is not None:
                return fd
            if time.monotonic() >= deadline:
                return self.private(object_id, stem, read_range, purpose)
        try:
            held = self._object_locks.acquire(stem, deadline)
            if held is None:
                return self.private(object_id, stem, read_range, purpose)
            with held:
                return self._complete_locked(object_id, stem, read_range, purpose)
        finally:
            self._flights.leave(stem)

    def _complete_locked(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        record = None
        if _real.exists(stem + layout.DATA):
            # Another process was faster, or the file outlived its boot or its record.
            record = self._sound(stem, object_id.size) or self._verified(stem, object_id.size)
        if record is None:
            record = self._fetch(object_id, stem, read_range, purpose)
        self._complete.remember(object_id, stem, record)
        fd = self._complete.open(object_id)
        if fd is None:
            msg = f"{object_id.key}: another program changed its file in {self._layout.directory}; try again"
            raise OSError(errno.EIO, msg)
        return fd

    def _sound(self, stem: str, size: int) -> Record | None:
        """The record of this boot if the file looks as it says."""
        record = self.recorded(stem)
        found = _real.lstat(stem + layout.DATA)
        looks = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return record if record is not None and looks == (size, record.mtime_ns, record.ctime_ns) else None

    def _verified(self, stem: str, size: int) -> Record | None:
        """Read the file against the checksum of its record: renew the record if it is right, drop the file if not."""
        record = self._record_file(stem).lookup(layout.digest_of(stem))
        with _real.FileIO(stem + layout.DATA, "r") as file:
            content = file.read(size + 1) or b""
            if record is not None and len(content) == size and crc32(content) == record.checksum:
                return self._record(stem, file.fileno(), record.checksum)
        layout.unlink(stem + layout.DATA)
        return None

    def _fetch(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> Record:
        on_disk = -(-object_id.size // 4096) * 4096
        self._budget.reserve(on_disk)
        unwritten = on_disk
        try:
            record = self._fetch_with_room(object_id, stem, read_range, purpose)
            unwritten = 0
            return record
        finally:
            self._budget.settle(on_disk, unwritten=unwritten)

    def _fetch_with_room(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> Record:
        try:
            return self._fetch_once(object_id, stem, read_range, purpose)
        except OSError as error:
            if error.errno in FULL and self._budget.evict(object_id.size):
                return self._fetch_once(object_id, stem, read_range, purpose)
            raise

    def _fetch_once(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> Record:
        # One name for all tries: the lock allows one writer, and a killed one leaves no second file.
        temporary = stem + layout.TEMPORARY
        fd = self._create(temporary)
        try:
            checksum = _fill(fd, object_id, read_range, purpose)
            _real.rename(temporary, stem + layout.DATA)
            # After the rename, which changes the ctime that the record holds.
            return self._record(stem, fd, checksum)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            layout.unlink(temporary)
            raise
        finally:
            _real.close(fd)

    def private(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        """A readable descriptor of a complete copy that no other process sees; gone when closed."""
        path = f"{stem}.{_real.getpid()}-{time.monotonic_ns()}{layout.TEMPORARY}"
        fd = self._create(path)
        result = -1
        try:
            result = _real.open(path, layout.READ)
            _real.unlink(path)
            _fill(fd, object_id, read_range, purpose)
            given, result = result, -1
            return given
        finally:
            _real.close(fd)
            if result >= 0:
                _real.close(result)

    def _create(self, path: str) -> int:
        """A new file that nobody else may write to; what a killed process left in its place is removed."""
        try:
            return _real.open(path, _CREATE, 0o400)
        except FileNotFoundError:
            self._layout.ensure_shard(layout.shard_of(path))
        except FileExistsError:
            layout.unlink(path)
        return _real.open(path, _CREATE, 0o400)

    def after_fork(self) -> None:
        """In the child: the parent's threads are not here."""
        self._flights = SingleFlight()

    def _record(self, stem: str, fd: int, checksum: int) -> Record:
        found = _real.fstat(fd)
        record = Record(found.st_size, found.st_mtime_ns, found.st_ctime_ns, checksum, self._boot)
        self._record_file(stem).append(layout.digest_of(stem), record)
        return record

    def _record_file(self, stem: str) -> RecordFile:
        shard = layout.shard_of(stem)
        file = self._files.get(shard)
        if file is None:
            file = self._files[shard] = RecordFile(self._layout.records(shard), self._object_locks.locks)
        return file


def _fill(fd: int, object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> int:
    """Write the whole object to *fd*; its CRC-32."""
    sink = FileSink(fd)
    if object_id.size:
        read_range(0, object_id.size, sink, purpose)
    if sink.error is not None:
        raise sink.error
    check_length(object_id.key, sink.offset, object_id.size)
    return sink.checksum
