"""A store that another process has made before is made when it is first asked, and is the same here."""

from __future__ import annotations

import threading

import pytest

from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.deferred_store import DeferredStore
from vfsoverlay.errors import StoreUnavailable
from vfsoverlay.testing.stores import MemoryStore


class Making:
    """Makes a store in memory, and counts."""

    def __init__(self, store: MemoryStore, failures: int = 0) -> None:
        self.store = store
        self.failures = failures
        self.calls = 0

    def __call__(self) -> MemoryStore:
        self.calls += 1
        if self.calls <= self.failures:
            msg = "not yet"
            raise PermissionError(msg)
        return self.store


def read(store: DeferredStore, memory: MemoryStore, key: str) -> bytes:
    found = bytearray()
    row = memory.head(key)
    store.read_range(ObjectInfo(*row), 0, row[1], found.extend)
    return bytes(found)


def test_nothing_is_made_before_it_is_asked() -> None:
    """The origin is known, and fork and close go by, without a store; the first question makes it, once."""
    memory = MemoryStore({"a": b"content"})
    making = Making(memory)
    store = DeferredStore(memory.origin, making)
    assert store.origin == memory.origin
    store.after_fork()
    store.close()
    assert (making.calls, memory.forks, memory.closed) == (0, 0, False)
    threads = [threading.Thread(target=read, args=(store, memory, "a")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(store, memory, "a") == b"content"
    assert [row[0] for page in store.list_pages("") for row in page.rows] == ["a"]
    assert store.head("a") == memory.head("a")
    assert store.is_ordered
    store.check_access("")
    store.after_fork()
    store.close()
    assert (making.calls, memory.forks, memory.closed) == (1, 1, True)


def test_a_store_that_could_not_be_made_is_tried_again() -> None:
    """What making the store raises is raised to who asked, and the next question tries again."""
    memory = MemoryStore({"a": b"content"})
    store = DeferredStore(memory.origin, Making(memory, failures=1))
    with pytest.raises(PermissionError, match="not yet"):
        read(store, memory, "a")
    assert read(store, memory, "a") == b"content"


def test_another_store_is_refused() -> None:
    """Where the settings of this process lead to another store, its bytes never come in the name of the first."""
    memory = MemoryStore({"a": b"other content"}, origin="http://there/bucket")
    store = DeferredStore("http://here/bucket", Making(memory))
    with pytest.raises(StoreUnavailable, match=r"http://here/bucket.*http://there/bucket"):
        read(store, memory, "a")
    assert memory.closed
