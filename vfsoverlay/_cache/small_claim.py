"""The right to make the file of one small object: whoever has it looks for it, fetches it and records it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.locks import Held
from vfsoverlay._cache.read_range import FULL, FileSink, ReadRange, Sink, check_length, read_whole
from vfsoverlay._cache.records import Record, RecordFile
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


#: Bytes of the largest object that lies in memory as a whole on its way.
IN_MEMORY: Final = 256 * 1024

#: (lock, path, content, digest, boot) to (size, mtime, ctime, checksum), the record, its inode and place; or None.
Keep = Callable[[int, str, bytes, bytes, bytes], "tuple[tuple[int, int, int, int], bytes, int, int] | None"]


class Premises(NamedTuple):
    """What all claims of one cache directory share."""

    layout: layout.Layout
    budget: Budget
    boot: bytes
    keep: Keep | None
    """Makes a file and its record in one step, where that was compiled and the locks are of its kind."""


class SmallClaim:
    """One small object, which nobody else fetches, verifies or removes.

    Args:
        premises: Where it is.
        records: The records of its shard.
        object_id: The object.
        stem: The path of its files, without the suffix.
        held: The lock of the object, given back with the claim.
    """

    __slots__ = ("_held", "_object_id", "_premises", "_records", "_reserved", "_stem")

    def __init__(self, premises: Premises, records: RecordFile, object_id: ObjectId, stem: str, held: Held) -> None:
        self._premises = premises
        self._records = records
        self._object_id = object_id
        self._stem = stem
        self._held = held
        self._reserved = 0

    def found(self) -> Record | None:
        """The record of the file if it is there and right: another process was faster, or it outlived its boot."""
        stem, size = self._stem, self._object_id.size
        try:
            found = _real.lstat(stem + layout.DATA)
        except FileNotFoundError:
            return None
        record = self._records.lookup(layout.digest_of(stem))
        if record is not None and found.st_size == size:
            looks = found.st_mtime_ns, found.st_ctime_ns, self._premises.boot
            if looks == (record.mtime_ns, record.ctime_ns, record.boot):
                return record
            if (renewed := self._verified(record)) is not None:
                return renewed
        # Somebody was killed while making it, or it is damaged.
        layout.unlink(stem + layout.DATA)
        return None

    def _verified(self, record: Record) -> Record | None:
        """A new record if the file has the checksum of the old one."""
        with _real.FileIO(self._stem + layout.DATA, "r") as file:
            content = file.read(record.size + 1) or b""
            if len(content) != record.size or crc32(content) != record.checksum:
                return None
            return self._record(file.fileno(), record.checksum)

    def reserve(self) -> None:
        """Make sure of the room on disk before anything is asked for; ``fetch`` does so as well.

        Raises:
            DiskFull: There is none.
        """
        if not self._reserved:
            on_disk = -(-self._object_id.size // 4096) * 4096
            self._premises.budget.reserve(on_disk)
            self._reserved = on_disk

    def fetch(self, read_range: ReadRange, purpose: Purpose) -> Record:
        """Make the file of what *read_range* gives, and its record.

        Raises:
            DiskFull: The bounds of the cache do not allow it.
            OSError: What *read_range* raised, or what writing raised after everything evictable was evicted.
        """
        self.reserve()
        try:
            record = self._fetch_once(read_range, purpose)
        except OSError as error:
            if error.errno not in FULL or not self._premises.budget.evict(self._object_id.size):
                raise
            record = self._fetch_once(read_range, purpose)
        self._settle(unwritten=0)
        return record

    def _fetch_once(self, read_range: ReadRange, purpose: Purpose) -> Record:
        # Under its final name at once: nobody believes it before there is a record of the whole file.
        path = self._stem + layout.DATA
        if self._premises.keep is not None and 0 < self._object_id.size <= IN_MEMORY:
            content = read_whole(self._object_id, read_range, purpose)
            record = self._keep(self._premises.keep, path, content)
            if record is not None:
                return record

            def read_range(start: int, stop: int, sink: Sink, _: Purpose) -> None:
                # Why not, the same steps tell, one by one.
                sink(memoryview(content)[start:stop])

        fd = create(self._premises.layout, path)
        try:
            return self._record(fd, fill(fd, self._object_id, read_range, purpose))
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            layout.unlink(path)
            raise
        finally:
            _real.close(fd)

    def _keep(self, keep: Keep, path: str, content: bytes) -> Record | None:
        """Make the file and its record in one step; None, and nothing is there, where something is in the way."""
        boot = self._premises.boot
        kept = keep(self._held.fd, path, content, bytes.fromhex(layout.digest_of(self._stem)), boot)
        if kept is None:
            return None
        looks, entry, inode, end = kept
        self._records.added(entry, inode, end)
        return Record(*looks, boot)

    def _record(self, fd: int, checksum: int) -> Record:
        found = _real.fstat(fd)
        record = Record(found.st_size, found.st_mtime_ns, found.st_ctime_ns, checksum, self._premises.boot)
        self._records.append(layout.digest_of(self._stem), record, self._held)
        return record

    def _settle(self, *, unwritten: int) -> None:
        reserved, self._reserved = self._reserved, 0
        if reserved:
            self._premises.budget.settle(reserved, unwritten=unwritten)

    def release(self) -> None:
        """Give the claim back, and the room that was not used."""
        self._settle(unwritten=self._reserved)
        self._held.release()

    def __enter__(self) -> SmallClaim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def create(places: layout.Layout, path: str) -> int:
    """A new file that nobody else may write to; what a killed process left in its place is removed."""
    try:
        return _real.open(path, _CREATE, 0o400)
    except FileNotFoundError:
        places.ensure_shard(layout.shard_of(path))
    except FileExistsError:
        layout.unlink(path)
    return _real.open(path, _CREATE, 0o400)


def fill(fd: int, object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> int:
    """Write the whole object to *fd*; its CRC-32."""
    sink = FileSink(fd)
    if object_id.size:
        read_range(0, object_id.size, sink, purpose)
    if sink.error is not None:
        raise sink.error
    check_length(object_id.key, sink.offset, object_id.size)
    return sink.checksum
