"""Which open descriptors of the process are ours, by number and verified by the kernel's own identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfsoverlay import _real

if TYPE_CHECKING:
    from vfsoverlay._vfs.location import Location


class Descriptors:
    """Descriptor number -> location.

    A number is reused as soon as C code or a file object closes it, which we do not see. So an
    entry holds the (st_dev, st_ino) of the real file behind it and counts only while they agree;
    a new descriptor of ours with the same number replaces the entry.
    """

    __slots__ = ("entries",)

    def __init__(self) -> None:
        #: Never another dictionary: the dispatchers look into it.
        self.entries: dict[int, tuple[int, int, Location]] = {}

    def __contains__(self, fd: object) -> bool:
        return fd in self.entries

    def __bool__(self) -> bool:
        return bool(self.entries)

    def add(self, fd: int, location: Location) -> None:
        """Remember that *fd*, just opened, is *location*."""
        real = _real.fstat(fd)
        self.add_identified(fd, real.st_dev, real.st_ino, location)

    def add_identified(self, fd: int, device: int, inode: int, location: Location) -> None:
        """As ``add``, where the identity of the file behind *fd* is known already."""
        self.entries[fd] = (device, inode, location)

    def get(self, fd: int) -> Location | None:
        """What *fd* is; None if it is not ours (any more)."""
        entry = self.entries.get(fd)
        if entry is None:
            return None
        try:
            real = _real.fstat(fd)
        except OSError:
            real = None
        if real is None or (real.st_dev, real.st_ino) != entry[:2]:
            # Another thread may have put a new descriptor of ours under this number meanwhile.
            if self.entries.get(fd) is entry:
                self.entries.pop(fd, None)
            return None
        return entry[2]

    def copy(self, old: int, new: int) -> None:
        """After ``dup``: *new* is what *old* is."""
        location = self.get(old)
        if location is None:
            self.entries.pop(new, None)
        else:
            self.add(new, location)
