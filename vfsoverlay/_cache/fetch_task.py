"""A fetch that is done once: by the multiplexer, by a thread of its own, or by whoever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from vfsoverlay._cache.multiplexer import Multiplexer, Step
from vfsoverlay._cache.workers import Workers

#: Seconds in which somebody else should have begun, before whoever waits does it.
_PATIENCE: Final = 0.1


class Fetch(Protocol):
    """What brings one object into the cache; step by step where that is possible, and in any case as a whole."""

    @property
    def has_steps(self) -> bool:
        """Whether it may be done step by step; otherwise nothing but ``finish`` is ever called."""

    def begin(self) -> Step:
        """As ``multiplexer.Task.begin``; with ``THREAD`` nothing was begun."""

    def fileno(self) -> int:
        """As ``multiplexer.Task.fileno``."""

    def advance(self) -> Step:
        """As ``multiplexer.Task.advance``."""

    def finish(self) -> None:
        """Do the rest, or all of it; waits, and raises what goes wrong."""

    def abandon(self) -> None:
        """As ``multiplexer.Task.abandon``."""


class WholeFetch:
    """A fetch without steps."""

    __slots__ = ("finish",)
    has_steps = False

    def __init__(self, fetch: Callable[[], None]) -> None:
        self.finish = fetch

    def begin(self) -> Step:
        """In a thread."""
        return Step.THREAD

    def fileno(self) -> int:
        """None, as it never waits for one."""
        return -1

    def advance(self) -> Step:
        """In a thread."""
        return Step.THREAD

    def abandon(self) -> None:
        """There is nothing to let go of."""


class FetchTask:
    """A ``multiplexer.Task``: whoever takes it first does it.

    Args:
        fetch: What is done.
        told: Called once when it is, with what went wrong.
    """

    __slots__ = ("_fetch", "_life", "_mutex", "_told", "taken")

    def __init__(self, fetch: Fetch, told: Callable[[BaseException | None], object] | None = None) -> None:
        self._fetch = fetch
        self._told = told
        self._life = _life
        #: Held while somebody tries to begin: who would take it meanwhile waits, for as long as sending takes.
        self._mutex = threading.Lock()
        self.taken = False
        """Whether somebody is at it, or it is not to be done any more."""

    def start(self, gets: Multiplexer, workers: Workers) -> bool:
        """Have it done by one of the two; False: neither has room."""
        return gets.try_start(self) if self._fetch.has_steps else workers.try_start(self.run)

    def cancel(self) -> bool:
        """See to it that nobody begins; False: somebody has."""
        with self._mutex:
            taken, self.taken = self.taken, True
            return not taken

    def begin(self) -> Step:
        """The first step, unless somebody has taken it."""
        with self._mutex:
            if self.taken:
                return Step.DONE
            step = self._step(self._fetch.begin)
            self.taken = step is not Step.THREAD
            return step

    def fileno(self) -> int:
        """What to wait for."""
        return self._fetch.fileno()

    def advance(self) -> Step:
        """A further step."""
        return self._step(self._fetch.advance)

    def _step(self, step: Callable[[], Step]) -> Step:
        try:
            taken = step()
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for it, whatever it is
            self.ended(error)
            return Step.DONE
        if taken is Step.DONE:
            self.ended(None)
        return taken

    def run(self) -> None:
        """All of it, unless somebody has taken it."""
        if self.cancel():
            self.go_on()

    def go_on(self) -> None:
        """What is left, by whoever has taken it."""
        error: BaseException | None = None
        try:
            self._fetch.finish()
        except BaseException as raised:  # noqa: BLE001 - told to whoever waits for it, whatever it is
            error = raised
        self.ended(error)

    def ended(self, error: BaseException | None) -> None:
        """It is done, or *error* was in the way."""
        if self._told is not None:
            self._told(error)

    def revive(self) -> None:
        """In a child that was forked since: whoever has taken it is not here, so that it is to be taken again."""
        if self._life is not _life:
            self._life = _life
            self.abandon()
            self._mutex = threading.Lock()
            self.taken = False

    def abandon(self) -> None:
        """In a forked child: let go of what the parent goes on with."""
        self._fetch.abandon()


class AwaitedFetch(FetchTask):
    """A task that somebody waits for."""

    __slots__ = ("_accepted", "_done", "_error")

    def __init__(self, fetch: Fetch) -> None:
        super().__init__(fetch)
        #: Held until it is done: an event would take longer to make than most objects take to be looked for.
        self._done = threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None
        self._accepted = False

    def start(self, gets: Multiplexer, workers: Workers) -> bool:
        """As of any task; what is refused is done by whoever waits for it."""
        self._accepted = super().start(gets, workers)
        return self._accepted

    def ended(self, error: BaseException | None) -> None:
        """Keep what went wrong for whoever waits."""
        self._error = error
        self._done.release()

    def abandon(self) -> None:
        """Nobody here is going to say that it is done."""
        super().abandon()
        self._done = threading.Lock()
        self._done.acquire()
        self._accepted = False

    def wait(self) -> None:
        """Until it is done, by this thread where nobody else begins soon; raises what went wrong."""
        self.revive()
        if not (self._accepted and self._done.acquire(timeout=_PATIENCE)):
            self.run()
            self._done.acquire()
        self._done.release()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame.
                del error


#: Another one in each process.
_life = object()


def after_fork() -> None:
    """In the child: tasks that were begun before are the parent's."""
    global _life
    _life = object()
