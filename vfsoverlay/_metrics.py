"""Counters of one mount: what was asked of the store, what came, what the cache answered."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final, Literal

#: Why a request was made. "list" asks for names; the others ask for bytes.
Purpose = Literal["list", "read", "readahead", "promotion", "warm"]
PURPOSES: Final[tuple[Purpose, ...]] = ("list", "read", "readahead", "promotion", "warm")


class Metrics:
    """Named counters that only grow; cheap enough to stay on.

    Names in use: ``requests.<purpose>``, ``bytes.<purpose>`` (fetched), ``bytes.asked`` (by
    readers), ``bytes.wasted``, ``hits``, ``misses``, ``evictions``, ``retries``, ``opens``,
    ``seconds.waited``.
    """

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, amount: float = 1) -> None:
        """Add *amount* to the counter *name*."""
        with self._lock:
            self._counts[name] += amount  # type: ignore[assignment]  # seconds are floats

    def snapshot(self) -> dict[str, float]:
        """A copy of all counters that are not zero."""
        with self._lock:
            return dict(self._counts)

    def after_fork(self) -> None:
        """Take a new lock: the parent's may have been held by a thread that is not here."""
        self._lock = threading.Lock()
