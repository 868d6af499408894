"""Directory readahead: while small files are opened in the order of a listing, fetch the next ones.

The window grows by one with each open that was foreseen, so it doubles in the time it takes to
read it once; it closes when opens stop coming from it. What was fetched and not opened is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from vfsoverlay._cache.ahead_budget import AheadBudget
from vfsoverlay._cache.stride import Stride
from vfsoverlay._metrics import Metrics

Item = TypeVar("Item")

_FIRST_WINDOW: Final = 4
_LARGEST_WINDOW: Final = 128

#: Bytes fetched ahead and not yet opened, over all listings.
_MOST_BYTES: Final = 64 * 1024 * 1024

#: This many opens that were not foreseen, in a row, close a window.
_MOST_MISSES: Final = 8

#: Listings looked at; beyond it the least recent one is forgotten.
_LISTINGS: Final = 16


class _Course:
    """What is known about the opens of one listing."""

    __slots__ = ("ahead", "frontier", "misses", "stride", "window")

    def __init__(self) -> None:
        self.stride = Stride()
        self.window = 0
        self.frontier = 0
        """The next index to fetch."""
        self.ahead: dict[int, int] = {}
        """Bytes of the items fetched ahead and not yet opened, by index."""
        self.misses = 0


class Lookahead(Generic[Item]):
    """Told of every open of a small file, fetches what is likely to be opened next.

    Args:
        start: Has one item fetched by somebody else, who calls when that has ended, or refuses. What goes wrong then
            is dropped, since a reader who opens the item meets it again.
        size: Bytes of an item; items for which it is negative are skipped.
        metrics: Where ``bytes.wasted`` is counted.
        ahead: How much may be on its way.
    """

    __slots__ = ("_ahead", "_bytes_ahead", "_courses", "_metrics", "_mutex", "_size", "_start_fetch", "active")

    def __init__(
        self,
        start: Callable[[Item, Callable[[object], object]], bool],
        *,
        size: Callable[[Item], int],
        metrics: Metrics,
        ahead: AheadBudget,
    ) -> None:
        self._start_fetch = start
        self._ahead = ahead
        self._size = size
        self._metrics = metrics
        self._courses: dict[Hashable, _Course] = {}
        self._bytes_ahead = 0
        self.active = False
        """Whether something was fetched ahead: then opens of files that are in the cache already count as well."""
        self._mutex = threading.Lock()

    def opened(self, listing: Hashable, index: int, item_at: Callable[[int], Item | None]) -> None:
        """Item *index* of *listing* was opened; *item_at* gives its items, and None behind the last one."""
        with self._mutex:
            course = self._course(listing)
            self._judge(course, index)
            if course.window:
                self._extend(course, item_at)
            self.active = any(course.ahead for course in self._courses.values())

    def close(self) -> None:
        """Count what was never opened."""
        with self._mutex:
            for course in self._courses.values():
                self._end(course)
            self._courses.clear()
            self.active = False

    def after_fork(self) -> None:
        """In the child: what the parent has fetched ahead, it counts."""
        self._mutex = threading.Lock()
        self._courses = {}
        self._bytes_ahead = 0
        self.active = False

    def _course(self, listing: Hashable) -> _Course:
        course = self._courses.pop(listing, None) or _Course()
        self._courses[listing] = course
        if len(self._courses) > _LISTINGS:
            self._end(self._courses.pop(next(iter(self._courses))))
        return course

    def _judge(self, course: _Course, index: int) -> None:
        course.stride.add(index)
        if index in course.ahead:
            self._bytes_ahead -= course.ahead.pop(index)
            course.misses = 0
            course.window = min(course.window + 1, _LARGEST_WINDOW)
            return
        step = course.stride.step()
        if course.window:
            course.misses += 1
            if course.misses > _MOST_MISSES or not step:
                self._end(course)
        elif step:
            course.window = _FIRST_WINDOW
            course.frontier = course.stride.front() + step

    def _extend(self, course: _Course, item_at: Callable[[int], Item | None]) -> None:
        step, front = course.stride.step() or 1, course.stride.front()
        course.frontier = max(course.frontier, front + step)
        while course.frontier <= front + step * course.window and self._bytes_ahead < _MOST_BYTES:
            item = item_at(course.frontier)
            if item is None:
                return
            size = self._size(item)
            if size >= 0:
                if not self._start(item, size):
                    return
                course.ahead[course.frontier] = size
                self._bytes_ahead += size
            course.frontier += step

    def _end(self, course: _Course) -> None:
        wasted = sum(course.ahead.values())
        if wasted:
            self._metrics.add("bytes.wasted", wasted)
        self._bytes_ahead -= wasted
        course.ahead.clear()
        course.window = course.misses = 0

    def _start(self, item: Item, size: int) -> bool:
        if not self._ahead.try_take(size):
            return False
        if self._start_fetch(item, lambda _: self._ahead.give_back(size)):
            return True
        self._ahead.give_back(size)
        return False
