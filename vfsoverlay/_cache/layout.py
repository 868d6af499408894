"""Where each file of the cache lies, and the rule that the directory belongs to this user alone."""

from __future__ import annotations

import errno
import os
import stat
from hashlib import blake2b
from typing import Final

from vfsoverlay import _real
from vfsoverlay._cache.placement import scatter_directories
from vfsoverlay._model import ObjectId

#: Part of every path: another format is another directory, so neither can misread the other's files.
FORMAT: Final = "v1"

#: Objects up to this size arrive with one GET and keep their record in their shard's record file;
#: larger ones have a presence map of their own. Part of the format: it decides where a record is sought.
SMALL_OBJECT: Final = 1024 * 1024

#: How data files are opened for reading.
READ: Final = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)

#: Locks on a record file: bytes from here on stand for objects, byte 0 for the records themselves.
FIRST_LOCK_BYTE: Final = 1 << 40

DATA: Final = ".data"
MAP: Final = ".map"
TEMPORARY: Final = ".tmp"
DOOMED: Final = ".doomed"


class Layout:
    """The paths below one cache directory.

    All versions of one key share a shard and the first part of their name, so that the evictor
    sees from names alone which files are versions of the same object. Keys never become names.
    """

    __slots__ = ("directory", "locks", "meta", "objects")

    def __init__(self, directory: str) -> None:
        self.directory = directory.rstrip("/") or "/"
        top = f"{self.directory}/{FORMAT}"
        self.objects = f"{top}/objects"
        self.locks = f"{top}/locks"
        self.meta = f"{top}/meta"

    def prepare(self) -> None:
        """Make the directories, readable by this user only.

        Raises:
            OSError: One cannot be made, or is somebody else's; names it.
        """
        _real.makedirs(self.directory, 0o700)
        for path in (f"{self.directory}/{FORMAT}", self.objects, self.locks):
            if _make_private(path) and path == self.objects:
                scatter_directories(path)

    def stem(self, object_id: ObjectId) -> str:
        """The path of everything kept for one object version, without the suffix."""
        shard, name, _ = self.parts(object_id)
        return f"{shard}/{name}"

    def parts(self, object_id: ObjectId) -> tuple[str, str, str]:
        """The directory of its shard, its name there without the suffix, and its ``ObjectId.digest``."""
        key, digest = key_hash(object_id), object_id.digest
        return f"{self.objects}/{key[:2]}", f"{key}-{digest}", digest

    def ensure_shard(self, shard: str) -> None:
        """Make the directory of *shard* again if it is missing (somebody may have deleted the cache)."""
        path = f"{self.objects}/{shard}"
        try:
            _real.mkdir(path, 0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            self.prepare()
            _real.makedirs(path, 0o700)

    def records(self, shard: str) -> str:
        """The file with the records of the small objects of *shard*; its bytes are locked for all of them."""
        return f"{self.objects}/{shard}/records"


def key_hash(object_id: ObjectId) -> str:
    """16 hexadecimal digits that all versions of one key share."""
    text = f"{len(object_id.origin)} {object_id.origin}{object_id.key}"
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def shard_of(stem: str) -> str:
    """The two digits that name the shard of *stem*."""
    return stem.rsplit("/", 2)[1]


def digest_of(stem: str) -> str:
    """The ``ObjectId.digest`` in the name *stem*."""
    return stem[-40:]


def lock_byte(stem: str) -> int:
    """The byte of the shard's record file that stands for *stem* (two objects rarely share one, harmlessly)."""
    return FIRST_LOCK_BYTE + int(stem[-10:], 16)


def unlink(path: str) -> None:
    """Remove the file *path*, which may be gone already."""
    try:
        _real.unlink(path)
    except FileNotFoundError:
        pass


def _make_private(path: str) -> bool:
    """Make the directory *path*, or make sure of the one that is there; whether it is new."""
    is_new = True
    try:
        _real.mkdir(path, 0o700)
    except FileExistsError:
        is_new = False
    found = _real.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        msg = "the cache needs a directory here; remove what is in the way, or choose another cache_dir"
        raise NotADirectoryError(errno.ENOTDIR, msg, path)
    if found.st_uid != _real.geteuid():
        msg = f"the cache directory belongs to user {found.st_uid}, not to you; choose another cache_dir"
        raise PermissionError(errno.EACCES, msg, path)
    if found.st_mode & 0o077:
        _real.chmod(path, 0o700)
    return is_new
