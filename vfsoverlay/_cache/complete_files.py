"""The warm path: data files known to be complete, opened with four system calls and no lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.locks import Locks, OfdLocks
from vfsoverlay._cache.records import Record
from vfsoverlay._compiled import compiled
from vfsoverlay._model import ObjectId

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    OpenPinned = Callable[[str, int, int, int, int], tuple[int, int, int] | None]
    OpenRecorded = Callable[[str, bytes, bytes, str, int], tuple[int, int, int, int, int, int] | None]

#: How many objects a process remembers; forgetting one costs a look at its record.
_MOST: Final = 65_536


#: Opens, pins and compares as ``open_identified``, and finds records, in C; it knows locks of one kind.
_COMPILED: Final = compiled("vfsoverlay._cache._pinned")


class _Known:
    """How a complete data file looked when its record was last believed."""

    __slots__ = ("ctime_ns", "mtime_ns", "path", "size", "used")

    def __init__(self, path: str, size: int, mtime_ns: int, ctime_ns: int) -> None:
        self.path = path
        self.size = size
        self.mtime_ns = mtime_ns
        self.ctime_ns = ctime_ns
        self.used = True

    def matches(self, found: os.stat_result) -> bool:
        """Whether a file that looks like *found* is still that one."""
        return found.st_ctime_ns == self.ctime_ns and found.st_mtime_ns == self.mtime_ns and found.st_size == self.size


class CompleteFiles:
    """What this process knows to be complete."""

    __slots__ = ("_known", "_open_pinned", "_open_recorded", "_pin")

    def __init__(self, locks: Locks) -> None:
        self._known: dict[ObjectId, _Known] = {}
        self._pin = locks.pin
        self._open_pinned: OpenPinned | None = None
        self._open_recorded: OpenRecorded | None = None
        if _COMPILED is not None and type(locks) is OfdLocks:
            self._open_pinned = _COMPILED.open_pinned
            self._open_recorded = _COMPILED.open_recorded

    def remember(self, object_id: ObjectId, stem: str, record: Record) -> None:
        """The data file of *stem* is complete, and looks as *record* says."""
        self._keep(object_id, _Known(stem + layout.DATA, record.size, record.mtime_ns, record.ctime_ns))

    def _keep(self, object_id: ObjectId, known: _Known) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[object_id] = known

    def knows(self, object_id: ObjectId) -> bool | None:
        """True if the object was complete when last seen; else None, as ``open``."""
        return True if object_id in self._known else None

    def open(self, object_id: ObjectId) -> int | None:
        """A pinned, readable descriptor; None if nothing is known, or the file is not what it was."""
        opened = self.open_identified(object_id)
        return None if opened is None else opened[0]

    def open_identified(self, object_id: ObjectId) -> tuple[int, int, int] | None:
        """As ``open``, with the (st_dev, st_ino) of the file behind the descriptor."""
        known = self._known.get(object_id)
        if known is None:
            return None
        if self._open_pinned is not None:
            opened = self._open_pinned(known.path, layout.READ, known.size, known.mtime_ns, known.ctime_ns)
            if opened is not None:
                known.used = True
                return opened
            # Why not, the same steps tell below, and what follows from it.
        try:
            fd = _real.open(known.path, layout.READ)
        except OSError:
            self._known.pop(object_id, None)
            return None
        try:
            # Pinned first, compared then: an evictor renames the file, which changes its ctime, before it looks
            # for pins. So either it finds this pin, or the comparison finds the rename.
            self._pin(fd)
            found = _real.fstat(fd)
        except OSError:
            _real.close(fd)
            raise
        if known.matches(found):
            known.used = True
            return fd, found.st_dev, found.st_ino
        _real.close(fd)
        self._known.pop(object_id, None)
        return None

    def open_recorded(
        self, object_id: ObjectId, stem: str, records: str, digest: bytes, boot: bytes
    ) -> tuple[int, int, int] | None:
        """As ``open_identified`` of an object that another process may have completed.

        None: the file *records* has no record of *digest* and of this *boot*, or not one that is found and believed at
        once; ``remember`` and ``open_identified`` must decide then.
        """
        if self._open_recorded is None:
            return None
        path = stem + layout.DATA
        opened = self._open_recorded(records, digest, boot, path, layout.READ)
        if opened is None:
            return None
        fd, device, inode, size, mtime_ns, ctime_ns = opened
        self._keep(object_id, _Known(path, size, mtime_ns, ctime_ns))
        return fd, device, inode

    def holds(self, object_id: ObjectId) -> bool:
        """Whether the object is known to be complete and its file looks as it did; opens nothing."""
        known = self._known.get(object_id)
        if known is None:
            return False
        try:
            found = _real.lstat(known.path)
        except OSError:
            self._known.pop(object_id, None)
            return False
        return known.matches(found)

    def take_used(self) -> list[str]:
        """Digests of what was opened since the last call."""
        used = []
        for known in list(self._known.values()):
            if known.used:
                known.used = False
                used.append(layout.digest_of(known.path.removesuffix(layout.DATA)))
        return used

    def clear(self) -> None:
        """Know nothing; every object is looked up again."""
        self._known.clear()
