"""How a path is walked: component by component over disk and mounts, as the kernel does, never by text alone."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from vfsoverlay import _real
from vfsoverlay._namespace.nodes import DirectoryNode
from vfsoverlay._vfs.location import NAME_MAX, PARENTS, PATH_MAX, Foreign, Location

if TYPE_CHECKING:
    from vfsoverlay._namespace.nodes import Node
    from vfsoverlay._vfs.mount_table import MountTable

#: As Linux: more symbolic links than this in one lookup are a loop.
_MAX_LINKS = 40


def is_plain(rest: str) -> bool:
    """Whether *rest*, a path below a mount point, needs no walk: it has no ``.``, ``..``, ``//`` or final ``/``."""
    return not ("/." in rest or "//" in rest or rest[-1:] == "/" or rest[:1] in (".", "/"))


def locate_plain(table: MountTable, path: str, spelled: Any) -> Location | None:
    """The location of an absolute *path* that needs no walk; None where a walk must decide."""
    found = table.find(path)
    if found is None or not is_plain(found[1]) or path[-1] == "/" or len(path) > PATH_MAX:
        return None
    point, rest = found
    if path in table.ancestors:
        return None
    node = point.lookup(rest)
    parent, _, last = rest.rpartition("/")
    if node is None and type(point.lookup(parent)) is not DirectoryNode:
        return None
    return Location(point, rest, node, False, last, spelled, f"{point.roots[-1]}/{rest}" if rest else point.roots[-1])


def walk(
    table: MountTable, path: str, start: str, spelled: Any, *, follow: bool = True, virtual: bool = False
) -> Location | Foreign:
    """Where *path* leads, starting in the directory *start* unless it is absolute.

    Args:
        table: The mounts.
        path: Not empty.
        start: Absolute path, without symbolic links, of the directory that a relative path begins in.
        spelled: The filename for errors.
        follow: Whether a symbolic link as last component is followed.
        virtual: Whether *start* is a directory the kernel does not know under this name.

    Raises:
        OSError: ENOENT, ENOTDIR, ENAMETOOLONG or ELOOP, where it is certain that the path crosses a mount.
    """
    _check_length(path, spelled)
    return _Walk(table, path, start, spelled, follow=follow, virtual=virtual).run()


def walk_entry(table: MountTable, path: str, start: str, spelled: Any, *, virtual: bool = False) -> Location | Foreign:
    """The entry that *path* names in its directory, for calls that make, remove or rename it.

    Like the kernel, it walks to the directory and does not follow the last component, even where a
    slash comes after it; ``.`` and ``..`` as last component stand for the directory they are in.
    Arguments and errors are those of ``walk``.
    """
    _check_length(path, spelled)
    stripped = path.rstrip("/")
    if not stripped:
        return Foreign(None)
    head, _, last = stripped.rpartition("/")
    slash = len(stripped) < len(path)
    body = head or ("/" if path[0] == "/" else "")
    way = _Walk(table, body, start, spelled, follow=True, virtual=virtual)
    place = way.run()
    if isinstance(place, Foreign):
        return _real_entry(table, way, place, last, slash=slash)
    place.existing_directory()
    holder = place.point or PARENTS
    if last in (".", ".."):
        return place._replace(slash=slash, last=last, holder=holder)
    child = f"{place.absolute}/{last}"
    found = table.find(child)
    if found is None:
        leading = DirectoryNode(last, 0) if child in table.ancestors else None
        return Location(None, child, leading, slash, last, spelled, child, holder)
    point, rest = found
    leads = not rest or child in table.ancestors
    node = point.lookup(rest) or (DirectoryNode(last, point.mounted_ns) if leads else None)
    return Location(point, rest, node, slash, last, spelled, child, holder)


def _real_entry(table: MountTable, way: _Walk, place: Foreign, last: str, *, slash: bool) -> Location | Foreign:
    """An entry of a directory on disk: a mount point, a directory that leads to one, or none of ours."""
    if way.arrived and last not in (".", ".."):
        child = f"{way.here}/{last}"
        found = table.find(child)
        if found is not None:
            point, _ = found
            node: Node = point.lookup("") or DirectoryNode(last, point.mounted_ns)
            return Location(point, "", node, slash, last, way.spelled, child)
        if child in table.ancestors and not _real.exists(child):
            return Location(None, child, DirectoryNode(last, 0), slash, last, way.spelled, child)
    if place.path is None:
        return place
    return Foreign(f"{place.path.rstrip('/')}/{last}{'/' * slash}")


