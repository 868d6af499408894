"""The rows of a page by directory, and where C is compiled, packed already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from vfsoverlay._compiled import compiled
from vfsoverlay._namespace.leaf import PackedLeaf
from vfsoverlay._namespace.nodes import ObjectRow

#: Where a group ends among the rows, what its keys have up to their last slash, and its leaves. None for these: they
#: are not packed, since something about the rows is not plain, or since nothing is compiled.
Group: TypeAlias = "tuple[int, str, list[PackedLeaf] | None]"


def group_rows_in_python(rows: Sequence[ObjectRow]) -> Iterator[Group]:
    """The groups of *rows*, of which none is packed."""
    stop = 0
    for directory, same in groupby(rows, _directory):
        stop += sum(1 for _ in same)
        yield stop, directory, None


def _directory(row: ObjectRow) -> str:
    # With the slash: "/x" is in another directory than "x".
    key = row[0]
    return key[: key.rfind("/") + 1]


_COMPILED: Final = compiled("vfsoverlay._namespace._groups")


def _group_rows_in_c(rows: Sequence[ObjectRow]) -> Iterable[Group]:
    groups: list[Group] | None = _COMPILED.group_rows(rows)
    return group_rows_in_python(rows) if groups is None else groups


#: As ``group_rows_in_python``, packed where that can be.
group_rows: Final[Callable[[Sequence[ObjectRow]], Iterable[Group]]] = (
    group_rows_in_python if _COMPILED is None else _group_rows_in_c
)
