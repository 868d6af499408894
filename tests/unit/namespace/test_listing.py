from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.model.listed_store import ListedPage, ListedStore
from vfsoverlay._namespace.crew import Crew
from vfsoverlay._namespace.listing import Limits, Timer, list_objects
from vfsoverlay.errors import ObjectTooLarge, TooManyObjects

SHAPES = {
    "numbers": [f"p/img-{i:06d}.jpg" for i in range(2_000)],
    "numbers of any length": [f"p/file{i}" for i in range(2_000)],
    "one deep directory": [f"p/data/v1/part-{i:05d}-ab.parquet" for i in range(2_000)],
    "a tree": [f"p/{a}/{b}/{c:02d}" for a in range(10) for b in range(10) for c in range(20)],
    "three folders": [f"p/{split}/n{i * 7919 % 2000:08d}/x" for split in ("test", "train", "val") for i in range(700)],
    "hexadecimal": [f"p/{i * 2654435761 % 2**32:08x}" for i in range(2_000)],
    "beyond ASCII": [f"p/{chr(0x4E00 + i % 50)}é{i:04d}\U0001f600" for i in range(2_000)],
    "a few long folders": ["p/a", *(f"p/b/{i}" for i in range(1_500)), *(f"p/zz{i}/x" for i in range(500))],
    "markers": [f"p/{i:03d}/" for i in range(999)] + [f"p/{i:03d}/x" for i in range(999)],
}


def far() -> Timer:
    """A timer by which every page is waited for."""
    calls = count()
    return lambda: (float(next(calls)), 0.0)


def near() -> tuple[float, float]:
    """A timer by which nothing takes any time."""
    return 0.0, 0.0


