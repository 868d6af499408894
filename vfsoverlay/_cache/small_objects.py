"""Small objects: fetched whole into their data file, and believed once a record says how the whole one looks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.locks import Held
from vfsoverlay._cache.object_locks import ObjectLocks
from vfsoverlay._cache.read_range import FULL, FileSink, ReadRange, check_length
from vfsoverlay._cache.records import Record, RecordFile
from vfsoverlay._cache.single_flight import SingleFlight
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

Outcome = TypeVar("Outcome")

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
        return self._of_this_boot(self._record_file(stem).lookup(layout.digest_of(stem)))

    def open_recorded(self, object_id: ObjectId, stem: str) -> tuple[int, int, int] | None:
        """A pinned, readable descriptor, with its (st_dev, st_ino), if there is a record that is right."""
        digest = layout.digest_of(stem)
        records = self._layout.records(layout.shard_of(stem))
        opened = self._complete.open_recorded(object_id, stem, records, bytes.fromhex(digest), self._boot)
        if opened is not None:
            return opened
        record = self._of_this_boot(self._record_file(stem).recall(digest))
        if record is None:
            return None
        self._complete.remember(object_id, stem, record)
        return self._complete.open_identified(object_id)

    def _of_this_boot(self, record: Record | None) -> Record | None:
        return record if record is not None and record.boot == self._boot else None

    def complete(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        """A pinned, readable descriptor; fetches unless another thread or process is doing it.

        Raises:
            OSError: What *read_range* raised, or what writing raised after everything evictable was evicted.
            DiskFull: The bounds of the cache do not allow it.
        """
        fd = self._share(object_id, stem, read_range, purpose, self._complete.open)
        return self.private(object_id, stem, read_range, purpose) if fd is None else fd

    def fetch(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> None:
        """As ``complete`` for somebody who will open it later."""
        self._share(object_id, stem, read_range, purpose, self._complete.knows)

    def _share(
        self,
        object_id: ObjectId,
        stem: str,
        read_range: ReadRange,
        purpose: Purpose,
        use: Callable[[ObjectId], Outcome | None],
    ) -> Outcome | None:
        """What *use* makes of the complete file, before an evictor can have it; None if others hold it too long."""
        deadline = time.monotonic() + self._seconds
        while not self._flights.join(stem, deadline):
            outcome = use(object_id)
            if outcome is not None or time.monotonic() >= deadline:
                return outcome
        try:
            held = self._object_locks.acquire(stem, deadline)
            if held is None:
                return None
            with held:
                record = self._found(stem, object_id.size, held)
                if record is None:
                    record = self._fetch(object_id, stem, read_range, purpose, held)
                self._complete.remember(object_id, stem, record)
                return use(object_id)
        finally:
            self._flights.leave(stem)

    def claim(self, stem: str) -> Held | None:
        """The right to fetch the object, without a wait; ``release`` it. None: somebody else is at it.

        Raises:
            OSError: The files of the cache cannot be used.
        """
        if not self._flights.try_join(stem):
            return None
        held = None
        try:
            held = self._object_locks.acquire_at_once(stem)
        finally:
            if held is None:
                self._flights.leave(stem)
        return held

    def is_there(self, object_id: ObjectId, stem: str, held: Held) -> bool:
        """Whether the claimed object is complete: another process was faster."""
        record = self._found(stem, object_id.size, held)
        if record is not None:
            self._complete.remember(object_id, stem, record)
        return record is not None

    def fetch_claimed(
        self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose, held: Held
    ) -> None:
        """Fetch the claimed object; raises as ``complete``."""
        self._complete.remember(object_id, stem, self._fetch(object_id, stem, read_range, purpose, held))

    def release(self, stem: str, held: Held) -> None:
        """Give the claim back."""
        held.release()
        self._flights.leave(stem)

    def _found(self, stem: str, size: int, held: Held) -> Record | None:
        """The record of the file if it is there and right: another process was faster, or it outlived its boot."""
        try:
            found = _real.lstat(stem + layout.DATA)
        except FileNotFoundError:
            return None
        record = self._record_file(stem).lookup(layout.digest_of(stem))
        if record is not None and found.st_size == size:
            if (found.st_mtime_ns, found.st_ctime_ns, self._boot) == (record.mtime_ns, record.ctime_ns, record.boot):
                return record
            if (renewed := self._verified(stem, record, held)) is not None:
                return renewed
        # Somebody was killed while making it, or it is damaged.
        layout.unlink(stem + layout.DATA)
        return None

    def _verified(self, stem: str, record: Record, held: Held) -> Record | None:
        """A new record if the file has the checksum of the old one."""
        with _real.FileIO(stem + layout.DATA, "r") as file:
            content = file.read(record.size + 1) or b""
            if len(content) != record.size or crc32(content) != record.checksum:
                return None
            return self._record(stem, file.fileno(), record.checksum, held)

    def _fetch(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose, held: Held) -> Record:
        on_disk = -(-object_id.size // 4096) * 4096
        self._budget.reserve(on_disk)
        unwritten = on_disk
        try:
            record = self._fetch_with_room(object_id, stem, read_range, purpose, held)
            unwritten = 0
            return record
        finally:
            self._budget.settle(on_disk, unwritten=unwritten)

    def _fetch_with_room(
        self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose, held: Held
    ) -> Record:
        try:
            return self._fetch_once(object_id, stem, read_range, purpose, held)
        except OSError as error:
            if error.errno in FULL and self._budget.evict(object_id.size):
                return self._fetch_once(object_id, stem, read_range, purpose, held)
            raise

    def _fetch_once(
        self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose, held: Held
    ) -> Record:
        # Under its final name at once: nobody believes it before there is a record of the whole file.
        path = stem + layout.DATA
        fd = self._create(path)
        try:
            checksum = _fill(fd, object_id, read_range, purpose)
            return self._record(stem, fd, checksum, held)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            layout.unlink(path)
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

    def _record(self, stem: str, fd: int, checksum: int, held: Held) -> Record:
        found = _real.fstat(fd)
        record = Record(found.st_size, found.st_mtime_ns, found.st_ctime_ns, checksum, self._boot)
        self._record_file(stem).append(layout.digest_of(stem), record, held)
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
