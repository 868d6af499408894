"""Small objects: fetched whole into a temporary file, then renamed, so that half a file is never seen."""

from __future__ import annotations

import os
import time
from typing import Final
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.locks import Locks
from vfsoverlay._cache.read_range import FULL, FileSink, ReadRange, check_length
from vfsoverlay._cache.records import Record, RecordFile
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class SmallObjects:
    """The small objects of one cache directory.

    The caller holds the object's lock for everything but ``open_known``.
    """

    __slots__ = ("_boot", "_budget", "_files", "_layout", "_locks")

    def __init__(self, places: layout.Layout, locks: Locks, boot: bytes, budget: Budget) -> None:
        self._layout = places
        self._locks = locks
        self._boot = boot
        self._budget = budget
        self._files: dict[str, RecordFile] = {}

    def _record_file(self, stem: str) -> RecordFile:
        shard = layout.shard_of(stem)
        file = self._files.get(shard)
        if file is None:
            file = self._files[shard] = RecordFile(self._layout.records(shard), self._locks)
        return file

    def recorded(self, stem: str) -> Record | None:
        """The record of *stem* if it is sound and of this boot."""
        record = self._record_file(stem).lookup(layout.digest_of(stem))
        return record if record is not None and record.boot == self._boot else None

    def verify(self, stem: str, size: int) -> Record | None:
        """Read the file of *stem* against its record; renew the record if it is right, drop the file if not."""
        path = stem + layout.DATA
        record = self._record_file(stem).lookup(layout.digest_of(stem))
        try:
            with _real.FileIO(path, "r") as file:
                content = file.read(size + 1) if record is not None else b""
                if record is not None and len(content) == size and crc32(content) == record.checksum:
                    return self._record(stem, file.fileno(), record.checksum)
        except FileNotFoundError:
            return None
        _real.unlink(path)
        return None

    def fetch(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> Record:
        """Bring the object of *stem* to disk.

        Raises:
            OSError: What *read_range* raised, or what writing raised after everything evictable was evicted.
            DiskFull: The bounds of the cache do not allow it.
        """
        self._budget.reserve(_on_disk(object_id.size))
        try:
            return self._fetch_once(object_id, stem, read_range, purpose)
        except OSError as error:
            if error.errno in FULL and self._budget.evict(_on_disk(object_id.size)):
                return self._fetch_once(object_id, stem, read_range, purpose)
            self._budget.give_back(_on_disk(object_id.size))
            raise

    def _fetch_once(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> Record:
        self._layout.ensure_shard(layout.shard_of(stem))
        temporary = stem + layout.TEMPORARY
        # One name, reused by the next try: the lock allows one writer, and a killed one leaves no second file.
        fd = _real.open(temporary, _CREATE, 0o600)
        try:
            checksum = _fill(fd, object_id, read_range, purpose)
            _real.fchmod(fd, 0o400)
            _real.rename(temporary, stem + layout.DATA)
            # After the rename, which changes the ctime that the record holds.
            return self._record(stem, fd, checksum)
        except BaseException:
            layout.unlink(temporary)
            raise
        finally:
            _real.close(fd)

    def _record(self, stem: str, fd: int, checksum: int) -> Record:
        found = _real.fstat(fd)
        record = Record(found.st_size, found.st_mtime_ns, found.st_ctime_ns, checksum, self._boot)
        self._record_file(stem).append(layout.digest_of(stem), record)
        return record

    def private(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        """A readable descriptor of a complete copy that no other process sees; gone when closed."""
        self._layout.ensure_shard(layout.shard_of(stem))
        path = f"{stem}.{_real.getpid()}-{time.monotonic_ns()}{layout.TEMPORARY}"
        fd = _real.open(path, _CREATE, 0o600)
        try:
            result = _real.open(path, layout.READ)
            _real.unlink(path)
            try:
                _fill(fd, object_id, read_range, purpose)
                _real.fchmod(fd, 0o400)
            except BaseException:
                _real.close(result)
                raise
            return result
        finally:
            _real.close(fd)


def _fill(fd: int, object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> int:
    """Write the whole object to *fd*; its CRC-32."""
    sink = FileSink(fd)
    if object_id.size:
        read_range(0, object_id.size, sink, purpose)
    if sink.error is not None:
        raise sink.error
    check_length(object_id.key, sink.offset, object_id.size)
    return sink.checksum


def _on_disk(size: int) -> int:
    """Bytes that a file of *size* bytes takes, by the usual unit of file systems."""
    return -(-size // 4096) * 4096
