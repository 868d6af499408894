"""A leaf: some files of one directory, in byte order of their names, packed column by column into one value."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final, TypeAlias
from zlib import crc32

from vfsoverlay._compiled import compiled
from vfsoverlay._namespace.nodes import FileNode

SIZE: Final = 128
"""Files in a leaf, at most: who looks for one name reads one leaf."""

COLUMNS: Final = ("parent", "first", "last", "files", "size", "largest", "mtime_ns", "checksum", "data")
"""The columns of the table ``leaf`` that ``row`` gives."""

#: Number of files, and bytes of the columns of text: names, ETags, storage classes, version ids.
_HEADER: Final = struct.Struct("<5I")
_NUMBER: Final = struct.Struct("<q")
#: Ends each name, and begins the first: no name has one.
_BORDER: Final = b"/"
_SEPARATOR: Final = "\0"
_END: Final = b"\0"

#: What ``FileNode._make`` does, at a third of its time.
_new: Final = tuple.__new__

_Columns: TypeAlias = "tuple[Sequence[str] | Sequence[int], ...]"


def make_rows_in_python(type_: type[FileNode], columns: _Columns) -> Iterable[FileNode]:
    """The files that have their names, sizes and so on in *columns*, which are of one length."""
    return map(_new, repeat(type_), zip(*columns, strict=True))


_COMPILED: Final = compiled("vfsoverlay._untracked")

#: As ``make_rows_in_python``.
_make_rows: Final[Callable[[type[FileNode], _Columns], Iterable[FileNode]]] = (
    make_rows_in_python if _COMPILED is None else _COMPILED.make_rows
)


def pack(names: Sequence[str], sizes: Sequence[int], mtimes_ns: Sequence[int], *texts: Sequence[str]) -> bytes:
    """The leaf of these files, whose names ascend; *texts* are ETags, storage classes and version ids.

    Raises ``ValueError`` for a text with a NUL character, which no header of HTTP could have carried.
    """
    columns = [f"/{'/'.join(names)}/".encode(), *map(_pack_texts, texts)]
    numbers = struct.pack(f"<{2 * len(names)}q", *sizes, *mtimes_ns)
    return b"".join((_HEADER.pack(len(names), *map(len, columns)), numbers, *columns))


def row(
    parent: int, names: Sequence[str], sizes: Sequence[int], mtimes_ns: Sequence[int], *texts: Sequence[str]
) -> tuple[Any, ...]:
    """The row for a leaf of the directory *parent*; the other arguments and errors are those of ``pack``."""
    data = pack(names, sizes, mtimes_ns, *texts)
    return parent, names[0], names[-1], len(names), sum(sizes), max(sizes), max(mtimes_ns), crc32(data), data


def names_in(leaf: bytes) -> list[str]:
    """The names of all files."""
    start, stop = _names(leaf)
    return leaf[start + 1 : stop - 1].decode().split("/")


def name_bytes(leaf: bytes) -> bytes:
    """The names of all files, each followed by a slash: of two leaves one after the other, one after the other."""
    start, stop = _names(leaf)
    return leaf[start + 1 : stop]


def files_in(leaf: bytes) -> Iterable[FileNode]:
    """All files."""
    count, _, *lengths = _HEADER.unpack_from(leaf)
    numbers = struct.unpack_from(f"<{2 * count}q", leaf, _HEADER.size)
    position = _names(leaf)[1]
    columns: list[Sequence[str] | Sequence[int]] = [names_in(leaf), numbers[:count], numbers[count:]]
    for length in lengths:
        columns.append(leaf[position : position + length].decode().split(_SEPARATOR) if length else ("",) * count)
        position += length
    return _make_rows(FileNode, tuple(columns))


def file_in(leaf: bytes, name: str) -> FileNode | None:
    """The file *name*; None: the leaf has no such name."""
    count, length, *lengths = _HEADER.unpack_from(leaf)
    start = _HEADER.size + 16 * count
    stop = start + length
    place = leaf.find(f"/{name}/".encode(), start, stop)
    if place < 0:
        return None
    index = leaf.count(_BORDER, start, place)
    size = _NUMBER.unpack_from(leaf, _HEADER.size + 8 * index)
    mtime_ns = _NUMBER.unpack_from(leaf, _HEADER.size + 8 * (count + index))
    texts = []
    for length in lengths:
        texts.append((_text(leaf, stop, length, index, count) if length else "",))
        stop += length
    (file,) = _make_rows(FileNode, ((name,), size, mtime_ns, *texts))
    return file


def _text(leaf: bytes, start: int, length: int, index: int, count: int) -> str:
    """Text number *index* of the *count* in the column of *length* bytes from *start*."""
    stop = start + length
    # ETags are mostly of one length; to look where the text would be then takes less than to split all.
    here = start + index * ((length + 1) // count)
    if leaf.count(_END, start, here) == index and (not index or leaf[here - 1] == 0):
        end = leaf.find(_END, here, stop)
        return leaf[here : end if end >= 0 else stop].decode()
    return leaf[start:stop].split(_END)[index].decode()


def _names(leaf: bytes) -> tuple[int, int]:
    """Where the column of names begins and ends."""
    count, length, *_ = _HEADER.unpack_from(leaf)
    start = _HEADER.size + 16 * count
    return start, start + length


def _pack_texts(texts: Sequence[str]) -> bytes:
    if not any(texts):
        return b""
    together = _SEPARATOR.join(texts)
    if together.count(_SEPARATOR) != len(texts) - 1:
        msg = f"an ETag, storage class or version id has a NUL character: {next(t for t in texts if _SEPARATOR in t)!r}"
        raise ValueError(msg)
    return together.encode()
