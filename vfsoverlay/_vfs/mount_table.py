"""All mounts of the process: which of them a path belongs to, and which directories lead to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfsoverlay._vfs.mount_point import MountPoint


class MountTable:
    """An immutable set of mounts; a change makes a new table, so readers need no lock."""

    __slots__ = ("ancestors", "names", "points", "prefixes")

    def __init__(self, points: Iterable[MountPoint] = ()) -> None:
        self.points: tuple[MountPoint, ...] = tuple(points)
        roots = {root: point for point in self.points for root in point.roots}
        #: Mount points with a slash. Longest first, so that a mount below another one wins.
        self.prefixes = sorted(((root + "/", point) for root, point in roots.items()), key=lambda p: -len(p[0]))
        #: Directory -> names in it that lead to a mount point.
        self.ancestors: dict[str, frozenset[str]] = _ancestors(roots)
        #: All these names.
        self.names: frozenset[str] = frozenset().union(*self.ancestors.values())

    def find(self, path: str) -> tuple[MountPoint, str] | None:
        """The mount that an absolute, normal *path* lies in, and the rest of the path; None if in none."""
        for prefix, point in self.prefixes:
            if path.startswith(prefix):
                return point, path[len(prefix) :]
            if len(path) == len(prefix) - 1 and prefix.startswith(path):
                return point, ""
        return None

    def at(self, root_dir: str) -> MountPoint | None:
        """The mount whose mount point is *root_dir*."""
        return next((point for point in self.points if root_dir in point.roots), None)

    def with_points(self, added: Iterable[MountPoint]) -> MountTable:
        """A table that has these as well."""
        return MountTable((*self.points, *added))

    def without(self, removed: Iterable[MountPoint]) -> MountTable:
        """A table that no longer has these."""
        gone = {id(point) for point in removed}
        return MountTable(point for point in self.points if id(point) not in gone)


def _ancestors(roots: Iterable[str]) -> dict[str, frozenset[str]]:
    leads: dict[str, set[str]] = {}
    for root in roots:
        path = root
        while path:
            path, _, name = path.rpartition("/")
            leads.setdefault(path or "/", set()).add(name)
    return {path: frozenset(names) for path, names in leads.items()}
