"""What stat tells: real ``os.stat_result`` values made from a listing, without a request."""

from __future__ import annotations

import os
import stat
from hashlib import blake2b
from typing import Final

#: Archived objects are visible but cannot be read until restored; GLACIER_IR answers at once.
ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})

_BLOCK_SIZE: Final = 131072
_NS: Final = 1_000_000_000


def inode_number(origin: str, key: str) -> int:
    """A positive 63-bit number that is the same in every process and run for this bucket and key."""
    digest = blake2b(f"{origin}\0{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 1) or 1


def device_number(source: str, root_dir: str) -> int:
    """One device number a mount, in a range (major 4095) that no kernel driver uses."""
    digest = blake2b(f"{source}\0{root_dir}".encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return os.makedev(4095, int.from_bytes(digest, "little") & 0xFFFFF)


def make_stat(mode: int, inode: int, device: int, owner: tuple[int, int], size: int, mtime_ns: int) -> os.stat_result:
    """A complete ``os.stat_result``; all three times are *mtime_ns*, as a listing has no others."""
    seconds = mtime_ns // _NS
    exact = mtime_ns / _NS
    links = 2 if stat.S_ISDIR(mode) else 1
    blocks = (size + 511) // 512
    whole = (mode, inode, device, links, *owner, size, seconds, seconds, seconds)
    return os.stat_result((*whole, exact, exact, exact, mtime_ns, mtime_ns, mtime_ns, _BLOCK_SIZE, blocks, 0))


def permits(status: os.stat_result, wanted: int) -> bool:
    """Whether the current user may do what *wanted* (R_OK, W_OK, X_OK) asks; writing never."""
    if wanted & os.W_OK:
        return False
    mode = status.st_mode
    uid = os.geteuid()
    if uid == 0:
        # Root reads everything; execution needs one x bit, or a directory.
        return not wanted & os.X_OK or stat.S_ISDIR(mode) or bool(mode & 0o111)
    if uid == status.st_uid:
        granted = mode >> 6
    elif status.st_gid == os.getegid() or status.st_gid in os.getgroups():
        granted = mode >> 3
    else:
        granted = mode
    return granted & wanted == wanted
