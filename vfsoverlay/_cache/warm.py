"""Fetching in a known order: a bounded number of items ahead of whoever consumes them, as many at once as fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from vfsoverlay._cache.fetch_task import AwaitedFetch, Fetch, FetchTask

Item = TypeVar("Item")


class _Job(AwaitedFetch, Generic[Item]):
    """One item: the multiplexer, a thread of the workers or the consumer fetches it."""

    __slots__ = ("item",)

    def __init__(self, item: Item, fetch: Fetch) -> None:
        super().__init__(fetch)
        self.item = item

    def finish(self) -> Item:
        """The item, once it is there; raises what fetching it raised."""
        self.wait()
        return self.item


class _There(Generic[Item]):
    """An item that needs no fetching: without a lock and a thread, so that warming costs a second epoch little."""

    __slots__ = ("item",)

    def __init__(self, item: Item) -> None:
        self.item = item

    def finish(self) -> Item:
        """The item."""
        return self.item


def warm(
    items: Iterable[Item],
    fetching: Callable[[Item], Fetch | None],
    start: Callable[[FetchTask], bool],
    *,
    ahead: int = 64,
) -> Iterator[Item]:
    """Give each of *items*, in order, as soon as it was fetched.

    Args:
        items: Consumed lazily, at most *ahead* before the one that is given next.
        fetching: What brings an item into the cache; None: it is there. Does not raise.
        start: Has an item fetched by somebody else, or refuses; what is refused is fetched by the caller when its turn
            comes.
        ahead: How many items may be on their way or waiting.

    Raises:
        Exception: What fetching an item raised, when that item's turn comes; the iterator ends.
    """
    jobs: deque[_Job[Item] | _There[Item]] = deque()
    source = iter(items)
    waiting: deque[_Job[Item]] = deque()
    try:
        while True:
            while len(jobs) < ahead:
                try:
                    item = next(source)
                except StopIteration:
                    break
                fetch = fetching(item)
                if fetch is None:
                    jobs.append(_There(item))
                else:
                    job = _Job(item, fetch)
                    jobs.append(job)
                    waiting.append(job)
            while waiting and (waiting[0].taken or start(waiting[0])):
                waiting.popleft()
            if not jobs:
                return
            yield jobs.popleft().finish()
    finally:
        # The consumer went away: what has not begun does not begin.
        for item_ahead in jobs:
            if isinstance(item_ahead, _Job):
                item_ahead.cancel()
