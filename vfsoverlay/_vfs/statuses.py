"""Attributes of the files of one mount by their paths, as callers spell them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from vfsoverlay._compiled import compiled
from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._vfs import attributes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from vfsoverlay._namespace.nodes import Node

    Lookup = Callable[[str], Node | None]
    Make = Callable[[str, Node], os.stat_result]

#: Attributes of so many paths are kept; beyond it the table starts anew (about 70 MB).
MOST: Final = 120_000


class Statuses(Protocol):
    """Attributes while the names of a mount are as they are; a change of the names makes others."""

    def find(self, path: str, start: int, /) -> os.stat_result | None:
        """The attributes of the absolute *path*, whose part from *start* on is below the mount.

        None: nothing is there. Raises what the look-up raises.
        """


class KeptStatuses:
    """Makes attributes once: nothing but its end can change what a path is.

    Args:
        lookup: What is at a path below the mount.
        make: The attributes of a node at such a path.
    """

    __slots__ = ("_kept", "_lookup", "_make")

    def __init__(self, lookup: Lookup, make: Make) -> None:
        self._kept: dict[str, os.stat_result] = {}
        self._lookup = lookup
        self._make = make

    def find(self, path: str, start: int, /) -> os.stat_result | None:
        """As ``Statuses`` says."""
        status = self._kept.get(path)
        if status is not None:
            return status
        rest = path[start:]
        node = self._lookup(rest)
        if node is None:
            return None
        status = self._make(rest, node)
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[path] = status
        return status


class PresentStatuses:
    """Looks each time: names may change by themselves.

    Args:
        lookup: What is at a path below the mount, now.
        status: The attributes of a node at such a path.
    """

    __slots__ = ("_lookup", "_status")

    def __init__(self, lookup: Lookup, status: Make) -> None:
        self._lookup = lookup
        self._status = status

    def find(self, path: str, start: int, /) -> os.stat_result | None:
        """As ``Statuses`` says."""
        rest = path[start:]
        node = self._lookup(rest)
        return None if node is None else self._status(rest, node)


_COMPILED: Final = compiled("vfsoverlay._vfs._statuses")


def kept_statuses(lookup: Lookup, make: Make, looks: attributes.Looks) -> Statuses:
    """``KeptStatuses``, in C where that was compiled: *looks* is what *make* makes attributes by."""
    if _COMPILED is None:
        return KeptStatuses(lookup, make)
    made: Statuses = _COMPILED.Statuses(
        lookup, make, attributes.make_stat, looks.begin, FileNode, looks.file_mode, looks.device, looks.owner, MOST
    )
    return made
