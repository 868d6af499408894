"""The attributes kept by path: the same from C and from Python, looked up once, and never those of other names."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Node
from vfsoverlay._vfs import attributes, statuses

compiled = pytest.mark.skipif(statuses._COMPILED is None, reason="nothing is compiled, or it is not wanted")

LOOKS = attributes.looks_of("https://s3.example/bucket", "p/", 5, (1000, 1001), (0o440, 0o550))
MAKE = attributes.status_maker(LOOKS)

NODES: dict[str, Node] = {
    "": DirectoryNode("", 1),
    "a": FileNode("a", 0, 0, "e", "", ""),
    "d": DirectoryNode("d", 5 * 10**9),
    "d/big": FileNode("big", 5 * 1024**4, 1_761_234_567_123_456_789, "", "", "v"),
    "d/cold": FileNode("cold", 7, 8, "e", "GLACIER", ""),
    "d/infrequent": FileNode("infrequent", 7, -8, "e", "STANDARD_IA", ""),
    "d/ä\udcff\U0001f600": FileNode("ä\udcff\U0001f600", 7, 8, "e", "", ""),
}


class Counting:
    """A look-up that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: str) -> Node | None:
        self.asked.append(path)
        return NODES.get(path)


def in_python(lookup: Callable[[str], Node | None]) -> statuses.Statuses:
    return statuses.KeptStatuses(lookup, MAKE)


def as_chosen(lookup: Callable[[str], Node | None]) -> statuses.Statuses:
    return statuses.kept_statuses(lookup, MAKE, LOOKS)


both = pytest.mark.parametrize("kept", [in_python, pytest.param(as_chosen, marks=compiled)])


@compiled
@pytest.mark.parametrize("path", NODES)
@pytest.mark.parametrize("root", ["/r/", "/ö/mount point/"])
def test_c_and_python_agree(path: str, root: str) -> None:
    """Whichever of the two makes them, the attributes of a path are the same, and so is the inode number of its key."""
    found, expected = (kept(Counting()).find(root + path, len(root)) for kept in (as_chosen, in_python))
    assert found is not None
    assert expected is not None
    assert found.__reduce__() == expected.__reduce__()
    key = f"p/{path}/" if type(NODES[path]) is DirectoryNode else f"p/{path}"
    assert found.st_ino == attributes.inode_number("https://s3.example/bucket", key)


@both
def test_what_is_there_is_looked_up_once_by_each_spelling(kept: Callable[..., statuses.Statuses]) -> None:
    """A second call gives the very same object without a look-up; another spelling is looked up for itself."""
    lookup = Counting()
    table = kept(lookup)
    first = table.find("/r/a", 3)
    assert table.find("/r/a", 3) is first
    assert lookup.asked == ["a"]
    assert table.find("/link/a", 6) == first
    assert lookup.asked == ["a", "a"]


@both
def test_absence_is_not_kept(kept: Callable[..., statuses.Statuses]) -> None:
    """What is not there is None, and asked for again."""
    lookup = Counting()
    table = kept(lookup)
    assert [table.find("/r/nothing", 3) for _ in range(2)] == [None, None]
    assert lookup.asked == ["nothing", "nothing"]


@both
def test_what_the_look_up_raises_is_raised(kept: Callable[..., statuses.Statuses]) -> None:
    """An error of the listing reaches the caller, and nothing is kept."""

    def lookup(path: str) -> Node | None:
        raise OSError(5, path)

    with pytest.raises(OSError, match="a"):
        kept(lookup).find("/r/a", 3)


@both
def test_no_more_than_so_many_are_kept(kept: Callable[..., statuses.Statuses], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound all are forgotten, and made anew when they are asked for."""
    monkeypatch.setattr(statuses, "MOST", 2)
    lookup = Counting()
    table = kept(lookup)
    for path in ("/r/a", "/r/d", "/r/d/big", "/r/d/big", "/r/a"):
        table.find(path, 3)
    assert lookup.asked == ["a", "d", "d/big", "a"]


def test_names_that_change_by_themselves_are_looked_up_each_time() -> None:
    """Where a listing may change at any time, nothing is believed longer than a look-up does."""
    lookup = Counting()
    table = statuses.PresentStatuses(lookup, MAKE)
    assert table.find("/r/a", 3) == table.find("/r/a", 3) == MAKE("a", NODES["a"])
    assert table.find("/r/nothing", 3) is None
    assert lookup.asked == ["a", "a", "nothing"]


@compiled
@pytest.mark.parametrize(
    "wrong", [(), ("/r/a",), ("/r/a", 3, 3), (b"/r/a", 3), ("/r/a", "3"), ("/r/a", -1), ("/r/a", None)]
)
def test_nonsense_is_refused(wrong: tuple[Any, ...]) -> None:
    """Arguments of other numbers and types are refused as Python refuses them."""
    with pytest.raises((TypeError, ValueError)):
        as_chosen(Counting()).find(*wrong)


@compiled
@pytest.mark.parametrize("node", [FileNode("a", "7", 8, "e", "", ""), (1, 2, 3, 4, 5, 6), ("a", 7, 8, "e", "")])  # type: ignore[arg-type]
def test_a_node_that_is_none_is_refused(node: Any) -> None:
    """What is no node ends in an error, not in a crash, and leaves nothing behind."""
    table = as_chosen(lambda _: node)
    for _ in range(2):
        with pytest.raises((TypeError, AttributeError, ValueError)):
            table.find("/r/a", 3)


@compiled
def test_nothing_leaks() -> None:
    """Each call gives back what it took, whether it finds, misses or fails."""

    def lookup(path: str) -> Node | None:
        if path == "error":
            raise OSError(5, path)
        return NODES.get(path)

    table = as_chosen(lookup)
    node = NODES["a"]
    for _ in range(100):
        table.find("/r/a", 3)
    before = sys.getrefcount(node), sys.getrefcount(LOOKS.owner)
    for turn in range(1000):
        table.find(f"/{turn}/a", len(f"/{turn}/"))
        table.find("/r/nothing", 3)
        with pytest.raises(OSError, match="error"):
            table.find("/r/error", 3)
    table.find("/r/d", 3)
    del table
    gc.collect()
    # The attributes that were kept held the owner's numbers, and the table itself the owner.
    assert (sys.getrefcount(node), sys.getrefcount(LOOKS.owner)) == (before[0], before[1] - 1)


@compiled
def test_a_circle_is_collected() -> None:
    """A table whose look-up holds the table is no leak."""

    class Holder:
        def lookup(self, path: str) -> Node | None:
            return NODES.get(path)

    holder = Holder()
    holder.table = as_chosen(holder.lookup)  # type: ignore[attr-defined]
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None
