"""A branch: some directories, in byte order of their paths, packed into one value with what leads to their files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from vfsoverlay._namespace.place import Place

SIZE: Final = 32
"""Directories in a branch, at most: who looks for one path reads one branch."""

#: Number of directories, and bytes of the column of paths.
_HEADER: Final = struct.Struct("<2I")
_NUMBERS: Final = struct.Struct("<7q")
#: Ends each path, and begins the first: no path has one.
_BORDER: Final = b"\0"


class DirectoryRow(NamedTuple):
    """A directory: its number in the tables, what stat tells, how many children it has, and how many are files."""

    id: int
    mtime_ns: int
    entries: int
    files: int
    place: Place | None
    """Where its only leaf is; None: it has none, or several."""


def pack(paths: Sequence[str], rows: Sequence[DirectoryRow]) -> bytes:
    """The branch of these directories, whose *paths* ascend."""
    column = "\0".join(("", *paths, "")).encode()
    numbers = (_NUMBERS.pack(*row[:4], *(row.place or (0, 0, 0))) for row in rows)
    return b"".join((_HEADER.pack(len(paths), len(column)), *numbers, column))


def directory_in(branch: bytes, path: str) -> DirectoryRow | None:
    """The directory *path*; None: the branch has no such path."""
    count, length = _HEADER.unpack_from(branch)
    start = _HEADER.size + _NUMBERS.size * count
    place = branch.find(f"\0{path}\0".encode(), start, start + length)
    if place < 0 or "\0" in path:
        return None
    index = branch.count(_BORDER, start, place)
    id_, mtime_ns, entries, files, *leaf = _NUMBERS.unpack_from(branch, _HEADER.size + _NUMBERS.size * index)
    return DirectoryRow(id_, mtime_ns, entries, files, (leaf[0], leaf[1], leaf[2]) if leaf[1] else None)
