"""Ski rental: when random reads have waited as long as fetching the whole object would take, fetch it whole.

Whoever rents skis until the rent equals their price, and buys then, never pays more than twice
what the best plan would have cost in hindsight. The rent is wall time with at least one reader
waiting; the price is the missing bytes over the rate that many connections reach.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

#: Share of the price at which to buy: the rate is an estimate, and readers go on renting while the object arrives.
_SHARE_OF_PRICE: Final = 0.7

#: Share of the blocks that must be on disk before: a few reads of a large object stay a few reads, however slow.
_SHARE_OF_BLOCKS: Final = 0.01
#: And so many in any case: of an object of a few MiB, one slow answer would pay for all of it.
_FEWEST_BLOCKS: Final = 8
#: Waits there must have been: one column in each row group of a table is a dozen slow reads, and then it is over.
_FEWEST_WAITS: Final = 24


class Promotion:
    """The waiting of one object version; *add_waited* shares it with other processes and gives their sum."""

    __slots__ = ("_add_waited", "_began", "_mutex", "_waiters", "_waits", "decided", "waited")

    def __init__(self, add_waited: Callable[[float], float]) -> None:
        self._add_waited = add_waited
        self.waited = 0.0
        self._waits = 0
        self.decided = False
        """Whether somebody of this process has decided to fetch the whole object."""
        self.after_fork()

    def after_fork(self) -> None:
        """In the child: the parent's readers are not here."""
        self._mutex = threading.Lock()
        self._waiters = 0
        self._began = 0.0

    def __enter__(self) -> Promotion:
        """A reader begins to wait."""
        with self._mutex:
            if not self._waiters:
                self._began = time.monotonic()
            self._waiters += 1
            self._waits += 1
        return self

    def __exit__(self, *_: object) -> None:
        """It waits no more; the last one of several pays for all."""
        with self._mutex:
            self._waiters -= 1
            if not self._waiters:
                self.waited = self._add_waited(time.monotonic() - self._began)

    def decide(self, *, ready: int, blocks: int, missing_bytes: int, rate: float) -> bool:
        """Whether to fetch the rest now; true once.

        Args:
            ready: Blocks on disk.
            blocks: Blocks of the object.
            missing_bytes: What would be fetched.
            rate: Bytes a second that all connections together are expected to reach.
        """
        few = self._waits < _FEWEST_WAITS or ready < max(_FEWEST_BLOCKS, blocks * _SHARE_OF_BLOCKS)
        if self.decided or few:
            return False
        if self.waited < _SHARE_OF_PRICE * missing_bytes / rate:
            return False
        with self._mutex:
            first, self.decided = not self.decided, True
        return first
