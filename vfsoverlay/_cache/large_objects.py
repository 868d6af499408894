"""Large objects: opening or making the pair of data file and presence map."""

from __future__ import annotations

import os
from typing import Final

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.locks import Locks
from vfsoverlay._cache.object_file import ObjectFile
from vfsoverlay._cache.presence_map import Header, PresenceMap, complete_header
from vfsoverlay._cache.records import Record
from vfsoverlay._model import ObjectId

_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class LargeObjects:
    """The large objects of one cache directory."""

    __slots__ = ("_block_size", "_boot", "_budget", "_layout", "_locks")

    def __init__(self, places: layout.Layout, locks: Locks, boot: bytes, budget: Budget, block_size: int) -> None:
        self._layout = places
        self._locks = locks
        self._boot = boot
        self._budget = budget
        self._block_size = block_size

    def recorded(self, stem: str, size: int) -> Record | None:
        """How the complete data file of *stem* looks, if the map says so and is of this boot."""
        header = complete_header(stem + layout.MAP, layout.digest_of(stem), size)
        if header is None or header.boot != self._boot:
            return None
        return Record(size, header.mtime_ns, header.ctime_ns, 0, header.boot)

    def open(self, object_id: ObjectId, stem: str) -> ObjectFile:
        """Open the pair, or make it; the caller holds the object's lock, so no evictor and no second maker is at work.

        Raises:
            OSError: The files cannot be made.
        """
        presence = PresenceMap.open(stem + layout.MAP, object_id.digest, object_id.size)
        data_fd = -1
        try:
            if presence is not None:
                data_fd = self._open_data(stem, presence)
                if data_fd < 0:
                    presence.close()
                    presence = None
            if presence is None:
                data_fd, presence = self._make(object_id, stem)
            self._locks.pin(data_fd)
            return ObjectFile(data_fd, presence, self._locks, self._budget, sealed=presence.header.complete)
        except BaseException:
            if data_fd >= 0:
                _real.close(data_fd)
            if presence is not None:
                presence.close()
            raise

    def _open_data(self, stem: str, presence: PresenceMap) -> int:
        """A descriptor of the existing data file, or -1 if it is missing or has another size."""
        path, header = stem + layout.DATA, presence.header
        try:
            found = _real.lstat(path)
            if found.st_size != header.size:
                return -1
            unchanged = (found.st_mtime_ns, found.st_ctime_ns) == (header.mtime_ns, header.ctime_ns)
            if header.complete and unchanged and header.boot == self._boot:
                return _real.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if header.complete or header.boot != self._boot:
                presence.doubt(self._boot)
            if not found.st_mode & 0o200:
                # Complete once: blocks that turn out to be wrong must be writable again.
                _real.chmod(path, 0o600)
            return _real.open(path, _OPEN)
        except FileNotFoundError:
            return -1

    def _make(self, object_id: ObjectId, stem: str) -> tuple[int, PresenceMap]:
        self._layout.ensure_shard(layout.shard_of(stem))
        layout.unlink(stem + layout.MAP)
        layout.unlink(stem + layout.DATA)
        # Data first: the map is what makes the pair exist, and it appears by rename.
        fd = _real.open(stem + layout.DATA, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _real.ftruncate(fd, object_id.size)
            header = Header(self._block_size, False, object_id.size, object_id.digest, self._boot)
            return fd, PresenceMap.create(stem + layout.MAP, header)
        except BaseException:
            _real.close(fd)
            raise
