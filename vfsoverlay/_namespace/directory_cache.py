"""Directories in memory, no more than a number of entries."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

MAX_ENTRIES: Final = 120_000
"""About 42 MiB, and room for the 100,000 files in 1,110 directories of a common data set."""


class Held(Protocol):
    """What the cache keeps."""

    used: bool
    """Set by who reads it; reset by the cache, which drops first what stays unused."""

    @property
    def weight(self) -> int:
        """Entries it has in memory, and one for itself."""


H = TypeVar("H", bound=Held)


class DirectoryCache(Generic[H]):
    """Least recently used directories go first, as far as a flag can tell (the clock algorithm).

    ``items`` may be read at any time; that needs no lock and costs one dict look-up. Who calls the
    methods holds a lock.
    """

    __slots__ = ("_max_weight", "_weight", "items")

    def __init__(self, max_weight: int = MAX_ENTRIES) -> None:
        #: Ordered by more than a dict: finding the first of those left takes a dict longer the more were removed.
        self.items: OrderedDict[str, H] = OrderedDict()
        self._max_weight = max_weight
        self._weight = 0

    def put(self, path: str, item: H) -> None:
        """Keep *item*, whatever it weighs, and drop others to make room."""
        self.drop(path)
        while self.items and self._weight + item.weight > self._max_weight:
            oldest = next(iter(self.items))
            candidate = self.items[oldest]
            if candidate.used:
                candidate.used = False
                self.items.move_to_end(oldest)
            else:
                self.drop(oldest)
        self.items[path] = item
        self._weight += item.weight

    def drop(self, path: str) -> None:
        """Forget *path*."""
        item = self.items.pop(path, None)
        if item is not None:
            self._weight -= item.weight

    def clear(self) -> None:
        """Forget all."""
        self.items = OrderedDict()
        self._weight = 0
