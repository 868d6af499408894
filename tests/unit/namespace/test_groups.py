"""Rows by directory: packed by C into the very bytes that Python would pack them into, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vfsoverlay._namespace import groups, leaf
from vfsoverlay._namespace.groups import group_rows, group_rows_in_python
from vfsoverlay._namespace.names import all_valid
from vfsoverlay._namespace.nodes import ObjectRow

compiled = pytest.mark.skipif(groups._COMPILED is None, reason="nothing is compiled, or it is not wanted")

KEYS = st.text("ab./é\0\U0001f600\uffff", max_size=6)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1024, 2**63, -(2**63) - 1, 10**30])
TEXTS = st.sampled_from(["", "", "e1", "e2", "longer", "é", "\0"])
ROWS = st.lists(st.tuples(KEYS, NUMBERS, NUMBERS, TEXTS, TEXTS, TEXTS), max_size=12)


def row(key: str, etag: str = "e") -> ObjectRow:
    return key, 1, 2, etag, "", ""


def split(rows: list[ObjectRow]) -> list[tuple[str, list[ObjectRow]]]:
    """Rows one after the other that are in one directory, by the definition."""
    found: list[tuple[str, list[ObjectRow]]] = []
    for one in rows:
        above, slash, _ = one[0].rpartition("/")
        if not found or found[-1][0] != above + slash:
            found.append((above + slash, []))
        found[-1][1].append(one)
    return found


def packed(directory: str, rows: list[ObjectRow]) -> list[leaf.PackedLeaf] | None:
    """The leaves of one directory as Python packs them; None where it would not, or not as they are."""
    names = [one[0].removeprefix(directory) for one in rows]
    if not all_valid(names) or names != sorted(set(names)):
        return None
    leaves = []
    for start in range(0, len(rows), leaf.SIZE):
        part = names[start : start + leaf.SIZE]
        _, *columns = zip(*rows[start : start + leaf.SIZE], strict=True)
        try:
            data = leaf.pack(part, *columns)
        except Exception:
            return None
        measures = leaf.measures(part, *columns[:2])
        if not -(2**63) <= measures[3] < 2**63:
            return None
        leaves.append((measures, data))
    return leaves


@compiled
@settings(deadline=None, max_examples=300)
@given(ROWS)
@example([row("a/x"), row("a/y"), row("a/b/x"), row("x"), row("/x"), row("//x")])
@example([(f"d/{i:04}", i, -i, f"{i:08}", "GLACIER", "") for i in range(leaf.SIZE * 2 + 1)])
@example([(f"d/{i:04}", i, -i, "", "é" * (i % 2 + 1), "v" * i) for i in range(leaf.SIZE)])
@example([(f"d/{i}", 2**62, 0, "", "", "") for i in range(2)])
def test_c_packs_as_python_does(rows: list[ObjectRow]) -> None:
    """C gives the same groups as Python, with the very bytes that Python packs, and leaves the rest to Python."""
    stop = 0
    expected: list[groups.Group] = []
    for directory, same in split(rows):
        stop += len(same)
        expected.append((stop, directory, packed(directory, same)))
    assert list(group_rows(rows)) == expected
    assert list(group_rows_in_python(rows)) == [(stop, directory, None) for stop, directory, _ in expected]


def test_key_that_is_no_utf_8() -> None:
    """A page with a key that is not UTF-8 is grouped all the same."""
    rows = [row("a/x"), row("a/\udcff"), row("b/\udcff/x")]
    assert list(group_rows(rows)) == [(2, "a/", None), (3, "b/\udcff/", None)]


@compiled
@pytest.mark.parametrize(
    "wrong", [("k",), ("k", 1, 2, "", "", "", ""), ("k", 1.0, 2, "", "", ""), ("k", 1, 2, b"", "", "")]
)
def test_row_of_another_kind(wrong: tuple[object, ...]) -> None:
    """What is no row of a listing is not packed, so that Python says what is wrong with it."""
    assert groups._COMPILED.group_rows([row("j"), wrong, row("m/l")])[0] == (2, "", None)


@compiled
@pytest.mark.parametrize("wrong", [[()], ["x"], [None], [(1, 2)], [row("a"), (b"k", 1, 2, "", "", "")]])
def test_rows_without_keys(wrong: list[object]) -> None:
    """What has no key is left to Python, and no row is an empty page."""
    assert groups._COMPILED.group_rows(wrong) is None
    assert groups._COMPILED.group_rows([]) == []
    with pytest.raises(TypeError):
        groups._COMPILED.group_rows(7)
