"""The mounts, descriptors and working directory of this process, and how a path is resolved among them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Any

from vfsoverlay import _real
from vfsoverlay._vfs.descriptors import Descriptors
from vfsoverlay._vfs.location import Foreign, Location
from vfsoverlay._vfs.mount_table import MountTable
from vfsoverlay._vfs.paths import is_plain, locate_plain, walk, walk_entry
from vfsoverlay.errors import StaleObject

if TYPE_CHECKING:
    from vfsoverlay._namespace.nodes import FileNode

_FOREIGN = Foreign(None)

#: Paths whose locations are kept; beyond it the table starts anew (about 20 MB).
_MOST_LOCATED = 50_000
_NOT_LOCATED: tuple[Any, Any, Any] = (None, None, None)


#: So many files and directories below a mount point on disk are recognised where a link leads to them.
_MAX_SHADOWED = 10_000


_ODD = frozenset({"", ".", ".."})


class FileSystem:
    """What this process sees in addition to its disk."""

    __slots__ = ("_located", "cwd", "descriptors", "shadowed", "table")

    def __init__(self) -> None:
        self.table = MountTable()
        #: Existing paths, as spelled, that were found before; see ``located``.
        self._located: dict[str, tuple[MountTable, object, Any]] = {}
        self.descriptors = Descriptors()
        #: (st_dev, st_ino) of what lies on disk at and below mount points: never to be seen, whatever link leads there.
        self.shadowed: frozenset[tuple[int, int]] = frozenset()
        #: The directory below a mount that is the working directory; None while it is a real one.
        self.cwd: Location | None = None

    def resolve(
        self,
        path: Any,
        *,
        dir_fd: int | None = None,
        follow: bool = True,
        entry: bool = False,
        creates: bool = False,
    ) -> Location | Foreign:
        """What *path* (text, bytes or a descriptor) is.

        Args:
            path: As given to the call, after ``__fspath__``.
            dir_fd: The descriptor of the directory that a relative path begins in.
            follow: Whether a symbolic link as last component is followed.
            entry: Whether the call is about the name in its directory, as ``unlink`` is.
            creates: Whether the kernel would create what it does not find, and so cannot be asked first.

        Raises:
            OSError: As ``paths.walk``.
        """
        if isinstance(path, int):
            place = self.descriptors.get(path)
            return _FOREIGN if place is None else place._replace(spelled=path)
        text = path if isinstance(path, str) else os.fsdecode(path)
        if "\0" in text:
            return _FOREIGN
        if text[:1] == "/":
            if not entry:
                place = locate_plain(self.table, text, path)
                if place is not None:
                    return place
            doubtful = creates or self.shadowed or (entry and self._may_lead(text))
            if not doubtful and is_plain(text[1:]) and self._is_elsewhere(text):
                return _FOREIGN
        return self._walk(text, path, dir_fd, follow=follow, entry=entry)

    def known_status(self, path: str) -> os.stat_result | None:
        """The attributes of an absolute *path* without odd parts that is in a mount; None: as ``located``."""
        for prefix, point in self.table.prefixes:
            if path.startswith(prefix) or (len(path) == len(prefix) - 1 and prefix.startswith(path)):
                try:
                    return point.statuses.find(path, len(prefix))
                except OSError:
                    # The long way meets it again, and names the path.
                    return None
        return None

    def located(self, path: str) -> Location | None:
        """The location of an existing, absolute *path* without odd parts; None: the long way decides."""
        table = self.table
        try:
            known_table, names, place = self._located.get(path, _NOT_LOCATED)
            if known_table is table and (names is place.point.statuses or place.point.lookup(place.path) is place.node):
                return place  # type: ignore[no-any-return]  # it is a Location where the table is one
            found = table.find(path)
            if found is None or path[-1] == "/":
                return None
            point, rest = found
            # Before the look-up, since another thread may change the names meanwhile; as with the mounts.
            names = point.statuses if point.names_stay else None
            node = point.lookup(rest)
        except OSError:
            # The long way meets it again, and names the path.
            return None
        if node is None:
            return None
        root = point.roots[-1]
        # As Location() does, in one call less.
        parts = point, rest, node, False, node.name, path, f"{root}/{rest}" if rest else root, None
        made: Location = tuple.__new__(Location, parts)
        if len(self._located) >= _MOST_LOCATED:
            self._located.clear()
        self._located[path] = table, names, made
        return made

    def forget_located(self) -> None:
        """After a change of the mounts: find every path anew."""
        self._located.clear()

    def _may_lead(self, text: str) -> bool:
        """Whether the last component is that of a mount point or one of its parents, reached through a link or not."""
        return text.rstrip("/").rpartition("/")[2] in self.table.names

    def _is_elsewhere(self, text: str) -> bool:
        """Whether only a symbolic link could lead into a mount; lookups that the kernel fails are tried again."""
        return self.table.find(text) is None and text not in self.table.ancestors

    def _walk(self, text: str, path: Any, dir_fd: int | None, *, follow: bool, entry: bool) -> Location | Foreign:
        if not text:
            return _FOREIGN
        start, virtual = ("/", False) if text[0] == "/" else self._start(dir_fd)
        if entry:
            return walk_entry(self.table, text, start, path, virtual=virtual)
        return walk(self.table, text, start, path, follow=follow, virtual=virtual)

    def retry(
        self, path: Any, *, dir_fd: int | None = None, follow: bool = True, entry: bool = False
    ) -> Location | Foreign | None:
        """What a path that the kernel did not find may be after all: reached by a link, or a parent of a mount point.

        None if it is certainly absent. Costs two system calls for an ordinary missing file: if its
        parent is on disk and it is no dangling link itself, nothing of ours can be meant, because
        directories of ours are not on disk. Raises as ``resolve``.
        """
        text = path if isinstance(path, str) else os.fsdecode(path)
        if not text or "\0" in text:
            return None
        if dir_fd is None and self.plainly_missing(text):
            return None
        place = self._walk(text, path, dir_fd, follow=follow, entry=entry)
        return None if place == _FOREIGN else place

    def find(self, path: Any) -> Location | Foreign:
        """What *path* is, also where a link on disk leads to it: for who asks us, and not the kernel first."""
        place = self.resolve(path)
        return place if isinstance(place, Location) else self.retry(path) or place

    def plainly_missing(self, text: str) -> bool:
        """Whether the kernel's word that *text* is missing can be taken: its parent is on disk, and it is no link."""
        head, _, name = text.rpartition("/")
        if name in _ODD or name in self.table.names or self.shadowed or (self.cwd is not None and text[0] != "/"):
            return False
        try:
            return not _real.lexists(text) and _real.lexists(f"{head}/" if head or text[0] == "/" else ".")
        except ValueError:
            return True

    def _start(self, dir_fd: int | None) -> tuple[str, bool]:
        """The directory that relative paths begin in, and whether it is one of ours."""
        place = self.cwd if dir_fd is None else self.descriptors.get(dir_fd)
        if place is not None:
            return place.absolute, True
        if dir_fd is None:
            return _real.getcwd(), False
        try:
            return _real.readlink(f"/proc/self/fd/{dir_fd}"), False
        except OSError:
            return "/", False

    def look_for_shadowed(self) -> None:
        """Take note of what lies on disk at the mount points, so that links to it can be told from others."""
        self.shadowed = frozenset(
            identity for point in self.table.points for root in point.roots for identity in _identities(root)
        )

    # --- parents of mount points

    def leading(self, path: Any) -> frozenset[str]:
        """The names in the real directory *path* that lead to a mount point, whether on disk or not."""
        if not self.table.ancestors:
            return frozenset()
        return self.table.ancestors.get(self.real_directory(path), frozenset())

    def real_directory(self, path: Any) -> str:
        """*path* (text, bytes or a descriptor) as absolute text without links, if it may be a parent of a mount."""
        if isinstance(path, int):
            try:
                return _real.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return ""
        text = path if isinstance(path, str) else os.fsdecode(bytes(path))
        if text in self.table.ancestors:
            return text
        # Without links in it, only the last component tells whether a parent can be meant.
        last = text.rstrip("/").rpartition("/")[2]
        if last in ("", ".", "..") or any(parent.endswith("/" + last) for parent in self.table.ancestors):
            return _real.realpath(text)
        return ""

    # --- descriptors

    def open_directory(self, place: Location, flags: int) -> int:
        """A descriptor for a directory of ours: of an empty real directory, known by its number."""
        keep = os.O_PATH | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_APPEND
        fd = _real.open(self.shadow(place), (flags & keep) | os.O_DIRECTORY | os.O_CLOEXEC)
        self.descriptors.add(fd, place)
        return fd

    def open_file(self, place: Location, node: FileNode, flags: int) -> int:
        """A descriptor of the complete data of the file at *place*; errors name the caller's spelling."""
        point = place.point
        if point is None:
            raise place.error(errno.EISDIR)
        try:
            try:
                fd = point.open_complete(place.path, node)
            except StaleObject:
                newer = point.reopened(place.path, node)
                if newer is None:
                    raise
                # The descriptor is of the newer version, and fstat must say so.
                place = place._replace(node=newer)
                fd = point.open_complete(place.path, newer)
        except OSError as error:
            if error.filename is None:
                error.filename = place.spelled
            raise
        if flags & os.O_PATH:
            readable, fd = fd, _real.open(f"/proc/self/fd/{fd}", os.O_PATH | os.O_CLOEXEC)
            _real.close(readable)
        elif flags & (os.O_NONBLOCK | os.O_APPEND):
            fcntl.fcntl(fd, fcntl.F_SETFL, flags & (os.O_NONBLOCK | os.O_APPEND))
        self.descriptors.add(fd, place)
        return fd

    def shadow(self, place: Location) -> str:
        """The empty real directory that stands in for *place* where the kernel wants one."""
        point = place.point or self.table.points[0]
        return point.shadow_dir

    # --- working directory

    def change_directory(self, place: Location) -> None:
        """``chdir`` to a directory of ours: the real one becomes the shadow, so that nothing real is found in it."""
        _real.chdir(self.shadow(place))
        self.cwd = place

    def current_directory(self) -> Location | None:
        """The virtual working directory; forgets it when C code has moved the real one meanwhile."""
        place = self.cwd
        if place is not None and _real.getcwd() != self.shadow(place):
            self.cwd = place = None
        return place

    def leave_directory(self) -> None:
        """Before the mount of the working directory goes: move to the nearest directory on disk above it."""
        place = self.cwd
        if place is None:
            return
        path = place.absolute
        while path and not _real.exists(path):
            path = path.rpartition("/")[0]
        _real.chdir(path or "/")
        self.cwd = None


def _identities(root: str) -> list[tuple[int, int]]:
    """(st_dev, st_ino) of the directory *root*, if it is on disk, and of what is in it, level by level."""
    found: list[tuple[int, int]] = []
    todo = [root]
    for path in todo:
        try:
            status = _real.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                todo += (f"{path}/{name}" for name in _real.listdir(path))
        except OSError:
            continue
        found.append((status.st_dev, status.st_ino))
        if len(found) >= _MAX_SHADOWED:
            break
    return found
