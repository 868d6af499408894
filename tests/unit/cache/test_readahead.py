"""Where a reader is heading: runs open a window that grows with them, jumps close it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfsoverlay._cache.readahead import Readahead

MIB = 1024**2
STEP = 128 * 1024
SIZE = 1 << 40


def run(ahead: Readahead, start: int, reads: int) -> list[int]:
    """Read on from *start*; how far every plan goes beyond its read."""
    reached = []
    for number in range(reads):
        stop = start + (number + 1) * STEP
        plan = ahead.on_read(stop - STEP, stop)
        if plan is not None:
            ahead.planned(plan.stop)
            reached.append(plan.stop - stop)
    return reached


def test_the_window_grows_with_the_run() -> None:
    """A long run in order plans further and further ahead, up to the largest window."""
    reached = run(Readahead(SIZE, largest_window=64 * MIB), 0, 1000)
    assert reached == sorted(reached)
    assert reached[-1] == 64 * MIB


def test_the_gets_grow_with_the_run() -> None:
    """The first GET ahead is 1 MiB, later ones are up to 8 MiB."""
    ahead = Readahead(SIZE)
    plans = [ahead.on_read(at, at + STEP) for at in range(0, 64 * MIB, STEP)]
    sizes = [plan.get for plan in plans if plan is not None]
    assert sizes[0] == MIB
    assert sizes[-1] == 8 * MIB


@pytest.mark.parametrize("start", [0, 100 * MIB])
def test_a_run_may_begin_anywhere(start: int) -> None:
    """A run in the middle of an object is seen like one from the start."""
    assert run(Readahead(SIZE), start, 20)


def test_one_read_in_the_middle_plans_nothing() -> None:
    """A single read away from the start is not a run."""
    assert Readahead(SIZE).on_read(100 * MIB, 100 * MIB + STEP) is None


def test_a_jump_ends_the_run_and_counts_the_waste() -> None:
    """What was planned beyond the last read is wasted when the reader goes elsewhere."""
    ahead = Readahead(SIZE)
    reached = run(ahead, 0, 40)
    assert ahead.on_read(300 * MIB, 300 * MIB + STEP) is None
    assert ahead.wasted > 0
    assert ahead.wasted <= max(reached) + 8 * MIB
    assert not ahead.is_running


def test_small_steps_back_and_forth_are_still_a_run() -> None:
    """Looking back a little, or skipping into what is planned, does not end a run."""
    ahead = Readahead(SIZE)
    run(ahead, 0, 40)
    for start in (39 * STEP, 34 * STEP + 5, 44 * STEP):
        ahead.on_read(start, start + 1000)
        assert ahead.is_running
    assert ahead.wasted == 0


def test_one_read_in_two_halves_is_no_run() -> None:
    """What a buffered file makes of one large read in the middle, the bulk and then a buffer, plans nothing."""
    ahead = Readahead(SIZE)
    for start in range(100 * MIB, 400 * MIB, 30 * MIB):
        assert ahead.on_read(start, start + MIB) is None
        assert ahead.on_read(start + MIB, start + MIB + STEP) is None
    assert ahead.wasted == 0


def test_plans_end_with_the_object() -> None:
    """Nothing is planned behind the end, all before it is, and who reads to the end has wasted nothing."""
    size = 100 * MIB + 5
    ahead, stops = Readahead(size), []
    for at in range(0, size, STEP):
        plan = ahead.on_read(at, min(at + STEP, size))
        if plan is not None:
            ahead.planned(plan.stop)
            stops.append(plan.stop)
    ahead.end_run()
    assert stops[-1] == size
    assert ahead.wasted == 0


@given(st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(1, 1 << 20)), max_size=50))
def test_plans_lie_ahead_and_are_bounded(reads: list[tuple[int, int]]) -> None:
    """However somebody reads, a plan is not empty, lies within the window, and asks for at most four times the run."""
    ahead, read = Readahead(SIZE), 0
    for start, length in reads:
        read += length
        plan = ahead.on_read(start, start + length)
        if plan is not None:
            assert plan.start < plan.stop
            assert plan.stop <= start + length + max(256 * MIB, MIB)
            assert MIB <= plan.get <= 8 * MIB
            ahead.planned(plan.stop)
    assert ahead.wasted >= 0
