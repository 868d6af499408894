"""Files packed into leaves, and found in them."""

from __future__ import annotations

import gc
import weakref
from typing import NamedTuple

import pytest

from vfsoverlay._namespace import leaf
from vfsoverlay._namespace.nodes import FileNode

compiled = pytest.mark.skipif(leaf._COMPILED is None, reason="nothing is compiled, or it is not wanted")

FILES = [
    FileNode("a", 0, 0, "", "", ""),
    FileNode("a.jpg", 5 * 1024**4, -(10**18), "abc-2", "GLACIER", ""),
    FileNode("b c", 1, 10**18, 'quote"d', "", "v1"),
    FileNode("é" * 500, 2, 7, "é", "", ""),
    FileNode("\U0001f600", 2**63 - 1, 1, "x" * 5000, "", ""),
]
#: Texts of one length each: ASCII, of one character, and with as many characters but not as many bytes.
ALIKE = [FileNode(f"{i}", i, -i, f"{i:032x}", "ab"[i % 2], "éaé"[i % 3] + "x") for i in range(9)]


def pack(files: list[FileNode]) -> bytes:
    return leaf.pack(*zip(*files, strict=True))


@pytest.mark.parametrize(
    "files", [FILES, FILES[:1], FILES[:2], FILES[2:], ALIKE], ids=["all", "one", "two", "others", "alike"]
)
def test_files_come_out_as_they_went_in(files: list[FileNode]) -> None:
    """Every field of every file is what it was, all at once or looked for by name."""
    packed = pack(files)
    assert list(leaf.files_in(packed)) == files
    assert all(type(file) is FileNode for file in leaf.files_in(packed))
    assert leaf.names_in(packed) == [file.name for file in files]
    assert [leaf.file_in(packed, file.name) for file in files] == files


@pytest.mark.parametrize("name", ["", "b", "jpg", ".jpg", "a.jp", "a.jpgx", "c", "é", "GLACIER", "x", "abc-2"])
def test_a_part_of_a_name_is_no_name(name: str) -> None:
    """Only whole names are found, and no other text of the leaf is taken for one."""
    assert leaf.file_in(pack(FILES), name) is None


def test_names_of_leaves_join_to_those_of_their_directory() -> None:
    """However files are cut into leaves, the bytes of their names are the same one after the other."""
    whole = leaf.name_bytes(pack(FILES))
    for cut in range(1, len(FILES)):
        assert leaf.name_bytes(pack(FILES[:cut])) + leaf.name_bytes(pack(FILES[cut:])) == whole


@pytest.mark.parametrize("file", [FILES[0]._replace(etag="a\0b"), FILES[0]._replace(version_id="a\0b")])
def test_a_text_that_would_be_two_is_refused(file: FileNode) -> None:
    """A NUL character ends a text in a leaf, so one within is an error that names the text."""
    with pytest.raises(ValueError, match=r"a.x00b"):
        pack([file, FILES[1]])


class Pair(NamedTuple):
    one: object
    other: object


class Wide(tuple[object, ...]):  # noqa: SLOT001 - that is the point
    """Has a dictionary."""


@compiled
def test_rows_from_c_and_from_python_agree() -> None:
    """C and Python make the same rows of columns that are lists and tuples, of any length."""
    cases: list[tuple[list[str], tuple[int, ...]]] = [([], ()), (["a"], (1,)), (["a", "b", "c"], (1, 2**62, -1))]
    for columns in cases:
        rows = leaf._COMPILED.make_rows(Pair, columns)
        assert rows == [Pair(*row) for row in zip(*columns, strict=True)]
        assert all(type(row) is Pair for row in rows)
        assert not any(map(gc.is_tracked, rows))


@compiled
def test_rows_that_lead_somewhere_are_collected() -> None:
    """What may be part of a cycle stays known to the garbage collector, and is collected."""
    held: list[object] = []
    (row,) = leaf._COMPILED.make_rows(Pair, ([held], ["x"]))
    held.append(row)
    gone = weakref.ref(anchor := Anchor())
    held.append(anchor)
    assert gc.is_tracked(row)
    del row, held, anchor
    gc.collect()
    assert gone() is None


class Anchor:
    """Can be referred to weakly, as tuples cannot."""


@compiled
@pytest.mark.parametrize(
    ("kind", "columns", "error"),
    [
        (Pair, ([1], [1, 2]), ValueError),
        (Pair, ([1], "x"), TypeError),
        (Pair, [[1], [1]], TypeError),
        (Wide, ([1], [1]), TypeError),
        (str, ([1], [1]), TypeError),
    ],
)
def test_rows_of_other_things_are_refused(kind: type, columns: object, error: type[Exception]) -> None:
    """Columns of several lengths, what is no column, and classes that hold more than a tuple raise."""
    with pytest.raises(error):
        leaf._COMPILED.make_rows(kind, columns)
