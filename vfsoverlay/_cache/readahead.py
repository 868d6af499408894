"""Where a reader is heading: a run of reads that follow each other opens a window, a jump closes it."""

from __future__ import annotations

from typing import Final, NamedTuple

_MIB: Final = 1024**2

#: What is read from the very beginning is mostly read on: that much comes with the first read.
_FROM_START: Final = 1 * _MIB

#: A run must be this long, in bytes and in reads, before it counts as one. Not two reads: a buffered file asks
#: twice for what its caller asked for once, the bulk of it first and then a buffer with the rest.
_RUN_BYTES: Final = 192 * 1024
_RUN_READS: Final = 3

#: The window is this many times the bytes read in the run, so a reader who stops has wasted no more than that.
_AHEAD: Final = 4
_LARGEST_WINDOW: Final = 256 * _MIB

#: Steps back that do not end a run: readers of headers look twice.
_BACK: Final = 1 * _MIB


class Plan(NamedTuple):
    """Bytes to have on disk or under way."""

    start: int
    stop: int
    get: int
    """Bytes of one GET."""


class Readahead:
    """The reads of one handle; not a thread's own, so that several threads reading in turns are one run.

    Args:
        size: Bytes of the object.
        largest_window: Bytes that are on their way ahead of the reader at most.
    """

    __slots__ = ("_largest", "_planned", "_position", "_reads", "_run_start", "_size", "left_behind", "wasted")

    def __init__(self, size: int, *, largest_window: int = _LARGEST_WINDOW) -> None:
        self._size = size
        self._largest = largest_window
        self._run_start = 0
        self._position = 0
        self._planned = 0
        self._reads = 0
        self.wasted = 0
        """Bytes that were planned in runs which ended before them."""
        self.left_behind = 0
        """As much of that as the last run left."""

    def on_read(self, start: int, stop: int) -> Plan | None:
        """A read of bytes *start* to *stop* begins; what to fetch ahead of it, if anything new."""
        if not self._goes_on(start):
            self.end_run()
            self._run_start = start
            self._reads = 0
            self._planned = stop
        self._reads += 1
        self._position = max(stop, self._position if self._reads > 1 else 0)
        window = self._window()
        target = min(self._position + window, self._size)
        # In steps, so that most reads plan nothing; the last one ends with the object.
        step = 1 if target == self._size else min(window // 4, 8 * _MIB)
        if not window or target - self._planned < step:
            return None
        return Plan(self._planned, target, min(max(window // 8, _MIB), 8 * _MIB))

    @property
    def is_running(self) -> bool:
        """Whether the reads so far follow each other."""
        return self._window() > 0

    def planned(self, stop: int) -> None:
        """Everything up to *stop* is on disk or under way."""
        self._planned = max(self._planned, stop)

    def end_run(self) -> None:
        """The reader went elsewhere, or away."""
        self.left_behind = max(0, self._planned - self._position) if self._reads else 0
        self.wasted += self.left_behind
        self._planned = self._position = 0
        self._reads = 0

    def _goes_on(self, start: int) -> bool:
        if not self._reads:
            return False
        ahead = max(0, self._planned - self._position)
        return self._position - _BACK <= start <= self._position + ahead and start >= self._run_start

    def _window(self) -> int:
        run = self._position - self._run_start
        if self._reads >= _RUN_READS and run >= _RUN_BYTES:
            return min(_AHEAD * run, self._largest)
        return _FROM_START if self._run_start == 0 else 0
