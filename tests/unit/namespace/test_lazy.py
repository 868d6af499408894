from __future__ import annotations

import errno
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.model.listed_store import ListedPage, ListedStore, Row
from vfsoverlay._namespace.lazy import LazyNamespace
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode
from vfsoverlay.errors import ObjectTooLarge, StoreUnavailable, TooManyObjects

KEYS = ["a", "a-1", "d/1", "d/2", "d/e/3", "z//x"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lazy(clock: Clock) -> Callable[..., LazyNamespace]:
    def lazy(store: Any, prefix: str = "", **options: Any) -> LazyNamespace:
        given = {"max_objects": 1_000, "max_object_size": 100, "clock": clock, **options}
        return LazyNamespace(store.list_pages, prefix, **given)

    return lazy


Lazy = Callable[..., LazyNamespace]


@pytest.mark.parametrize(
    ("path", "kind"), [("a", FileNode), ("d", DirectoryNode), ("d/e/3", FileNode), ("z", DirectoryNode), ("q/r", None)]
)
def test_one_request_tells_what_a_path_is(lazy: Lazy, path: str, kind: type | None) -> None:
    """File, directory or nothing: one small listing, also of a path whose directory was never seen; then none."""
    store = ListedStore(KEYS)
    names = lazy(store)
    node = names.lookup(path)
    assert (type(node) if node else None) is kind
    assert store.requests == [(path, "/")]
    assert names.lookup(path) == node
    assert len(store.requests) == 1


@pytest.mark.parametrize(("ordered", "requests"), [(True, 1), (False, 2)])
def test_names_behind_the_directory_prove_that_it_is_not_there(lazy: Lazy, *, ordered: bool, requests: int) -> None:
    """img1 is asked for between img10, img11 and on: their place in the order shows that img1/ does not exist."""
    store = ListedStore([f"img{i}" for i in range(1, 100)])
    assert isinstance(lazy(store, ordered=ordered).lookup("img1"), FileNode)
    assert len(store.requests) == requests


def test_names_before_the_directory_cost_a_second_request(lazy: Lazy) -> None:
    """a-1 to a-9 fill the page before a/ could be seen: it is asked for by itself, and found or not."""
    store = ListedStore([f"a-{i}" for i in range(10)])
    names = lazy(store)
    assert names.lookup("a") is None
    assert store.requests == [("a", "/"), ("a/", "")]
    store.sizes["a/b"] = 1
    names.refresh()
    assert isinstance(names.lookup("a"), DirectoryNode)


def test_a_short_page_is_no_proof_of_absence(lazy: Lazy) -> None:
    """A store may give fewer keys than asked for although there are more: absence is what all pages say."""
    names = lazy(ListedStore(["a-1", "a/b"], page_size=1))
    assert isinstance(names.lookup("a"), DirectoryNode)


def test_a_listed_directory_answers_for_its_children(lazy: Lazy) -> None:
    """After one listing of a directory, what is in it, what is not, and what is below a file needs no request."""
    store = ListedStore(KEYS)
    names = lazy(store)
    assert names.names("d") == ["1", "2", "e"]
    store.requests.clear()
    assert names.lookup("d/1") == FileNode("1", 1, 10**18, "etag of d/1", "", "")
    assert isinstance(names.lookup("d/e"), DirectoryNode)
    assert [names.lookup(path) for path in ("d/3", "d/1/x", "d/3/x/y")] == [None] * 3
    assert store.requests == []


@pytest.mark.parametrize("path", ["/a", "a/", "d//1", ".", "d/..", "a\0", "\ud800", "x" * 2000, "é" * 600])
def test_paths_that_cannot_be_keys_need_no_request(lazy: Lazy, path: str) -> None:
    """Invalid components and keys above 1,024 bytes are absent by themselves."""
    store = ListedStore(KEYS)
    assert lazy(store).lookup(path) is None
    assert store.requests == []


def test_a_listing_is_used_for_its_ttl(lazy: Lazy, clock: Clock) -> None:
    """New objects appear when the listing is as old as ttl, not before; use does not prolong it."""
    store = ListedStore(["d/1"])
    names = lazy(store, ttl=10)
    assert names.names("d") == ["1"]
    store.sizes["d/2"] = 1
    for clock.now in (105.0, 109.9):
        assert names.names("d") == ["1"]
        assert names.lookup("d/2") is None
    clock.now = 110.0
    assert names.lookup("d/2") is not None
    assert names.names("d") == ["1", "2"]


def test_an_infinite_ttl_pins_what_was_seen(lazy: Lazy, clock: Clock) -> None:
    """With ttl=inf a listing stays until refresh(); absence is still forgotten after five seconds."""
    store = ListedStore(["d/1"])
    names = lazy(store, ttl=math.inf)
    assert names.names("d") == ["1"]
    assert names.lookup("e") is None
    store.sizes |= {"d/2": 1, "e": 1}
    clock.now = 1e9
    assert names.names("d") == ["1"]
    assert names.lookup("e") is not None
    names.refresh("d/1")
    assert names.names("d") == ["1", "2"]


def test_absence_is_remembered_for_five_seconds_and_never_prolonged(lazy: Lazy, clock: Clock) -> None:
    """Asking for an absent path again and again finds the object five seconds after the first question."""
    store = ListedStore(["a"])
    names = lazy(store)
    assert names.lookup("new") is None
    store.sizes["new"] = 1
    for clock.now in (102.0, 104.0, 104.9):
        assert names.lookup("new") is None
    assert len(store.requests) == 1
    clock.now = 105.0
    assert names.lookup("new") is not None


@pytest.mark.parametrize("error", [StoreUnavailable(errno.EIO, "503"), PermissionError(errno.EACCES, "403")])
def test_failures_are_raised_and_not_remembered(lazy: Lazy, error: OSError) -> None:
    """A failed request is never an absence: its error is raised as it is, and the next question is asked anew."""
    store = ListedStore(KEYS)
    names = lazy(store)
    for ask in (lambda: names.lookup("a"), lambda: names.names("d"), lambda: names.scan("d")):
        store.failures = [error]
        with pytest.raises(OSError) as caught:
            ask()
        assert caught.value is error
    assert names.lookup("a") is not None
    assert names.names("d") == ["1", "2", "e"]


def test_half_a_directory_is_never_shown(lazy: Lazy) -> None:
    """When a later page fails, scan raises before it gives a single name."""
    store = ListedStore([f"d/{i}" for i in range(10)], page_size=3)
    store.failures = [None, None, StoreUnavailable(errno.EIO, "503")]
    names = lazy(store)
    with pytest.raises(StoreUnavailable):
        names.scan("d")
    assert len(list(names.scan("d"))) == 10


def test_a_directory_that_vanished_is_absent(lazy: Lazy, clock: Clock) -> None:
    """Listing a directory that lost its objects raises FileNotFoundError; its objects no longer count."""
    store = ListedStore(["d/1", "e/1"])
    names = lazy(store)
    assert (names.names("d"), names.object_count) == (["1"], 1)
    del store.sizes["d/1"]
    clock.now += 61
    with pytest.raises(FileNotFoundError):
        names.scan("d")
    assert names.lookup("d") is None
    assert names.object_count == 0


def test_the_root_exists_without_objects(lazy: Lazy) -> None:
    """An empty prefix is an empty root directory."""
    names = lazy(ListedStore([]), "p/")
    assert isinstance(names.lookup(""), DirectoryNode)
    assert names.names("") == []


def test_limits_count_what_was_seen(lazy: Lazy) -> None:
    """Objects of all directories listed so far count, each once however often it is listed."""
    store = ListedStore([f"{d}/{f}" for d in "abc" for f in range(4)])
    names = lazy(store, max_objects=9)
    for _ in range(3):
        names.refresh()
        assert len(names.names("a")) + len(names.names("b")) == 8
    assert (names.object_count, names.total_size) == (8, 8)
    with pytest.raises(TooManyObjects, match="max_objects"):
        names.names("c")


def test_an_object_too_large_is_refused_when_it_is_seen(lazy: Lazy) -> None:
    """By itself or in its directory, an object above max_object_size raises ObjectTooLarge with its name."""
    names = lazy(ListedStore({"d/big": 101, "d/small": 1}))
    for ask in (lambda: names.lookup("d/big"), lambda: names.names("d")):
        with pytest.raises(ObjectTooLarge, match="d/big"):
            ask()
    assert names.lookup("d/small") is not None


def test_directory_mtimes_change_with_the_names(lazy: Lazy, clock: Clock) -> None:
    """A directory's mtime is the time of the mount until a listing shows that names came or went."""
    store = ListedStore(["d/1", "d/e/2"])
    now = iter([10, 20, 30, 40])
    names = lazy(store, now_ns=lambda: next(now))
    directory = names.lookup("d")
    assert directory is not None
    assert directory.mtime_ns == 10
    names.names("d")
    store.sizes["d/1"] = 5
    clock.now += 61
    names.names("d")
    assert names.lookup("d") == DirectoryNode("d", 10)
    store.sizes["d/new"] = 1
    clock.now += 61
    names.names("d")
    assert names.lookup("d") == DirectoryNode("d", 20)
    assert next(names.scan("")) == DirectoryNode("d", 20)


def test_threads_wait_for_one_request(lazy: Lazy) -> None:
    """Eight threads that ask for one directory, or one path, at the same time cause one request."""
    store = ListedStore(KEYS)
    asked, go_on = threading.Event(), threading.Event()

    class Slow(ListedStore):
        def list_pages(self, prefix: str, **how: Any) -> Iterator[ListedPage]:
            asked.set()
            assert go_on.wait(30)
            yield from store.list_pages(prefix, **how)

    names = lazy(Slow([]))
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(names.names("d"))) for _ in range(4)]
    threads += [threading.Thread(target=lambda: answers.append(names.lookup("a"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert asked.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 8
    assert sorted(store.requests) == [("a", "/"), ("d/", "/")]
    assert names._turns == {}


def test_a_listing_begun_before_a_refresh_is_not_kept(lazy: Lazy) -> None:
    """What was asked before refresh() and answered after it is given to who asked, and then forgotten."""
    store = ListedStore(["d/1"])

    class Late(ListedStore):
        def list_pages(self, prefix: str, **how: Any) -> Iterator[ListedPage]:
            yield from list(store.list_pages(prefix, **how))
            if "d/2" not in store.sizes:
                store.sizes["d/2"] = 1
                names.refresh()

    names = lazy(Late([]))
    assert names.names("d") == ["1"]
    assert names.names("d") == ["1", "2"]


def test_memory_is_bounded(lazy: Lazy) -> None:
    """Directories and single answers beyond the limits are forgotten and asked for again."""
    store = ListedStore([f"{d:03d}/{f}" for d in range(50) for f in range(10)])
    names = lazy(store)
    names._listings._max_weight = 55
    for d in range(50):
        assert len(names.names(f"{d:03d}")) == 10
    assert sum(item.weight for item in names._listings.items.values()) <= 55
    assert names.object_count == 500
    assert names.lookup("000/1") is not None


def test_hidden_keys_are_noted_as_they_are_seen(lazy: Lazy) -> None:
    """Invalid names, markers with content and shadowed files are told with their reasons, below the listed prefix."""
    names = lazy(ListedStore({"p/a": 1, "p/a/b": 1, "p//x": 1, "p/../y": 1, "p/": 3, "p/m/": 0, "p/n": 1}), "p/")
    assert names.names("") == ["a", "m", "n"]
    assert [(hidden.key, hidden.reason) for hidden in names.hidden()] == [
        ("p/", "directory marker with content"),
        ("p/../", "'..' component"),
        ("p//", "empty component"),
        ("p/a", "shadowed by a directory"),
    ]


class Denied(ListedStore):
    """Objects may be read, but not listed."""

    def list_pages(self, prefix: str, **how: Any) -> Iterator[ListedPage]:
        raise PermissionError(errno.EACCES, "s3:ListBucket on the bucket is denied")

    def head(self, key: str) -> Row:
        if key not in self.sizes:
            raise PermissionError(errno.EACCES, "403")
        return self.row(key)


def test_who_may_not_list_still_reaches_known_objects(lazy: Lazy) -> None:
    """With head, a denied listing falls back to asking for the object; what cannot be told is an honest error."""
    store = Denied({"d/f": 7, "big": 101})
    names = lazy(store, head=store.head)
    assert names.lookup("d/f") == FileNode("f", 7, 10**18, "etag of d/f", "", "")
    with pytest.raises(PermissionError, match=r"cannot tell whether 'd/g' exists.*s3:ListBucket"):
        names.lookup("d/g")
    with pytest.raises(ObjectTooLarge):
        names.lookup("big")
    with pytest.raises(PermissionError, match="s3:ListBucket"):
        names.names("d")
    with pytest.raises(PermissionError, match=r"s3:ListBucket on the bucket is denied"):
        lazy(store).lookup("d/f")


def test_a_failing_head_is_no_absence(lazy: Lazy) -> None:
    """A timeout of the fallback is raised as it is."""

    def head(key: str) -> Row:
        raise TimeoutError(errno.ETIMEDOUT, "slow")

    with pytest.raises(TimeoutError):
        lazy(Denied(["a"]), head=head).lookup("a")


def test_it_goes_on_after_a_fork_and_ends_with_close(lazy: Lazy) -> None:
    """after_fork frees what threads of the parent held; close forgets all names."""
    store = ListedStore(KEYS)
    names = lazy(store)
    names._lock.acquire()
    names.after_fork()
    assert names.names("d") == ["1", "2", "e"]
    names.close()
    assert names.names("d") == ["1", "2", "e"]
    assert len(store.requests) == 2


def test_generations_count_refreshes(lazy: Lazy) -> None:
    """The generation changes with every refresh, and only then."""
    names = lazy(ListedStore(KEYS))
    first = names.generation
    names.names("d")
    assert names.generation == first
    names.refresh()
    assert names.generation != first
