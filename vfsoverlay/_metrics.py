"""Counters of one mount: what was asked of the store, what came, what the cache answered."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Final, Literal

#: Why a request was made. "list" asks for names; the others ask for bytes.
Purpose = Literal["list", "read", "readahead", "promotion", "warm"]
PURPOSES: Final[tuple[Purpose, ...]] = ("list", "read", "readahead", "promotion", "warm")


class Metrics:
    """Named counters that only grow; cheap enough to stay on.

    Names in use: ``requests.<purpose>``, ``bytes.<purpose>`` (fetched), ``bytes.asked`` (by
    readers of files that are fetched as they are read), ``bytes.wasted``, ``hits``, ``misses``,
    ``evictions``, ``retries``, ``seconds.waited``.
    """

    __slots__ = ("_counts", "_ended", "_lock", "_tickers")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ended = False
        #: Name -> a counter that C code moves on, and how often it was moved on to be read.
        self._tickers: dict[str, tuple[count[int], int]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, amount: float = 1) -> None:
        """Add *amount* to the counter *name*."""
        with self._lock:
            self._counts[name] += amount  # type: ignore[assignment]  # seconds are floats

    def ticker(self, name: str) -> Callable[[], object]:
        """A function that adds one to the counter *name*, for calls that cannot wait for a lock; one a name."""
        with self._lock:
            ticks, _ = self._tickers[name] = (count(), 0)
        return ticks.__next__

    def snapshot(self) -> dict[str, float]:
        """A copy of all counters that are not zero."""
        with self._lock:
            counts: dict[str, float] = dict(self._counts)
            for name, (ticks, reads) in self._tickers.items():
                # The only way to read it is to move it on.
                number = next(ticks) - reads
                self._tickers[name] = (ticks, reads + 1)
                if number:
                    counts[name] = number + counts.get(name, 0)
            return counts

    def end(self) -> None:
        """Add these counts to those of mounts that have ended, once, when the mount ends."""
        if self._ended:
            return
        self._ended = True
        for name, amount in self.snapshot().items():
            _ENDED.add(name, amount)

    def after_fork(self) -> None:
        """Take a new lock: the parent's may have been held by a thread that is not here."""
        self._lock = threading.Lock()


_ENDED: Final = Metrics()

os.register_at_fork(after_in_child=_ENDED.after_fork)


def ended_counts() -> dict[str, float]:
    """The counters of all mounts of this process that have ended, added up."""
    return _ENDED.snapshot()
