"""A leaf: some files of one directory, in byte order of their names, packed column by column into one value."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Final, TypeAlias

from vfsoverlay._compiled import compiled
from vfsoverlay._namespace.nodes import FileNode

SIZE: Final = 128
"""Files in a leaf, at most: who looks for one name reads one leaf."""

#: Number of files, bytes of the column of names, and for ETags, storage classes and version ids: the bytes of the
#: column, and of each text in it where all have as many (mostly: one text is found then without a look at others).
_HEADER: Final = struct.Struct("<8I")
_NUMBER: Final = struct.Struct("<q").unpack_from
#: Ends each name, and begins the first: no name has one.
_BORDER: Final = b"/"
_SEPARATOR: Final = "\0"
_END: Final = b"\0"

#: What ``FileNode._make`` does, at a third of its time.
_new: Final = tuple.__new__

#: The first and the last name, the number of files, their bytes, those of the largest, and the newest time.
Measures: TypeAlias = tuple[str, str, int, int, int, int]
#: A leaf, and what is told about it.
PackedLeaf: TypeAlias = tuple[Measures, bytes]

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
    column = f"/{'/'.join(names)}/".encode()
    columns = list(map(_pack_texts, texts))
    header = _HEADER.pack(len(names), len(column), *(n for data, width in columns for n in (len(data), width)))
    numbers = struct.pack(f"<{2 * len(names)}q", *sizes, *mtimes_ns)
    return b"".join((header, numbers, column, *(data for data, _ in columns)))


def measures(names: Sequence[str], sizes: Sequence[int], mtimes_ns: Sequence[int]) -> Measures:
    """What is told about the leaf of these files."""
    return names[0], names[-1], len(names), sum(sizes), max(sizes), max(mtimes_ns)


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
    count, _, *columns = _HEADER.unpack_from(leaf)
    numbers = struct.unpack_from(f"<{2 * count}q", leaf, _HEADER.size)
    position = _names(leaf)[1]
    values: list[Sequence[str] | Sequence[int]] = [names_in(leaf), numbers[:count], numbers[count:]]
    for length in columns[::2]:
        values.append(leaf[position : position + length].decode().split(_SEPARATOR) if length else ("",) * count)
        position += length
    return _make_rows(FileNode, tuple(values))


def file_in(leaf: bytes, name: str) -> FileNode | None:
    """The file *name*; None: the leaf has no such name."""
    count, length, etags, etag, classes, class_, versions, version = _HEADER.unpack_from(leaf)
    start = _HEADER.size + 16 * count
    stop = start + length
    place = leaf.find(f"/{name}/".encode(), start, stop)
    if place < 0:
        return None
    index = leaf.count(_BORDER, start, place)
    (size,) = _NUMBER(leaf, _HEADER.size + 8 * index)
    (mtime_ns,) = _NUMBER(leaf, _HEADER.size + 8 * (count + index))
    texts = [_text(leaf, stop, etags, etag, index) if etags else ""]
    stop += etags
    texts.append(_text(leaf, stop, classes, class_, index) if classes else "")
    stop += classes
    texts.append(_text(leaf, stop, versions, version, index) if versions else "")
    return FileNode(name, size, mtime_ns, *texts)


def _text(leaf: bytes, start: int, length: int, width: int, index: int) -> str:
    """Text number *index* in the column of *length* bytes from *start*, each text of *width* bytes if that is not 0."""
    if width:
        start += index * (width + 1)
        return leaf[start : start + width].decode()
    return leaf[start : start + length].split(_END)[index].decode()


def _names(leaf: bytes) -> tuple[int, int]:
    """Where the column of names begins and ends."""
    count, length, *_ = _HEADER.unpack_from(leaf)
    start = _HEADER.size + 16 * count
    return start, start + length


def _pack_texts(texts: Sequence[str]) -> tuple[bytes, int]:
    """The column of these texts, and the bytes of each where all have as many."""
    if not any(texts):
        return b"", 0
    together = _SEPARATOR.join(texts)
    if together.count(_SEPARATOR) != len(texts) - 1:
        msg = f"an ETag, storage class or version id has a NUL character: {next(t for t in texts if _SEPARATOR in t)!r}"
        raise ValueError(msg)
    widths = set(map(len, texts)) if together.isascii() else ()
    return together.encode(), widths.pop() if len(widths) == 1 else 0
