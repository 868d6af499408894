"""One thread that waits for many GETs at once: a thread for each would spend more on taking turns than on the bytes.

Python runs one thread at a time. Thirty-two threads that each send a request, wait, and put a small object
on disk hand on the interpreter lock some thirty times an object, and took three times the CPU of one thread
that does the same work.
"""

from __future__ import annotations

import enum
import select
import threading
import time
from collections import deque
from typing import Final, Protocol

from vfsoverlay import _real
from vfsoverlay._cache.workers import Workers

#: Tasks taken at most, those that wait for their beginning included. An answer costs no thread, so that there may
#: be more under way than there are threads worth having.
MOST: Final = 64

#: Seconds after which a task is handed to a thread of its own, which knows what to do about a store that is silent.
_PATIENCE: Final = 2.0

#: Seconds between looks for such tasks, and for room among the threads.
_LOOK: Final = 0.25

#: Seconds after which the idle thread ends.
_IDLE: Final = 5.0


class Step(enum.Enum):
    """What follows."""

    DONE = enum.auto()
    """Nothing."""
    WAIT = enum.auto()
    """``advance``, when the descriptor can be read."""
    THREAD = enum.auto()
    """The rest, in a thread of its own, since it would wait."""


class Task(Protocol):
    """What is done step by step, without waiting, by the thread of the multiplexer; deals with its own failures."""

    def begin(self) -> Step:
        """The first step. After ``THREAD``, it may begin again, or ``run``."""

    def fileno(self) -> int:
        """What to wait for."""

    def advance(self) -> Step:
        """A further step. After ``THREAD``, it is to ``go_on``."""

    def run(self) -> object:
        """All of it, by a thread that may wait."""

    def go_on(self) -> object:
        """What is left of what has begun, by a thread that may wait."""

    def abandon(self) -> None:
        """In a forked child: let go of what the parent goes on with."""


class Multiplexer:
    """Takes tasks at once or refuses them, as ``Workers`` do; they are begun in the order in which they came.

    Args:
        workers: The threads for what has to wait.
    """

    __slots__ = ("_loop", "_mutex", "_workers")

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._mutex = threading.Lock()
        self._loop: _Loop | None = None
        workers.freed = self._freed

    def try_start(self, task: Task) -> bool:
        """Do *task*, or refuse it."""
        with self._mutex:
            loop = self._loop
            if loop is None or not loop.is_open:
                loop = self._start()
            return loop is not None and loop.give(task)

    def after_fork(self) -> None:
        """In the child: the thread of the parent is not here, and its tasks are the parent's."""
        self._mutex = threading.Lock()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.abandon()

    def _freed(self) -> None:
        loop = self._loop
        if loop is not None and loop.wants_thread:
            loop.wake()

    def _start(self) -> _Loop | None:
        try:
            loop = _Loop(self._workers)
        except OSError:
            # No more descriptors.
            return None
        try:
            threading.Thread(target=loop.work, name="vfsoverlay-gets", daemon=True).start()
        except RuntimeError:
            # No more threads: a limit of the system, or the interpreter is shutting down.
            loop.close()
            return None
        self._loop = loop
        return loop


class _Loop:
    """The life of one thread: from a first task until there were none for a while."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._mutex = threading.Lock()
        self._queue: deque[Task] = deque()
        """Not begun."""
        self._flying: dict[int, tuple[Task, float]] = {}
        """Begun, and since when, by descriptor; oldest first."""
        self._parked: deque[Task] = deque()
        """Begun, and waiting for a thread."""
        self._poll = select.epoll()
        self._bell = _real.eventfd(0)
        self._poll.register(self._bell, select.EPOLLIN)
        self._listens = False
        """Whether the thread waits, and has to be woken to see what is new."""
        self.is_open = True

    @property
    def wants_thread(self) -> bool:
        """Whether a task could do with a thread of its own."""
        return bool(self._queue or self._parked)

    def give(self, task: Task) -> bool:
        """Queue *task*; False: there are enough, or the thread has just ended."""
        with self._mutex:
            if not self.is_open or len(self._queue) + len(self._flying) + len(self._parked) >= MOST:
                return False
            self._queue.append(task)
        self.wake()
        return True

    def wake(self) -> None:
        """There is something new: a task, or room among the threads."""
        with self._mutex:
            if self._listens and self.is_open:
                self._listens = False
                _real.write(self._bell, (1).to_bytes(8, "little"))

    def work(self) -> None:
        """Until nothing was to do for a while."""
        try:
            self._work()
        except BaseException:  # and raised again
            # Memory ran out, for instance: nobody is to wait for this thread for ever.
            with self._mutex:
                self.close()
            for task in (*self._parked, *[task for task, _ in self._flying.values()]):
                task.go_on()
            for task in self._queue:
                task.run()
            raise

    def _work(self) -> None:
        last = time.monotonic()
        while True:
            self._hand_over()
            self._begin()
            busy = bool(self._queue or self._flying or self._parked)
            if busy:
                last = time.monotonic()
            elif time.monotonic() - last >= _IDLE and self._ends():
                return
            self._wait(_LOOK if busy else _IDLE)

    def _ends(self) -> bool:
        with self._mutex:
            if self._queue:
                return False
            self.close()
            return True

    def _wait(self, seconds: float) -> None:
        with self._mutex:
            # Looked at under the lock: who gives a task after this rings the bell.
            self._listens = True
            if self.wants_thread and self._workers.has_room():
                seconds = 0
        ready = self._poll.poll(seconds)
        self._listens = False
        for fd, _ in ready:
            if fd == self._bell:
                _real.read(fd, 8)
            else:
                self._advance(fd)

    def _begin(self) -> None:
        while True:
            with self._mutex:
                if not self._queue:
                    return
                task = self._queue.popleft()
            step = task.begin()
            if step is Step.WAIT:
                self._fly(task)
            elif step is Step.THREAD and not self._workers.try_start(task.run):
                # In its turn again, when a thread or a connection has become free.
                with self._mutex:
                    self._queue.appendleft(task)
                return

    def _fly(self, task: Task) -> None:
        self._parked.append(task)
        fd = task.fileno()
        try:
            self._poll.register(fd, select.EPOLLIN)
        except OSError:
            # The system watches as many descriptors as it is allowed to: it stays where it is.
            return
        self._flying[fd] = self._parked.pop(), time.monotonic()

    def _advance(self, fd: int) -> None:
        task, _ = self._flying[fd]
        step = task.advance()
        if step is Step.WAIT:
            return
        self._land(fd)
        if step is Step.THREAD:
            self._parked.append(task)

    def _land(self, fd: int) -> None:
        del self._flying[fd]
        try:
            self._poll.unregister(fd)
        except (OSError, ValueError):
            # Closed by the task, which takes it out of the poll as well.
            pass

    def _hand_over(self) -> None:
        """To threads of their own: what cannot go on without a wait, and what has waited for long."""
        late = time.monotonic() - _PATIENCE
        for fd, (task, since) in list(self._flying.items()):
            if since > late:
                break
            self._land(fd)
            self._parked.append(task)
        while self._parked and self._workers.try_start(self._parked[0].go_on):
            self._parked.popleft()

    def abandon(self) -> None:
        """In a forked child: close what the parent uses."""
        self._mutex = threading.Lock()
        for task in (*self._queue, *self._parked, *[task for task, _ in self._flying.values()]):
            task.abandon()
        if self.is_open:
            self.close()

    def close(self) -> None:
        """Take nothing more."""
        self.is_open = False
        self._poll.close()
        _real.close(self._bell)
