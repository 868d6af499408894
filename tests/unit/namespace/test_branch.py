"""Directories packed into branches, and found in them."""

from __future__ import annotations

import pytest

from vfsoverlay._namespace.branch import DirectoryRow, directory_in, pack

ROWS = {
    "": DirectoryRow(1, -(10**18), 5, 0, None),
    "a": DirectoryRow(2, 0, 2**40, 2**40 - 1, (0, 1, 2**32 - 1)),
    "a/b c": DirectoryRow(2**40, 10**18, 3, 3, None),
    "é" * 300: DirectoryRow(4, 1, 1, 1, (2**50, 70_000, 0)),
}


@pytest.mark.parametrize("start", range(len(ROWS)))
def test_directories_come_out_as_they_went_in(start: int) -> None:
    """Every number of every directory is what it was, in whichever branch it is; other paths are not there."""
    there = dict(list(ROWS.items())[start:])
    packed = pack(list(there), list(there.values()))
    assert {path: directory_in(packed, path) for path in ROWS} == {path: there.get(path) for path in ROWS}


@pytest.mark.parametrize("path", ["b", "b c", "a/", "/a", "a/b", "é", "\0", "a\0", "\0a", "a\0a/b c"])
def test_a_part_of_a_path_is_no_path(path: str) -> None:
    """Only whole paths are found, and two that are neighbours are not one."""
    assert directory_in(pack(list(ROWS), list(ROWS.values())), path) is None
