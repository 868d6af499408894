"""What stat tells: real ``os.stat_result`` values made from a listing, without a request."""

from __future__ import annotations

import os
import stat
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from vfsoverlay._compiled import compiled
from vfsoverlay._namespace.nodes import FileNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfsoverlay._namespace.nodes import Node

#: Archived objects are visible but cannot be read until restored; GLACIER_IR answers at once.
ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})

_BLOCK_SIZE: Final = 131072
_DIRECTORY_SIZE: Final = 4096
_NS: Final = 1_000_000_000
_UNPACK: Final = struct.Struct("<Q").unpack


def inode_number(origin: str, key: str) -> int:
    """A positive 63-bit number that is the same in every process and run for this bucket and key."""
    digest = blake2b(f"{origin}\0{key}".encode("utf-8", "surrogateescape"), digest_size=8)
    return _positive(digest.digest())


def _positive(digest: bytes) -> int:
    return _UNPACK(digest)[0] >> 1 or 1


def device_number(source: str, root_dir: str) -> int:
    """One device number a mount, in a range (major 4095) that no kernel driver uses."""
    digest = blake2b(f"{source}\0{root_dir}".encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return os.makedev(4095, int.from_bytes(digest, "little") & 0xFFFFF)


def make_stat_in_python(
    mode: int, inode: int, device: int, owner: tuple[int, int], size: int, mtime_ns: int
) -> os.stat_result:
    """A complete ``os.stat_result``; all three times are *mtime_ns*, as a listing has no others."""
    s = mtime_ns // _NS
    t = mtime_ns / _NS
    links = 2 if stat.S_ISDIR(mode) else 1
    blocks = (size + 511) // 512
    uid, gid = owner
    # fmt: off
    return os.stat_result((
        mode, inode, device, links, uid, gid, size, s, s, s, t, t, t, mtime_ns, mtime_ns, mtime_ns,
        _BLOCK_SIZE, blocks, 0,
    ))
    # fmt: on


_COMPILED: Final = compiled("vfsoverlay._untracked")

#: As ``make_stat_in_python``.
make_stat: Final[Callable[[int, int, int, tuple[int, int], int, int], os.stat_result]] = (
    make_stat_in_python if _COMPILED is None else _COMPILED.make_stat
)


class Looks(NamedTuple):
    """What the attributes of all that one mount shows have in common."""

    begin: Callable[[], blake2b]
    """A hash of what all inode numbers begin with, to be updated; to copy one takes half the time of a new one."""
    device: int
    owner: tuple[int, int]
    """User and group."""
    file_mode: int
    """Of a file that can be read."""
    dir_mode: int


def looks_of(origin: str, prefix: str, device: int, owner: tuple[int, int], modes: tuple[int, int]) -> Looks:
    """The looks of one mount.

    Args:
        origin: Where the store is; with the key it makes inode numbers.
        prefix: What the keys begin with.
        device: The device number of the mount.
        owner: User and group that all belong to.
        modes: The permissions of files and of directories.
    """
    begun = blake2b(f"{origin}\0{prefix}".encode("utf-8", "surrogateescape"), digest_size=8)
    return Looks(begun.copy, device, owner, stat.S_IFREG | modes[0], stat.S_IFDIR | modes[1])


def status_maker(looks: Looks) -> Callable[[str, Node], os.stat_result]:
    """What makes the attributes of a node at a path of one mount; a function, since no other call is as frequent."""
    begin, device, owner, file_mode, dir_mode = looks

    def status(path: str, node: Node) -> os.stat_result:
        digest = begin()
        digest.update(path.encode() if path.isascii() else path.encode("utf-8", "surrogateescape"))
        if type(node) is FileNode:
            _, size, mtime_ns, _, storage_class, _ = node
            mode = stat.S_IFREG if storage_class in ARCHIVED else file_mode
            return make_stat(mode, _UNPACK(digest.digest())[0] >> 1 or 1, device, owner, size, mtime_ns)
        digest.update(b"/")
        return make_stat(dir_mode, _positive(digest.digest()), device, owner, _DIRECTORY_SIZE, node.mtime_ns)

    return status


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
