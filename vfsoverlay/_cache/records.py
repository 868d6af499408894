"""The durable records of small objects: one append-only file a shard, searched without being parsed.

A record says what the data file looked like when it was complete. It is believed only if its own
checksum is right; a lost or damaged record makes the object a miss, never wrong bytes.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Collection
from typing import Final, NamedTuple
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache.locks import Held, Locks, try_acquire
from vfsoverlay._cache.read_range import write_all

_ENTRY: Final = struct.Struct("<20sQqqI16s4xI")  # digest, size, mtime, ctime, crc of data, boot, crc of entry
_BODY: Final = _ENTRY.size - 4

#: The byte that stands for the records themselves.
_RECORDS: Final = 0

#: Files below this are not worth rewriting.
_SMALL_FILE: Final = 64 * 1024

#: Seconds to wait for the lock of a record file, which others hold for microseconds.
_PATIENCE: Final = 10.0


class Record(NamedTuple):
    """How a complete data file looked, and the boot in which that was last verified."""

    size: int
    mtime_ns: int
    ctime_ns: int
    checksum: int
    boot: bytes


def pack(digest: bytes, record: Record) -> bytes:
    """The stored form of one record."""
    size, mtime_ns, ctime_ns, checksum, boot = record
    body = _ENTRY.pack(digest, size, mtime_ns, ctime_ns, checksum, boot, 0)[:_BODY]
    return body + struct.pack("<I", crc32(body))


def find(content: bytes | bytearray, digest: bytes) -> Record | None:
    """The newest sound record of *digest* in the *content* of a record file."""
    end = len(content)
    while (at := content.rfind(digest, 0, end)) >= 0:
        end = at + len(digest) - 1
        entry = content[at : at + _ENTRY.size]
        if at % _ENTRY.size or len(entry) < _ENTRY.size:
            continue
        _, size, mtime_ns, ctime_ns, checksum, boot, own = _ENTRY.unpack(entry)
        if crc32(entry[:_BODY]) == own:
            return Record(size, mtime_ns, ctime_ns, checksum, boot)
    return None


def digests(content: bytes) -> list[bytes]:
    """The digest of every entry, sound or not, in order."""
    return [content[at : at + 20] for at in range(0, len(content) - _ENTRY.size + 1, _ENTRY.size)]


class RecordFile:
    """The record file of one shard; changed only under the lock of its first byte, read without."""

    __slots__ = ("_locks", "_path", "_seen")

    def __init__(self, path: str, locks: Locks) -> None:
        self._path = path
        self._locks = locks
        #: Inode and size of the file, and what it held then or later; one value, since threads share it.
        self._seen = (0, 0), bytearray()

    def lookup(self, digest: str) -> Record | None:
        """The newest record of the object version *digest*, as the file says now."""
        try:
            found = _real.stat(self._path)
            # Not the mtime: a file rewritten to its old size gives an old record at worst, which is compared anyway.
            stamp = (found.st_ino, found.st_size)
            seen = self._seen
            if stamp != seen[0]:
                content = _read_all(self._path)
                # The size of what was read: another thread of ours may have added a record since the stat.
                self._seen = seen = (found.st_ino, len(content)), content
        except OSError:
            # Never made, or deleted underneath, at any moment.
            return None
        return find(seen[1], bytes.fromhex(digest))

    def recall(self, digest: str) -> Record | None:
        """As ``lookup``, but a record that this process has read already will do, which saves asking the kernel.

        An older record than the newest is harmless: whoever believes it compares the data file with it.
        """
        return find(self._seen[1], bytes.fromhex(digest)) or self.lookup(digest)

    def append(self, digest: str, record: Record, held: Held) -> None:
        """Add *record*, the newest one counts; *held* is the lock of the object, on this very file."""
        entry = pack(bytes.fromhex(digest), record)
        if not held.extend(_RECORDS, time.monotonic() + _PATIENCE):
            msg = "the record file is locked by a process that does not go on; end it, or choose another cache_dir"
            raise OSError(errno.EDEADLK, msg, self._path)
        found = _real.fstat(held.fd)
        # A torn last entry (killed writer, full disk) is overwritten, or all later ones were misaligned.
        end = found.st_size - found.st_size % _ENTRY.size
        write_all(held.fd, entry, end)
        self.added(entry, found.st_ino, end)

    def added(self, entry: bytes, inode: int, end: int) -> None:
        """Know of *entry*, which this process has written at *end* of the file, and need not read back."""
        stamp, content = self._seen if end else ((inode, 0), bytearray())
        if stamp == (inode, end):
            content += entry
            self._seen = (inode, end + len(entry)), content

    def drop_dead(self, alive: Collection[str]) -> None:
        """Forget objects that are not in *alive* (digests), once that halves the file."""
        try:
            size = _real.stat(self._path).st_size
        except FileNotFoundError:
            return
        if size < max(_SMALL_FILE, 2 * len(alive) * _ENTRY.size):
            return
        wanted = {bytes.fromhex(digest) for digest in alive}
        try:
            held = try_acquire(self._locks, self._path, _RECORDS)
        except FileNotFoundError:
            # Somebody deletes the cache underneath.
            return
        if held is None:
            # Next time, then: it can wait, and readers who wait for the evictor should not.
            return
        with held:
            content = _real.pread(held.fd, _real.fstat(held.fd).st_size, 0)
            newest = {digest: find(content, digest) for digest in digests(content) if digest in wanted}
            kept = b"".join(pack(digest, record) for digest, record in newest.items() if record)
            # In place, since writers lock this very file. A crash in the middle loses records: misses.
            write_all(held.fd, kept, 0)
            _real.ftruncate(held.fd, len(kept))


def _read_all(path: str) -> bytearray:
    with _real.FileIO(path, "r") as file:
        return bytearray(file.readall())
