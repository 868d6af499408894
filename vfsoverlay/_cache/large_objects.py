"""Large objects: opening or making the pair of data file and presence map."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import Final

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.object_file import ObjectFile
from vfsoverlay._cache.object_locks import ObjectLocks
from vfsoverlay._cache.presence_map import Header, PresenceMap, complete_header
from vfsoverlay._cache.records import Record
from vfsoverlay._model import ObjectId

_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class LargeObjects:
    """The large objects of one cache directory."""

    __slots__ = ("_block_size", "_boot", "_budget", "_layout", "_mutex", "_object_locks", "_open_files", "_seconds")

    def __init__(
        self,
        places: layout.Layout,
        object_locks: ObjectLocks,
        boot: bytes,
        budget: Budget,
        block_size: int,
        deadline: float,
    ) -> None:
        self._layout = places
        self._object_locks = object_locks
        self._boot = boot
        self._budget = budget
        self._block_size = block_size
        self._seconds = deadline
        # One ObjectFile a version and process, shared by all handles, or claims would not meet.
        self._open_files: dict[str, ObjectFile] = {}
        self._mutex = threading.Lock()

    def recorded(self, stem: str, size: int) -> Record | None:
        """How the complete data file of *stem* looks, if the map says so and is of this boot."""
        header = complete_header(stem + layout.MAP, layout.digest_of(stem), size)
        if header is None or header.boot != self._boot:
            return None
        return Record(size, header.mtime_ns, header.ctime_ns, 0, header.boot)

    def use(self, object_id: ObjectId, stem: str) -> ObjectFile:
        """The file of *object_id*, opened or made; ``release`` it.

        Raises:
            OSError: The files cannot be made, or another process holds the object's lock beyond the deadline.
        """
        with self._mutex:
            file = self._open_files.get(stem)
            if file is not None:
                file.references += 1
                return file
        held = self._object_locks.acquire(stem, time.monotonic() + self._seconds)
        if held is None:
            where = self._layout.directory
            msg = f"{object_id.key}: another process holds its lock in {where} and does not go on; end it"
            raise OSError(errno.ETIMEDOUT, msg)
        with held:
            opened = self._open(object_id, stem)
        with self._mutex:
            # Another thread may have been faster.
            file = self._open_files.setdefault(stem, opened)
            file.references += 1
        if file is not opened:
            opened.close()
        return file

    def release(self, stem: str, file: ObjectFile) -> None:
        """Give a file back; the last user closes it."""
        with self._mutex:
            file.references -= 1
            if file.references:
                return
            self._open_files.pop(stem, None)
        file.close()

    def after_fork(self) -> None:
        """In the child: open files go on, without the claims of the parent's threads."""
        self._mutex = threading.Lock()
        for file in self._open_files.values():
            file.after_fork()

    def _open(self, object_id: ObjectId, stem: str) -> ObjectFile:
        """Open the pair or make it, under the object's lock: no evictor and no second maker is at work."""
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
            locks = self._object_locks.locks
            locks.pin(data_fd)
            return ObjectFile(stem, data_fd, presence, locks, self._budget)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
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
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            _real.close(fd)
            layout.unlink(stem + layout.DATA)
            raise
