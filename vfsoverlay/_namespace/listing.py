"""Lists everything below a prefix, within the limits of a mount."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from vfsoverlay._namespace.crew import Crew, close_pages
from vfsoverlay._namespace.key_range import OutOfOrderError
from vfsoverlay._namespace.nodes import DEFAULT_PAGE_SIZE, ListPages, ObjectRow, Progress
from vfsoverlay.errors import ObjectTooLarge, TooManyObjects

DEFAULT_WORKERS: Final = 16
"""Requests at a time, at most: what a core can parse of pages that take 50 ms to come."""

_ALONE: Final = 2
"""Pages listed one after the other before others help: most prefixes are smaller."""

_CLOCK_TICK: Final = 1e-4
_WORTHWHILE: Final = 2e-3
"""Seconds to wait for a page that make it worth while to ask for others meanwhile.

It takes a thread about as long to have the interpreter from another one that parses a page.
"""

_IN_LINE: Final = 2
"""Workers for each that would do if none had to wait for another."""

_ADVICE: Final = "mount a longer prefix, or list directories as they are used (listing='lazy')"

#: Gives seconds that passed, and seconds that this thread worked, both since any time.
Timer = Callable[[], tuple[float, float]]


def _elapsed_and_working() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


class Limits:
    """Counts objects as they are listed and raises at the first one too many or too large.

    Args:
        max_objects: Objects there may be.
        max_object_size: Bytes one of them may have.
        progress: Called with the number of objects and bytes after each page.
        advice: What helps against too many objects, besides a higher limit.
    """

    def __init__(
        self, max_objects: int, max_object_size: int, progress: Progress | None = None, *, advice: str = _ADVICE
    ) -> None:
        self.max_objects = max_objects
        self.max_object_size = max_object_size
        self.objects = 0
        self.size = 0
        self._progress = progress
        self._advice = advice

    @property
    def keys_wanted(self) -> int:
        """More keys than this would not show more than that the limit is passed."""
        return max(1, self.max_objects - self.objects + 1)

    def check(self, rows: list[ObjectRow]) -> None:
        """Count *rows*; raises ``TooManyObjects`` or ``ObjectTooLarge``."""
        sizes = [row[1] for row in rows]
        if sizes and max(sizes) > self.max_object_size:
            raise self._too_large(next(row for row in rows if row[1] > self.max_object_size))
        self.objects += len(rows)
        self.size += sum(sizes)
        if self.objects > self.max_objects:
            self.objects = self.max_objects + 1
            raise self._too_many()
        if self._progress is not None:
            self._progress(self.objects, self.size)

    def _too_many(self) -> TooManyObjects:
        return TooManyObjects(
            errno.EFBIG,
            f"the source has more than {self.max_objects:,} objects (max_objects); "
            f"{self._advice}, or raise max_objects",
        )

    def _too_large(self, row: ObjectRow) -> ObjectTooLarge:
        key, size = row[:2]
        error = ObjectTooLarge(
            errno.EFBIG,
            f"the object {key!r} has {size:,} bytes, more than {self.max_object_size:,} (max_object_size); "
            "raise max_object_size, or mount a prefix without it",
        )
        error.key, error.size = key, size
        return error


def list_objects(
    list_pages: ListPages,
    prefix: str,
    limits: Limits,
    *,
    workers: int,
    page_size: int = DEFAULT_PAGE_SIZE,
    timer: Timer = _elapsed_and_working,
) -> Iterator[list[ObjectRow]]:
    """All objects below *prefix*, a page at a time, in no certain order when *workers* is above 1; some maybe twice.

    What fits into two pages costs no request more than it must; beyond that *workers* list together.
    """
    page_size = min(page_size, limits.keys_wanted)
    before = limits.objects, limits.size
    try:
        for rows in _pages(list_pages, prefix, page_size, limits, workers, timer):
            limits.check(rows)
            yield rows
    except OutOfOrderError:
        # Such a store can only be listed from beginning to end. What was given already is given again.
        limits.objects, limits.size = before
        for rows in _pages(list_pages, prefix, page_size, limits, 1, timer):
            limits.check(rows)
            yield rows


def _pages(
    list_pages: ListPages, prefix: str, page_size: int, limits: Limits, workers: int, timer: Timer
) -> Iterator[list[ObjectRow]]:
    begun = list_pages(prefix, page_size=page_size)
    number, before = 0, math.inf
    try:
        while True:
            started, worked = timer()
            page = next(begun, None)
            if page is None:
                return
            elapsed, working = timer()
            waiting = elapsed - started - max(working - worked, _CLOCK_TICK)
            yield page.rows
            # Who takes the page works with it before the next one is asked for.
            working = max(timer()[1] - worked, _CLOCK_TICK)
            number += 1
            # Pages that come without waiting cannot come faster; they may be parts of one answer.
            # One slow page is an accident.
            slow = min(before, waiting) > _WORTHWHILE
            if number >= _ALONE and workers > 1 and len(page.rows) >= page_size and slow:
                break
            before = waiting
        # While one waits for its page others can parse theirs, and have them taken. Twice as many as that takes, since
        # they wait in line for the interpreter and the store, and the first pages of a new process take longer; more
        # would only take the processor from each other.
        useful = 2 + math.ceil(_IN_LINE * waiting / working)
        # Nor is there use for more than the pages that may still come: what was given so far has been counted.
        wanted = limits.keys_wanted
        useful = min(workers, useful, 1 + math.ceil(wanted / page_size))
        yield from Crew(list_pages, prefix, page_size, keys_wanted=wanted).run(begun, page.rows, useful)
    finally:
        close_pages(begun)
