"""How a read-only mount refuses every change: the errno that Linux gives, call by call and place by place.

The order of the checks is the kernel's (``fs/namei.c``): parents first, then what a creation finds,
then the read-only mount. So ``mkdir`` of an existing directory says EEXIST, and ``unlink`` of a
missing file says EROFS. Each function raises; none returns.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn

from vfsoverlay._vfs.location import NAME_MAX, Foreign, Location

if TYPE_CHECKING:
    Place = Location | Foreign
    Kinds = tuple[bool | None, bool | None]


def create(place: Location, *, directory: bool = False) -> NoReturn:
    """``mkdir`` (*directory*), ``mknod``, ``mkfifo`` and the new name of ``symlink`` and ``link``."""
    if place.node is not None:
        raise place.error(errno.EEXIST)
    if place.too_long:
        raise place.error(errno.ENAMETOOLONG)
    if place.slash and not directory:
        raise place.error(errno.ENOENT)
    raise place.error(errno.EROFS)


def unlink(place: Location) -> NoReturn:
    """``unlink``: EROFS whether the name exists or not; EISDIR for a mount point and for ``.`` and ``..``."""
    if place.last in (".", "..") or place.holder is None:
        raise place.error(errno.EISDIR)
    raise place.error(errno.EROFS)


def rmdir(place: Location) -> NoReturn:
    """``rmdir``: EROFS whether the name exists or not; EBUSY for a mount point."""
    if place.last == ".":
        raise place.error(errno.EINVAL)
    if place.last == "..":
        raise place.error(errno.ENOTEMPTY)
    if place.holder is None:
        raise place.error(errno.EBUSY if place.is_root else errno.ENOTEMPTY)
    raise place.error(errno.EROFS)


def change(place: Location) -> NoReturn:
    """``chmod``, ``chown``, ``utime``, ``setxattr``, ``removexattr``: EROFS for what exists."""
    place.existing()
    raise place.error(errno.EROFS)


def truncate(place: Location) -> NoReturn:
    """``truncate``: EISDIR for a directory, EROFS for a file."""
    place.existing()
    raise place.error(errno.EISDIR if place.is_directory else errno.EROFS)


def rename(source: Place, target: Place, spelled: tuple[Any, Any], kinds: Kinds) -> NoReturn:
    """``rename`` and ``replace`` with one or both ends on a mount: EXDEV across a border, EROFS within.

    *kinds* says what lies at the two ends: None for nothing, else whether it is a directory.
    """

    def refuse(code: int) -> NoReturn:
        raise OSError(code, os.strerror(code), spelled[0], None, spelled[1])

    if _holder(source) is not _holder(target):
        refuse(errno.EXDEV)
    if any(isinstance(end, Location) and end.last in (".", "..") for end in (source, target)):
        refuse(errno.EBUSY)
    if _holder(source) is not None:
        refuse(errno.EROFS)
    # Both names are in directories on disk, and one of them is a mount point.
    old, new = kinds
    texts = [os.fsencode(path) if isinstance(path, str) else bytes(path) for path in spelled]
    if old is None:
        refuse(errno.ENAMETOOLONG if len(texts[0].rstrip(b"/").rpartition(b"/")[2]) > NAME_MAX else errno.ENOENT)
    if not old:
        slashes = any(text.endswith(b"/") for text in texts)
        refuse(errno.ENOTDIR if slashes else errno.EISDIR)
    refuse(errno.ENOTDIR if new is False and old else errno.EBUSY)


def link(source: Place, target: Place, spelled: tuple[Any, Any], *, target_exists: bool) -> NoReturn:
    """``link`` with one or both ends on a mount; the new name is looked at before the border."""

    def refuse(code: int) -> NoReturn:
        raise OSError(code, os.strerror(code), spelled[0], None, spelled[1])

    if isinstance(source, Location) and source.node is None:
        refuse(errno.ENAMETOOLONG if source.too_long else errno.ENOENT)
    if isinstance(source, Location) and source.slash and not source.is_directory:
        refuse(errno.ENOTDIR)
    if target_exists:
        refuse(errno.EEXIST)
    if isinstance(target, Location):
        if target.too_long:
            refuse(errno.ENAMETOOLONG)
        refuse(errno.ENOENT if target.slash else errno.EROFS)
    refuse(errno.ENOENT if str(spelled[1]).endswith("/") else errno.EXDEV)


def _holder(place: Place) -> object:
    """What the directory that holds *place* lies on: a mount, ``PARENTS``, or None for the disk."""
    return place.holder if isinstance(place, Location) else None
