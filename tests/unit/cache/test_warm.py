"""warm(): in order, lazily, a bounded number ahead, and failures at their turn."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.cache_source import Source
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.fetch_task import FetchTask, WholeFetch
from vfsoverlay._cache.multiplexer import Multiplexer
from vfsoverlay._cache.warm import warm
from vfsoverlay._cache.workers import Workers


def by_workers(limit: int) -> Callable[[FetchTask], bool]:
    """What has tasks done by up to *limit* threads."""
    workers = Workers(lambda: limit)
    gets = Multiplexer(workers)
    return lambda task: task.start(gets, workers)


def test_items_come_in_order_and_are_there(cache: BlockCache, source: Source) -> None:
    """Each item is given in the order asked for, and its object is complete by then."""
    oids = [source.object(f"key-{number}", 1000) for number in range(50)]
    given = []
    for oid in cache.warm(oids, lambda oid: oid, source.wanted):
        fd = cache.open_complete(oid)
        assert fd is not None
        os.close(fd)
        given.append(oid)
    assert given == oids
    assert source.purposes["warm"] == 50


def test_items_are_consumed_lazily() -> None:
    """No more items are taken from the iterable than *ahead* beyond the one given next."""
    taken = []

    def endless() -> Iterator[int]:
        for number in range(1_000_000):
            taken.append(number)
            yield number

    items = warm(endless(), lambda _: WholeFetch(lambda: None), by_workers(4), ahead=10)
    for _ in range(5):
        next(items)
    assert len(taken) <= 15


@pytest.mark.parametrize("limit", [0, 4])
def test_failures_are_raised_at_their_turn(limit: int) -> None:
    """The items before a failure are given; the failure is raised in the consumer's thread; nothing follows."""

    def fetch(item: int) -> None:
        if item == 3:
            raise PermissionError(item)

    items = warm(range(10), lambda item: WholeFetch(partial(fetch, item)), by_workers(limit))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(PermissionError):
        next(items)
    assert list(items) == []


def test_without_threads_the_caller_fetches() -> None:
    """Where no thread can be had, every item is fetched by the consumer itself."""
    threads = []
    items = warm(range(5), lambda _: WholeFetch(lambda: threads.append(threading.get_ident())), by_workers(0))
    assert list(items) == list(range(5))
    assert set(threads) == {threading.get_ident()}


def test_leaving_early_begins_nothing_more() -> None:
    """A consumer who stops leaves no item to be fetched that had not begun."""
    fetched: list[int] = []
    items = warm(range(100), lambda item: WholeFetch(partial(fetched.append, item)), by_workers(0), ahead=50)
    next(items)
    del items
    assert fetched == [0]


def test_what_is_there_costs_no_thread(cache: BlockCache, source: Source) -> None:
    """Items that are complete on disk are given without a thread, a lock file or a request."""
    oids = [source.object(f"key-{number}", size) for number, size in enumerate((0, 1000, 3 * 1024**2))]
    assert list(cache.warm(oids, lambda oid: oid, source.wanted)) == oids
    fetched, threads = list(source.ranges), set(threading.enumerate())
    again = BlockCache(cache.directory, cache_size=1 << 30, min_free=0)
    assert list(again.warm(oids, lambda oid: oid, source.wanted)) == oids
    assert source.ranges == fetched
    assert set(threading.enumerate()) <= threads


def test_what_is_no_longer_there_is_fetched_again(cache: BlockCache, source: Source) -> None:
    """An item that was evicted since it was last seen is fetched again."""
    oid = source.object("key", 1000)
    for _ in range(2):
        assert list(cache.warm([oid], lambda oid: oid, source.wanted)) == [oid]
        cache.clear()
    assert source.purposes["warm"] == 2