def limits(max_objects: int = 10_000, max_object_size: int = 10) -> Limits:
    return Limits(max_objects, max_object_size)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_key_is_listed_once(shape: str, workers: int) -> None:
    """However many workers share a listing, each key comes exactly once, for few requests more than one needs."""
    store = ListedStore(SHAPES[shape], page_size=20)
    begun = store.list_pages("p/", page_size=20)
    first = next(begun).rows
    rest = Crew(store.list_pages, "p/", 20).run(begun, first, workers)
    keys = [row[0] for page in [first, *rest] for row in page]
    assert sorted(keys) == sorted(SHAPES[shape])
    needed = -(-len(keys) // 20)
    assert len(store.requests) <= needed * 1.7 + 12


@pytest.mark.parametrize(("number", "requests"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (1999, 2)])
def test_small_prefixes_cost_no_request_more_than_they_must(number: int, requests: int) -> None:
    """Up to a thousand keys are one LIST request, up to two thousand two."""
    store = ListedStore([f"p/{i:05d}" for i in range(number)])
    assert sum(map(len, list_objects(store.list_pages, "p/", limits(), workers=16, timer=far()))) == number
    assert store.requests == [("p/", "")] * requests


def test_idle_workers_take_over_a_part_of_the_listing() -> None:
    """While the first page after the start hangs, other workers list behind it."""
    keys = [f"p/{i:04d}" for i in range(1000)]
    store = ListedStore(keys, page_size=10)
    reached_the_end = threading.Event()

    def list_pages(prefix: str, **how: Any) -> Iterator[ListedPage]:
        for page in store.list_pages(prefix, **how):
            if how.get("start_after") and page.rows and page.rows[-1][0] > "p/0900":
                reached_the_end.set()
            yield page

    def hanging(pages: Iterator[ListedPage]) -> Iterator[ListedPage]:
        assert reached_the_end.wait(30)
        yield from pages

    begun = list_pages("p/", page_size=10)
    first = next(begun).rows
    rest = list(Crew(list_pages, "p/", 10).run(hanging(begun), first, 4))
    assert sorted(row[0] for page in [first, *rest] for row in page) == keys


def test_helpers_begin_at_all_folders_at_once() -> None:
    """Once the folders are known, all idle workers begin at one each: none waits for a page that another waits for."""
    keys = [f"p/{folder}/{i:03d}" for folder in "abcdefgh" for i in range(50)]
    store = ListedStore(keys, page_size=10)
    begun_at: set[str] = set()
    all_begun = threading.Event()

    def list_pages(prefix: str, **how: Any) -> Iterator[ListedPage]:
        if how.get("start_after"):
            begun_at.add(how["start_after"])
            if len(begun_at) == 6:
                all_begun.set()
            assert all_begun.wait(20)
        return store.list_pages(prefix, **how)

    def hanging(pages: Iterator[ListedPage]) -> Iterator[ListedPage]:
        assert all_begun.wait(20)
        yield from pages

    begun = store.list_pages("p/", page_size=10)
    first = next(begun).rows
    rest = list(Crew(list_pages, "p/", 10).run(hanging(begun), first, 7))
    assert sorted(row[0] for page in [first, *rest] for row in page) == keys


def test_workers_stop_at_the_key_that_is_one_too_many() -> None:
    """When as many keys as wanted were given, taken or not, no worker asks for more than the page it has asked for."""
    store = ListedStore([f"p/{folder}/{i:04d}" for folder in "abcdefgh" for i in range(1000)], page_size=10)
    begun = store.list_pages("p/", page_size=10)
    first = next(begun).rows
    crew = Crew(store.list_pages, "p/", 10, keys_wanted=50)
    rest = crew.run(begun, first, 4)
    given = list(next(rest))
    # Nothing is taken meanwhile: it is not the taker who stops them.
    while crew._busy:
        threading.Event().wait(0.001)
    # The first page, that of the folders, five that are wanted, and one that each of the others had asked for.
    assert len(store.requests) <= 1 + 1 + 5 + 3
    given += [row for page in rest for row in page]
    assert len(given) >= 50


@pytest.mark.parametrize("workers", [1, 4])
def test_one_object_too_many_ends_the_listing(workers: int) -> None:
    """TooManyObjects comes at object max_objects + 1, says how to go on, and hardly anything is listed after it."""
    store = ListedStore([f"p/{i:05d}" for i in range(9_000)])
    most = limits(max_objects=5_000)
    with pytest.raises(TooManyObjects, match=r"5,000.*max_objects.*longer prefix.*lazy") as caught:
        list(list_objects(store.list_pages, "p/", most, workers=workers, page_size=100, timer=far()))
    assert caught.value.errno == errno.EFBIG
    assert most.objects == 5_001
    if workers == 1:
        assert len(store.requests) == 51


def test_a_small_limit_asks_for_no_more_than_it_needs() -> None:
    """With max_objects=3, four keys are asked for; four objects are too many, three are not."""
    store = ListedStore(["a", "b", "c", "d", "e"])
    with pytest.raises(TooManyObjects):
        list(list_objects(store.list_pages, "", limits(max_objects=3), workers=16))
    assert len(store.requests) == 1
    store.sizes = dict.fromkeys("abc", 1)
    assert sum(map(len, list_objects(store.list_pages, "", limits(max_objects=3), workers=16))) == 3


@pytest.mark.parametrize("workers", [1, 4])
def test_an_object_too_large_is_named(workers: int) -> None:
    """ObjectTooLarge names the key and its size, and survives being told to a parent process."""
    store = ListedStore({f"p/{i:04d}": 10 + (i == 3456) for i in range(4_000)})
    with pytest.raises(ObjectTooLarge, match=r"'p/3456' has 11 bytes, more than 10.*max_object_size") as caught:
        list(list_objects(store.list_pages, "p/", limits(), workers=workers, page_size=100, timer=far()))
    assert (caught.value.errno, caught.value.key, caught.value.size) == (errno.EFBIG, "p/3456", 11)


@pytest.mark.parametrize("page", [0, 1, 2, 30])
def test_a_failure_of_the_store_ends_the_listing(page: int) -> None:
    """The store's error is raised as it is, whichever page it comes at, and no thread is left."""
    store = ListedStore([f"p/{i:04d}" for i in range(4_000)])
    failure = PermissionError(errno.EACCES, "no")
    answered = 0

    def list_pages(prefix: str, **how: Any) -> Iterator[ListedPage]:
        nonlocal answered
        for listed in store.list_pages(prefix, **how):
            if answered >= page:
                raise failure
            answered += 1
            yield listed

    before = set(threading.enumerate())
    with pytest.raises(PermissionError) as caught:
        list(list_objects(list_pages, "p/", limits(), workers=4, page_size=100, timer=far()))
    assert caught.value is failure
    assert not set(threading.enumerate()) - before


def test_an_abandoned_listing_leaves_no_thread() -> None:
    """Who stops taking pages stops the workers; every listing that was begun is closed."""
    closed = []
    store = ListedStore([f"p/{i:04d}" for i in range(4_000)])

    def list_pages(prefix: str, **how: Any) -> Iterator[ListedPage]:
        try:
            yield from store.list_pages(prefix, **how)
        finally:
            closed.append(prefix)

    before = set(threading.enumerate())
    pages = list_objects(list_pages, "p/", limits(), workers=4, page_size=100, timer=far())
    for _ in range(5):
        next(pages)
    pages.close()  # type: ignore[attr-defined]  # it is a generator
    assert not set(threading.enumerate()) - before
    assert "p/" in closed


def test_progress_is_told_after_each_page() -> None:
    """Progress gets the objects and bytes so far, in the thread that lists."""
    told: list[tuple[int, int]] = []
    store = ListedStore({f"{i}": 2 for i in range(5)}, page_size=2)
    list(list_objects(store.list_pages, "", Limits(10, 10, lambda *so_far: told.append(so_far)), workers=1))
    assert told == [(2, 4), (4, 8), (5, 10)]


class Reversed(ListedStore):
    """As directory buckets do, it lists in an order of its own."""

    def list_pages(self, prefix: str, *, start_after: str = "", **how: Any) -> Iterator[ListedPage]:
        pages = list(super().list_pages(prefix, **how))
        return (ListedPage(page.rows[::-1], page.prefixes) for page in pages[::-1])


class IgnoresStartAfter(ListedStore):
    """As some servers do, it always begins at the beginning."""

    def list_pages(self, prefix: str, *, start_after: str = "", **how: Any) -> Iterator[ListedPage]:
        return super().list_pages(prefix, **how)


@pytest.mark.parametrize("kind", [ListedStore, Reversed, IgnoresStartAfter])
def test_what_the_store_can_do_does_not_matter(kind: type[ListedStore]) -> None:
    """Stores that keep no order, or ignore start_after, are listed whole all the same, and counted right."""
    store = kind([f"p/{i:04d}" for i in range(300)], page_size=10)
    most = limits(max_objects=300)
    keys = {
        row[0]
        for page in list_objects(store.list_pages, "p/", most, workers=4, page_size=10, timer=far())
        for row in page
    }
    assert keys == set(store.sizes)
    assert (most.objects, most.size) == (300, 300)


def test_pages_that_come_at_once_are_taken_one_after_the_other() -> None:
    """A store that has the whole listing in memory is not asked for it a second time."""
    store = ListedStore([f"p/{i:04d}" for i in range(1000)], page_size=10)
    list(list_objects(store.list_pages, "p/", limits(), workers=16, page_size=10, timer=near))
    assert store.requests == [("p/", "")] * 100
