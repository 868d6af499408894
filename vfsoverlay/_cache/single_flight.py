"""One thread does a thing, the other threads of the process wait for it."""

from __future__ import annotations

import threading
import time


class SingleFlight:
    """Keys that some thread is working on.

    Guards threads of one process only (locks guard processes) and no failure is handed on: a
    waiter looks again, and leads if the work is still to be done.
    """

    __slots__ = ("_condition", "_flying")

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._flying: set[str] = set()

    def join(self, key: str, deadline: float) -> bool:
        """True: the caller leads and must call ``leave``. False: another's flight ended, or *deadline* passed."""
        with self._condition:
            if key not in self._flying:
                self._flying.add(key)
                return True
            while key in self._flying:
                left = deadline - time.monotonic()
                if left <= 0 or not self._condition.wait(left):
                    return False
            return False

    def leave(self, key: str) -> None:
        """The leader is done, well or badly."""
        with self._condition:
            self._flying.discard(key)
            self._condition.notify_all()
