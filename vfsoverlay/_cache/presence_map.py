"""The sidecar of a large object: which blocks are on disk, their checksums, and how the complete file looked.

Layout: a header of 128 bytes with its own CRC-32, the seconds that readers waited (a hint), one
state byte a block, one CRC-32 a block. A block is written as data, then checksum, then state, each
a write of its own: a killed process leaves at worst a written block that counts as missing. The
order holds within one boot (the page cache keeps it); after another boot every block is DOUBTED
until its checksum was compared.
"""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import blocks, layout
from vfsoverlay._cache.read_range import write_all

#: States of a block. Any other byte, as damage leaves it, is taken for MISSING.
MISSING: Final = 0
PRESENT: Final = 1
DOUBTED: Final = 2

#: Locks on a map: byte i stands for block i, this one for the header.
HEADER_BYTE: Final = 1 << 50

_MAGIC: Final = b"VFSOMAP1"
_HEADER: Final = struct.Struct("<8sIIQ20s16sqq48xI")
_HEADER_SIZE: Final = _HEADER.size
_WAITED: Final = struct.Struct("<d")
_STATES: Final = _HEADER_SIZE + _WAITED.size
_COMPLETE: Final = 1
_ENDLESS: Final = 1e9
_DOUBT: Final = bytes([MISSING, DOUBTED, DOUBTED]) + bytes(253)


class Header(NamedTuple):
    """What a map says about its object as a whole."""

    block_size: int
    complete: bool
    size: int
    digest: str
    boot: bytes
    """The boot in which PRESENT was last known to be true."""
    mtime_ns: int = 0
    """Of the data file at completion, as ``ctime_ns``."""
    ctime_ns: int = 0

    def packed(self) -> bytes:
        """The stored form."""
        flags = _COMPLETE if self.complete else 0
        digest = bytes.fromhex(self.digest)
        fields = (_MAGIC, self.block_size, flags, self.size, digest, self.boot, self.mtime_ns, self.ctime_ns)
        body = _HEADER.pack(*fields, 0)[:-4]
        return body + struct.pack("<I", crc32(body))

    @classmethod
    def parse(cls, raw: bytes) -> Header | None:
        """The inverse of ``packed``; None for anything else."""
        if len(raw) < _HEADER_SIZE:
            return None
        raw = raw[:_HEADER_SIZE]
        magic, block_size, flags, size, digest, boot, mtime_ns, ctime_ns, own = _HEADER.unpack(raw)
        if magic != _MAGIC or crc32(raw[:-4]) != own or not block_size:
            return None
        return cls(block_size, bool(flags & _COMPLETE), size, digest.hex(), boot, mtime_ns, ctime_ns)


class PresenceMap:
    """An open map file. States may change at any time through other processes; nothing here is remembered."""

    __slots__ = ("blocks", "fd", "header")

    def __init__(self, fd: int, header: Header) -> None:
        self.fd = fd
        self.header = header
        self.blocks = blocks.count(header.size, header.block_size)

    @classmethod
    def create(cls, path: str, header: Header) -> PresenceMap:
        """Make the map file *path* with every block missing; the caller holds the object's lock."""
        temporary = path + ".tmp"
        # What a killed maker left.
        layout.unlink(temporary)
        fd = _real.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, header.packed() + bytes(_WAITED.size + 5 * blocks.count(header.size, header.block_size)), 0)
            _real.rename(temporary, path)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            _real.close(fd)
            _real.unlink(temporary)
            raise
        return cls(fd, header)

    @classmethod
    def open(cls, path: str, digest: str, size: int) -> PresenceMap | None:
        """The map at *path* if it is sound and of this object; None if it is missing or anything is doubtful."""
        try:
            fd = _real.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        header = Header.parse(_real.pread(fd, _HEADER_SIZE, 0))
        if header is not None and (header.digest, header.size) == (digest, size):
            found = cls(fd, header)
            if _real.fstat(fd).st_size == _STATES + 5 * found.blocks:
                return found
        _real.close(fd)
        return None

    def states(self, start: int, stop: int) -> bytes:
        """The states of blocks *start* to *stop*; MISSING where the file is shorter than it should be."""
        return _real.pread(self.fd, stop - start, _STATES + start).ljust(stop - start, b"\0")

    def checksums(self, start: int, stop: int) -> tuple[int, ...]:
        """The CRC-32 of blocks *start* to *stop*; only meaningful where the state is not MISSING."""
        wanted = 4 * (stop - start)
        raw = _real.pread(self.fd, wanted, self._checksum_offset(start)).ljust(wanted, b"\0")
        return struct.unpack(f"<{stop - start}I", raw)

    def mark_present(self, start: int, checksums: list[int]) -> None:
        """Blocks from *start* on are on disk with these checksums; the caller holds their locks."""
        write_all(self.fd, struct.pack(f"<{len(checksums)}I", *checksums), self._checksum_offset(start))
        write_all(self.fd, bytes([PRESENT]) * len(checksums), _STATES + start)

    def add_waited(self, seconds: float) -> float:
        """Add to the time that readers of all processes waited; the sum. Unlocked: a lost update is a late decision."""
        raw = _real.pread(self.fd, _WAITED.size, _HEADER_SIZE)
        total = _WAITED.unpack(raw)[0] if len(raw) == _WAITED.size else 0.0
        # Not a number, or negative, after damage: begin anew.
        total = seconds + (total if 0 <= total < _ENDLESS else 0.0)
        write_all(self.fd, _WAITED.pack(total), _HEADER_SIZE)
        return total

    def doubt(self, boot: bytes) -> None:
        """Every block must be compared with its checksum before it counts; the caller holds the object's lock."""
        write_all(self.fd, self.states(0, self.blocks).translate(_DOUBT), _STATES)
        self._store(self.header._replace(complete=False, boot=boot, mtime_ns=0, ctime_ns=0))

    def seal(self, found: os.stat_result) -> None:
        """All blocks are present and *found* is how the data file looks; the caller holds the header's lock."""
        self._store(self.header._replace(complete=True, mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns))

    def describes(self, found: os.stat_result) -> bool:
        """Whether the header on disk says that the object is complete and its data file looks like *found*."""
        header = Header.parse(_real.pread(self.fd, _HEADER_SIZE, 0))
        looks = (found.st_mtime_ns, found.st_ctime_ns)
        return header is not None and header.complete and (header.mtime_ns, header.ctime_ns) == looks

    def close(self) -> None:
        """Close the map file."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            _real.close(fd)

    def _store(self, header: Header) -> None:
        write_all(self.fd, header.packed(), 0)
        self.header = header

    def _checksum_offset(self, block: int) -> int:
        return _STATES + self.blocks + 4 * block


def complete_header(path: str, digest: str, size: int) -> Header | None:
    """The header at *path* if it is sound, of this object, and says that the object is complete."""
    try:
        with _real.FileIO(path, "r") as file:
            header = Header.parse(file.read(_HEADER_SIZE) or b"")
    except OSError:
        return None
    sound = header is not None and header.complete and (header.digest, header.size) == (digest, size)
    return header if sound else None
