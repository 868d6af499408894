"""Sections of a process that no fork cuts in two."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ContextDecorator
from typing import Final

#: Seconds that a fork waits at most; sections take seconds at worst. But a Ctrl-C between the first lines of
#: ``__enter__`` leaves a mark that nobody takes back.
_PATIENCE: Final = 60.0


class ForkGate(ContextDecorator):
    """As a context manager or a decorator: a fork by another thread waits until the section was left.

    For C libraries with locks of their own, above all SQLite: a child inherits those locks as they are,
    and nobody in the child releases what a thread of the parent had. It would wait forever at its first
    query, even on a connection of its own: SQLite's allocator and its table of open files have one lock
    each for the whole process. Many threads may be inside at once, and one may enter again.

    Args:
        patience: Seconds after which a fork goes on all the same.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._begin()
        os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}
        self._forks = 0

    # Entering takes no lock, since every query to SQLite does it. A thread notes that it is inside, and then looks
    # for forks; a fork notes that it is coming, and then looks who is inside. So one of the two sees the other.

    def __enter__(self) -> ForkGate:
        me = threading.get_ident()
        depth = self._inside.get(me, 0)
        self._inside[me] = depth + 1
        # One that is inside already must go on, or the fork would wait for it, and it for the fork.
        if self._forks and not depth:
            self._step_back(me)
        return self

    def __exit__(self, *_exception: object) -> None:
        me = threading.get_ident()
        # There is no mark if a fork ran out of patience with this thread.
        depth = self._inside.get(me, 1) - 1
        if depth:
            self._inside[me] = depth
            return
        self._inside.pop(me, None)
        if self._forks:
            with self._changed:
                self._changed.notify_all()

    def _step_back(self, me: int) -> None:
        """Be outside again until the forks are over."""
        with self._changed:
            self._inside.pop(me, None)
            self._changed.notify_all()
            while self._forks:
                self._changed.wait()
            self._inside[me] = 1

    def _close(self) -> None:
        me = threading.get_ident()
        deadline = time.monotonic() + self._patience
        with self._changed:
            self._forks += 1
            # A copy, in one step: others come and go meanwhile.
            while others := [thread for thread in list(self._inside) if thread != me]:
                if not self._changed.wait(deadline - time.monotonic()):
                    for thread in others:
                        self._inside.pop(thread, None)

    def _open(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


#: The one for SQLite, and for imports in threads that nobody knows of.
no_fork = ForkGate()
