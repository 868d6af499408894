"""The attempts of one operation: how long to wait between them, and when to give up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from vfsoverlay._metrics import Metrics
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.protocol import Sink

#: Seconds of the first wait at most, doubled each time (full jitter: "Exponential Backoff And Jitter", AWS blog).
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 10.0
#: A throttled client that comes back at once makes things worse, so its waits begin later.
_FIRST_THROTTLED_WAIT: Final = 0.5
#: Bytes that must arrive within one deadline: 1 MiB in 120 s is slower than any link worth waiting for.
_PROGRESS: Final = 1024**2
#: Attempts to reach an endpoint that never answered (a wrong URL is told in seconds, not after the deadline), and to
#: get sense out of answers that make none: time does not cure those.
_FEW: Final = 4
_NOTHING: Final = memoryview(b"")
_HARDLY_CURED: Final = (Kind.MALFORMED, Kind.CORRUPT)


class Clock(NamedTuple):
    """Time, sleep and chance; a seam for tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random


class Attempts:
    """Counts the attempts of one operation under its deadline.

    The deadline bounds the time without progress: each mebibyte that arrives starts it anew, so that
    a large object on a slow link is not cut off while bytes keep coming. While a mount is being made
    (*mounting*) there is little patience with an endpoint that cannot be reached. Before another attempt,
    *sink* is asked whether anybody wants it, by an empty piece.
    """

    __slots__ = ("_arrived", "_clock", "_end", "_metrics", "_seconds", "_waits", "count", "cured", "mounting", "sink")

    def __init__(
        self, seconds: float, clock: Clock, metrics: Metrics, *, mounting: bool = False, sink: Sink | None = None
    ) -> None:
        self.count = 0
        self.cured: set[Kind] = set()
        """Kinds of failure whose cause was seen to, after which an attempt follows without a wait."""
        self._seconds = seconds
        self._clock = clock
        self._metrics = metrics
        self.sink = sink
        """Whom to ask whether another attempt is wanted."""
        self.mounting = mounting
        self._end = clock.now() + seconds
        self._waits = 0
        self._arrived = 0

    def remaining(self) -> float:
        """Seconds until the deadline, at least a millisecond (0 would mean "do not block" to a socket)."""
        return max(self._end - self._clock.now(), 0.001)

    def arrived(self, size: int) -> None:
        """Note that *size* bytes came."""
        self._arrived += size
        if self._arrived >= _PROGRESS:
            self._arrived = 0
            self._waits = 0
            self.cured.clear()
            self._end = self._clock.now() + self._seconds

    def again(self, failure: Failure) -> None:
        """Wait before the next attempt, or raise *failure* if there must be none; what the sink raises goes first."""
        if not failure.meaning.retried or self._gives_up(failure):
            raise failure
        wait = self._wait(failure)
        if self._clock.now() + wait >= self._end:
            raise failure
        self._ask_the_sink()
        self._metrics.add("retries")
        self._clock.sleep(wait)
        self._ask_the_sink()

    def _ask_the_sink(self) -> None:
        if self.sink is not None:
            self.sink(_NOTHING)

    def _gives_up(self, failure: Failure) -> bool:
        hopeless = failure.kind in _HARDLY_CURED or (self.mounting and failure.connecting)
        return hopeless and self.count >= _FEW

    def _wait(self, failure: Failure) -> float:
        first = _FIRST_THROTTLED_WAIT if failure.kind is Kind.THROTTLED else _FIRST_WAIT
        longest: float = min(first * 2**self._waits, _LONGEST_WAIT)
        self._waits += 1
        jittered = longest * self._clock.chance()
        return max(jittered, failure.retry_after or 0.0)
