"""A resolved path: what lies where a caller pointed, or that it is not ours."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Node

if TYPE_CHECKING:
    from vfsoverlay._vfs.mount_point import MountPoint

#: The longest name an absent file may have before a lookup answers ENAMETOOLONG, as Linux does on disk.
NAME_MAX: Final = 255
#: What directories lie on that exist only because they lead to a mount.
PARENTS: Final = "parents of mount points"
#: The longest path, without the terminating NUL, that Linux takes.
PATH_MAX: Final = 4095


class Foreign(NamedTuple):
    """A path that belongs to the real file system."""

    path: str | None
    """Another spelling the kernel can follow, where the caller's crosses a mount; None: the caller's own will do."""


class Failed(NamedTuple):
    """A path that crosses a mount and leads nowhere."""

    error: OSError


class Location(NamedTuple):
    """A place below a mount, or a directory that exists only because it leads to one."""

    point: MountPoint | None
    """None for a directory that is neither on disk nor below a mount, such as ``/content`` above ``/content/data``."""
    path: str
    """Relative to the mount point, empty for the mount point itself; absolute where ``point`` is None."""
    node: Node | None
    """None where nothing has this name, though its parent is a directory."""
    slash: bool
    """The spelling demands a directory: it ended in a slash."""
    last: str
    """The last component as spelled; ``.`` and ``..`` matter to rename and rmdir."""
    spelled: Any
    """What errors carry as their filename: the caller's own spelling; None for calls whose errors carry none."""
    absolute: str
    """Where this is, without symbolic links, ``.`` or ``..``."""
    holder: object = None
    """For calls that change names in a directory: what it lies on; a mount, ``PARENTS``, or None for the disk."""

    @property
    def is_directory(self) -> bool:
        """Whether a directory lies here."""
        return type(self.node) is DirectoryNode

    @property
    def is_root(self) -> bool:
        """Whether this is a mount point itself."""
        return self.point is not None and not self.path

    def error(self, code: int) -> OSError:
        """The OSError for *code*, with the caller's spelling."""
        if self.spelled is None:
            return OSError(code, os.strerror(code))
        return OSError(code, os.strerror(code), self.spelled)

    def existing(self) -> Node:
        """What lies here; raises as the kernel does where nothing does, or where a slash follows a file."""
        if self.node is None:
            raise self.error(errno.ENAMETOOLONG if self.too_long else errno.ENOENT)
        if self.slash and type(self.node) is FileNode:
            raise self.error(errno.ENOTDIR)
        return self.node

    def existing_directory(self) -> DirectoryNode:
        """The directory that lies here; ENOTDIR for a file."""
        node = self.existing()
        if type(node) is not DirectoryNode:
            raise self.error(errno.ENOTDIR)
        return node

    @property
    def too_long(self) -> bool:
        """Whether the name is longer than an absent file's may be."""
        return len(os.fsencode(self.last)) > NAME_MAX
