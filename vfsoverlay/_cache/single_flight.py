"""One thread does a thing, the other threads of the process wait for it."""

from __future__ import annotations

import threading
import time


class SingleFlight:
    """Keys that some thread is working on.

    Guards threads of one process only (locks guard processes) and no failure is handed on: a
    waiter looks again, and leads if the work is still to be done.
    """

    __slots__ = ("_flying", "_mutex")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        #: A lock for each waiter of a key: a condition for all would wake the waiters of every other key as well.
        self._flying: dict[str, list[threading.Lock]] = {}

    def join(self, key: str, deadline: float) -> bool:
        """True: the caller leads and must call ``leave``. False: another's flight ended, or *deadline* passed."""
        with self._mutex:
            waiters = self._flying.get(key)
            if waiters is None:
                self._flying[key] = []
                return True
            landed = threading.Lock()
            landed.acquire()
            waiters.append(landed)
        landed.acquire(timeout=max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX)))
        return False

    def try_join(self, key: str) -> bool:
        """As ``join`` without a wait; False: another leads."""
        with self._mutex:
            if key in self._flying:
                return False
            self._flying[key] = []
            return True

    def leave(self, key: str) -> None:
        """The leader is done, well or badly."""
        with self._mutex:
            waiters = self._flying.pop(key)
        for landed in waiters:
            landed.release()
