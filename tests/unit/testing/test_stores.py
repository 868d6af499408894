from __future__ import annotations

import errno

import pytest

from vfsoverlay._store.protocol import ObjectStore, Page
from vfsoverlay.errors import CannotAccessSource, StaleObject
from vfsoverlay.testing import FlakyStore, MemoryStore, SlowStore

KEYS = ["a", "a-b", "a/b", "a/c/d", "b/", "c"]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore({key: key.encode() * 3 for key in KEYS}, piece=2)


def read(store: ObjectStore, memory: MemoryStore, key: str, start: int, stop: int) -> bytes:
    pieces: list[bytes] = []
    store.read_range(memory.info(key), start, stop, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_pages(store: MemoryStore, size: int, delimiter: str) -> None:
    """Pages hold each key and common prefix once, in order, and each page is a request."""
    pages: list[Page] = list(store.list_pages("", delimiter=delimiter, page_size=size))
    assert [row[0] for page in pages for row in page.rows] == (["a", "a-b", "c"] if delimiter else KEYS)
    assert [prefix for page in pages for prefix in page.prefixes] == (["a/", "b/"] if delimiter else [])
    assert all(0 < len(page.rows) + len(page.prefixes) <= size for page in pages)
    assert store.requests["list"] == len(pages)


def test_rows_are_plain_tuples(store: MemoryStore) -> None:
    """A row has the fields of ObjectInfo and is a plain tuple, as the real store's are."""
    (row,) = next(store.list_pages("a/b")).rows
    assert row == store.info("a/b")
    assert type(row) is tuple
    assert [page.rows for page in store.list_pages("nothing")] == [[]]
    assert next(store.list_pages("", start_after="b/")).rows[0][0] == "c"


def test_small_pages_whatever_is_asked_for() -> None:
    """``max_page`` bounds the pages of callers that ask for more."""
    assert len(list(MemoryStore({"a": b"", "b": b""}, max_page=1).list_pages(""))) == 2


def test_ranges(store: MemoryStore) -> None:
    """A range arrives in order and in pieces, and is counted by purpose."""
    assert read(store, store, "a-b", 1, 8) == b"-ba-ba-"
    assert store.requests == {"read": 1}
    with pytest.raises(ValueError, match="range"):
        read(store, store, "a", 2, 4)


def test_changed_and_deleted_objects(store: MemoryStore) -> None:
    """The old version of an overwritten object is stale even with equal bytes, a deleted one is missing."""
    old = store.info("a")
    assert store.put("a", b"aaa").etag != old.etag
    with pytest.raises(StaleObject) as stale:
        store.read_range(old, 0, 1, bytes)
    assert stale.value.errno == errno.ESTALE
    store.delete("a")
    with pytest.raises(FileNotFoundError):
        store.read_range(old, 0, 1, bytes)


def test_life(store: MemoryStore) -> None:
    """Access is denied after close, and forks are counted."""
    store.check_access("")
    store.after_fork()
    store.close()
    assert (store.forks, store.origin) == (1, "memory://bucket")
    with pytest.raises(CannotAccessSource):
        store.check_access("")


def test_flaky_store(store: MemoryStore) -> None:
    """Calls fail by script: at once, after some bytes or pages, or not; then everything works."""
    down, cut = OSError(errno.EIO, "down"), OSError(errno.EIO, "cut")
    flaky = FlakyStore(store, check=[down], list=[(1, cut)], read=[down, None, (2, cut)])
    assert flaky.steps_left == 5
    with pytest.raises(OSError, match="down"):
        flaky.check_access("")
    flaky.check_access("")
    seen: list[Page] = []
    with pytest.raises(OSError, match="cut"):
        seen.extend(flaky.list_pages("", page_size=2))
    with pytest.raises(OSError, match="down"):
        read(flaky, store, "a", 0, 3)
    assert read(flaky, store, "a", 0, 3) == b"aaa"
    pieces: list[bytes] = []
    with pytest.raises(OSError, match="cut"):
        flaky.read_range(store.info("a"), 0, 3, lambda piece: pieces.append(bytes(piece)))
    assert (pieces, flaky.steps_left) == ([b"aa"], 0)
    assert read(flaky, store, "a", 0, 3) == b"aaa"
    assert len(list(flaky.list_pages("", page_size=2))) == 3


def test_slow_store(store: MemoryStore) -> None:
    """Each page and range waits for the latency, and each piece for the bandwidth."""
    waits: list[float] = []
    slow = SlowStore(store, latency=1.0, bandwidth=4.0, sleep=waits.append)
    assert read(slow, store, "a", 0, 3) == b"aaa"
    assert waits == [1.0, 0.5, 0.25]
    assert len(list(slow.list_pages("", page_size=3))) == 2
    assert waits[3:] == [1.0, 1.0]
    slow.check_access("")
    slow.after_fork()
    slow.close()
    assert (slow.origin, store.forks, store.closed) == (store.origin, 1, True)
