"""Files are numbered in the order in which a walk meets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Node
from vfsoverlay._vfs.read_order import ReadOrder

TREE = {
    "": ["a/", "b/", "top"],
    "a": ["1", "2", "3"],
    "b": ["c/", "e/"],
    "b/c": [],
    "b/e": ["4", "5"],
}


def lookup(path: str) -> Node | None:
    """The directories of the tree, and nothing else."""
    return DirectoryNode(path.rpartition("/")[2], 0) if path in TREE else None


def scan(path: str) -> Iterator[Node]:
    """The nodes in a directory of the tree."""
    for name in TREE[path]:
        yield DirectoryNode(name[:-1], 0) if name.endswith("/") else FileNode(name, 1, 0, "etag", "", "")


@pytest.fixture
def order() -> ReadOrder:
    """The order of the tree."""
    return ReadOrder(lookup, scan, lambda _: True)


def paths(order: ReadOrder, near: str, numbers: range) -> list[str | None]:
    """What comes at *numbers* of the run that *near* is in now."""
    place = order.number(near)
    assert place is not None
    found = [order.file_at(near, place[0], number) for number in numbers]
    return [None if file is None else file.path for file in found]


def test_a_run_goes_on_into_the_next_directory_with_files(order: ReadOrder) -> None:
    """Behind the last file of a directory comes the first file of the next one that has any, and None in the end."""
    assert paths(order, "a/2", range(6)) == ["a/1", "a/2", "a/3", "b/e/4", "b/e/5", None]


def test_joined_directories_count_on(order: ReadOrder) -> None:
    """A directory that a run went on into has the numbers behind it, so that opening its files continues the run."""
    assert order.number("b/e/5") == ("b/e", 1)
    order.file_at("a/1", "a", 3)
    assert order.number("b/e/5") == ("a", 4)


def test_a_number_of_a_run_that_was_joined_meanwhile_means_nothing(order: ReadOrder) -> None:
    """A thread that was told a place just before another joined the directory to a run gets no file for it."""
    place = order.number("b/e/4")
    assert place == ("b/e", 0)
    order.file_at("a/1", "a", 3)
    assert order.file_at("b/e/4", "b/e", 1) is None
    assert order.file_at("b/e/4", "a", 4) is not None


def test_what_is_not_listed_has_no_number(order: ReadOrder) -> None:
    """A file that the listing does not name, or whose directory it does not name, is in no run."""
    assert order.number("a/9") is None
    assert order.number("z/1") is None