def _check_length(path: str, spelled: Any) -> None:
    if len(path) > PATH_MAX // 4 and len(os.fsencode(path)) > PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), spelled)


class _Walk:
    """One walk in progress: where it stands, and the components still to go."""

    def __init__(self, table: MountTable, path: str, start: str, spelled: Any, *, follow: bool, virtual: bool) -> None:
        self.table = table
        self.spelled = spelled
        self.follow = follow
        self.links = 0
        #: Where the walk stands: a directory, without links; "" is the root, which joins well.
        self.here = "" if path.startswith("/") else start.rstrip("/")
        #: Whether the kernel would not find its way by the caller's spelling.
        self.crossed = virtual and not path.startswith("/")
        self.todo = path.split("/")[::-1]
        #: The last component as spelled.
        self.last = next((part for part in self.todo if part), "")
        self.slash = path.endswith("/")
        #: Whether the walk ended in a directory, ``here``.
        self.arrived = False

    def run(self) -> Location | Foreign:
        while self.todo:
            name = self.todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                self._leave()
                continue
            child = f"{self.here}/{name}"
            found = self.table.find(child)
            result: Location | Foreign | None
            if found is not None:
                result = self._inside(child, found)
            elif child in self.table.ancestors:
                result = self._ancestor(child)
            else:
                result = self._outside(child)
            if result is not None:
                return result
        return self._arrive()

    def _leave(self) -> None:
        if self.table.find(self.here or "/") is not None or not self._on_disk(self.here):
            self.crossed = True
        self.here = self.here.rpartition("/")[0]

    def _on_disk(self, path: str) -> bool:
        return path not in self.table.ancestors or _real.exists(path or "/")

    def _more(self) -> bool:
        """Whether a real component (not just a final slash) is still to go."""
        return any(self.todo)

    def _inside(self, child: str, found: tuple[Any, str]) -> Location | None:
        point, rest = found
        node = point.lookup(rest)
        if type(node) is DirectoryNode or child in self.table.ancestors:
            self.here = child
            return None
        if not self._more():
            return Location(point, rest, node, self.slash, self.last, self.spelled, child)
        if node is not None:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.spelled)
        name = rest.rpartition("/")[2]
        code = errno.ENAMETOOLONG if len(os.fsencode(name)) > NAME_MAX else errno.ENOENT
        raise OSError(code, os.strerror(code), self.spelled)

    def _ancestor(self, child: str) -> Foreign | None:
        if not _real.exists(child):
            self.here = child
            return None
        return self._outside(child)

    def _outside(self, child: str) -> Foreign | None:
        try:
            mode = _real.lstat(child).st_mode
        except (OSError, ValueError):
            if (
                self.here in self.table.ancestors
                and len(os.fsencode(child)) - len(os.fsencode(self.here)) > NAME_MAX + 1
                and not _real.exists(self.here)
            ):
                # Only we know the directory, and the kernel would say ENOENT.
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), self.spelled) from None
            # The kernel gives the same answer with the right error; nothing of ours lies below.
            return self._foreign(child)
        if stat.S_ISLNK(mode) and (self.follow or self._more() or self.slash):
            self._link(child)
            return None
        if stat.S_ISDIR(mode):
            self.here = child
            return None
        return self._foreign(child)

    def _link(self, child: str) -> None:
        self.links += 1
        if self.links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.spelled)
        target = _real.readlink(child)
        self.todo.extend(target.split("/")[::-1])
        if target.startswith("/"):
            self.here = ""

    def _foreign(self, child: str) -> Foreign:
        if not self.crossed:
            return Foreign(None)
        rest = "/".join(self.todo[::-1])
        return Foreign(f"{child}/{rest}" if self.todo else child)

    def _arrive(self) -> Location | Foreign:
        """The walk ended in a directory."""
        self.arrived = True
        here = self.here or "/"
        found = self.table.find(here)
        if found is not None:
            point, rest = found
            node = point.lookup(rest)
            if node is None:
                node = DirectoryNode(self.last, point.mounted_ns)
            here = f"{point.roots[-1]}/{rest}" if rest else point.roots[-1]
            return Location(point, rest, node, self.slash, self.last, self.spelled, here)
        if here in self.table.ancestors:
            if _real.exists(here):
                return Foreign(here if self.crossed else None)
            newest = max(point.mounted_ns for point in self.table.points)
            node = DirectoryNode(here.rpartition("/")[2], newest)
            return Location(None, here, node, self.slash, self.last, self.spelled, here)
        return Foreign(here if self.crossed else None)
