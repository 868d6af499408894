"""Attempts end in time, wait with jitter and heed what the store asks for."""

from __future__ import annotations

import pytest

from vfsoverlay._metrics import Metrics
from vfsoverlay._store.attempts import Attempts, Clock
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind


class FakeTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, chance: float = 1.0) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.chance = chance

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep, lambda: self.chance)


def run(
    time: FakeTime, failure: Failure, *, deadline: float = 60.0, mounting: bool = False, limit: int = 1000
) -> Attempts:
    """Fail until the attempts are over."""
    attempts = Attempts(deadline, time.clock(), Metrics(), mounting=mounting)
    with pytest.raises(Failure):
        for _ in range(limit):
            attempts.count += 1
            attempts.again(failure)
    return attempts


@pytest.mark.parametrize("kind", [Kind.SERVER, Kind.THROTTLED, Kind.NETWORK, Kind.TIMEOUT])
def test_trouble_is_retried_until_the_deadline(kind: Kind) -> None:
    """Passing trouble is retried with growing waits, and never beyond the deadline."""
    time = FakeTime()
    attempts = run(time, Failure(kind, "x"))
    assert 5 < attempts.count < 30
    assert time.now <= 60
    assert time.waits == sorted(time.waits)
    assert max(time.waits) == 10


def test_jitter_is_full() -> None:
    """A wait is anything from nothing to its longest, so that clients do not come back together."""
    assert max(waits_with(0.0)) == 0
    assert waits_with(0.5)[0] == waits_with(1.0)[0] / 2


def waits_with(chance: float) -> list[float]:
    time = FakeTime(chance)
    attempts = Attempts(60, time.clock(), Metrics())
    for _ in range(4):
        attempts.again(Failure(Kind.SERVER, "x"))
    return time.waits


def test_retry_after_is_heeded() -> None:
    """The wait is at least what Retry-After asks for; one beyond the deadline is not begun."""
    time = FakeTime(0.0)
    run(time, Failure(Kind.THROTTLED, "x", retry_after=20.0))
    assert time.waits == [20.0, 20.0]
    patient = FakeTime()
    assert run(patient, Failure(Kind.THROTTLED, "x", retry_after=61.0)).count == 1
    assert patient.waits == []


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.MISSING_KEY, Kind.CHANGED, Kind.TLS, Kind.REFUSED])
def test_definite_answers_are_not_retried(kind: Kind) -> None:
    """What another attempt cannot change is told at once."""
    time = FakeTime()
    assert run(time, Failure(kind, "x")).count == 1
    assert time.waits == []


@pytest.mark.parametrize(
    ("failure", "mounting", "few"),
    [
        (Failure(Kind.UNREACHABLE, "x", connecting=True), True, True),
        (Failure(Kind.TIMEOUT, "x", connecting=True), True, True),
        (Failure(Kind.UNREACHABLE, "x", connecting=True), False, False),
        (Failure(Kind.SERVER, "x"), True, False),
        (Failure(Kind.MALFORMED, "x"), False, True),
        (Failure(Kind.CORRUPT, "x"), False, True),
    ],
)
def test_hopeless_trouble_is_told_soon(failure: Failure, mounting: bool, few: bool) -> None:
    """A mount at an endpoint that cannot be reached, and senseless answers at any time, end after a few attempts."""
    assert (run(FakeTime(), failure, mounting=mounting).count <= 4) is few


def test_progress_starts_the_deadline_anew() -> None:
    """A slow link that keeps delivering is not cut off; one that trickles below a mebibyte a deadline is."""
    time = FakeTime()
    attempts = Attempts(10, time.clock(), Metrics())
    for _ in range(100):
        time.now += 9
        attempts.arrived(1024**2)
    assert attempts.remaining() == 10
    attempts.arrived(1000)
    time.now += 11
    assert attempts.remaining() == 0.001


def test_retries_are_counted() -> None:
    """Each further attempt is one retry in the metrics."""
    metrics, time = Metrics(), FakeTime()
    attempts = Attempts(60, time.clock(), metrics)
    attempts.again(Failure(Kind.SERVER, "x"))
    attempts.again(Failure(Kind.SERVER, "x"))
    assert metrics.snapshot()["retries"] == 2
