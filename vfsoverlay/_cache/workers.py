"""Threads that fetch ahead: started when first needed, never waited for, and never a queue behind them.

A task is taken at once or refused. So nothing unwanted ever waits in line, and whoever needs bytes
now fetches them in its own thread: correctness never depends on these.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

#: Seconds after which an idle thread ends.
_IDLE: Final = 5.0


class Workers:
    """Up to ``limit()`` daemon threads; they end by themselves, and die quietly with the interpreter."""

    __slots__ = ("_condition", "_idle", "_limit", "_tasks", "busy", "freed")

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self.freed: Callable[[], object] = _nobody_waits
        """Called by a thread that has done a task, when there is room for another."""
        self.after_fork()

    def after_fork(self) -> None:
        """In the child: no thread of the parent is here."""
        self._condition = threading.Condition(threading.Lock())
        self._tasks: deque[Callable[[], object]] = deque()
        self._idle = 0
        self.busy = 0

    def has_room(self, spare: int = 0) -> bool:
        """Whether a task would be taken now, with *spare* threads left for others."""
        return self.busy + spare < self._limit()

    def try_start(self, task: Callable[[], object], *, spare: int = 0) -> bool:
        """Run *task* in a thread now, or refuse it.

        Args:
            task: Must deal with its own failures.
            spare: Threads to leave for more urgent tasks.
        """
        with self._condition:
            if not self.has_room(spare):
                return False
            self.busy += 1
            self._tasks.append(task)
            if self._idle >= len(self._tasks):
                self._condition.notify()
                return True
        return self._start_thread(task)

    def _start_thread(self, task: Callable[[], object]) -> bool:
        try:
            threading.Thread(target=self._work, name="vfsoverlay-fetch", daemon=True).start()
        except RuntimeError:
            # No more threads: a limit of the system, or the interpreter is shutting down.
            with self._condition:
                if task in self._tasks:
                    self._tasks.remove(task)
                    self.busy -= 1
                    return False
        return True

    def _work(self) -> None:
        condition = self._condition
        while True:
            with condition:
                # Woken for a task that a busy thread took meanwhile, it waits on: to end would cost a new thread soon.
                waited = True
                while waited and not self._tasks:
                    self._idle += 1
                    waited = condition.wait(_IDLE)
                    self._idle -= 1
                if not self._tasks:
                    return
                task = self._tasks.popleft()
            try:
                task()
            finally:
                with condition:
                    self.busy -= 1
                self.freed()
            del task


def _nobody_waits() -> None:
    pass
