"""Sections of a process that no fork cuts in two."""

from __future__ import annotations

import os
import threading
from contextlib import ContextDecorator


class ForkGate(ContextDecorator):
    """As a context manager or a decorator: a fork by another thread waits until the section was left.

    For C libraries with locks of their own, above all SQLite: a child inherits those locks as they are,
    and nobody in the child releases what a thread of the parent had. It would wait forever at its first
    query, even on a connection of its own: SQLite's allocator and its table of open files have one lock
    each for the whole process. Many threads may be inside at once, and one may enter again.
    """

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._begin)

    def _begin(self) -> None:
        # The lock by itself, too: entering a condition costs a query as much as all else here.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside: dict[int, int] = {}
        self._forks = 0

    def __enter__(self) -> ForkGate:
        me = threading.get_ident()
        with self._lock:
            depth = self._inside.get(me, 0)
            # One that is inside already must go on, or the fork would wait for it, and it for the fork.
            while self._forks and not depth:
                self._changed.wait()
            self._inside[me] = depth + 1
        return self

    def __exit__(self, *_exception: object) -> None:
        me = threading.get_ident()
        with self._lock:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
                if self._forks:
                    self._changed.notify_all()

    def _close(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._forks += 1
            while any(thread != me for thread in self._inside):
                self._changed.wait()

    def _open(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


#: The one for SQLite, and for imports in threads that nobody knows of.
no_fork = ForkGate()
