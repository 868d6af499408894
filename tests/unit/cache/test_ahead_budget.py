"""What is on its way ahead of readers is bounded for the process, over all caches."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cache_source import MIB, Source
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache.ahead_budget import AheadBudget, after_fork
from vfsoverlay._cache.read_range import ReadRange, Sink
from vfsoverlay._metrics import Purpose

BLOCK = 64 * 1024


@given(st.integers(4, 1000), st.lists(st.tuples(st.booleans(), st.integers(0, 500))))
def test_takes_never_exceed_the_bound(most: int, steps: list[tuple[bool, int]]) -> None:
    """In whatever order bytes are taken and come, no more than the bound is out, or one fetch that is larger."""
    budgets, out = [AheadBudget(most), AheadBudget(most)], [0]
    for number, (takes, size) in enumerate(steps):
        budget = budgets[number % 2]
        if takes and budget.try_take(size):
            out.append(size)
            assert sum(out) <= most or sum(out) == size or not size
        elif not takes:
            budget.give_back(out.pop() if len(out) > 1 else 0)
    for size in out:
        budgets[0].give_back(size)


def test_an_empty_process_takes_anything() -> None:
    """A file larger than the bound is fetched ahead while nothing else is; what a reader waits for is never refused."""
    budget = AheadBudget(10)
    assert budget.try_take(100)
    assert not budget.try_take(1)
    assert budget.try_take(0)
    after_fork()
    assert budget.try_take(100)
    budget.give_back(100)


class Flights:
    """Counts the bytes of reading ahead that are on their way at once."""

    def __init__(self) -> None:
        self.most = self.now = 0
        self._mutex = threading.Lock()

    def watching(self, read_range: ReadRange) -> ReadRange:
        def watched(start: int, stop: int, sink: Sink, purpose: Purpose) -> None:
            size = stop - start if purpose in ("readahead", "promotion") else 0
            with self._mutex:
                self.now += size
                self.most = max(self.most, self.now)
            try:
                read_range(start, stop, sink, purpose)
            finally:
                with self._mutex:
                    self.now -= size

        return watched


@pytest.mark.parametrize("budget", [MIB, 4 * MIB])
def test_sequential_readers_share_the_budget(make_cache: MakeCache, source: Source, budget: int) -> None:
    """Two mounts whose readers go through large objects in turns have no more on its way than memory_budget."""
    flights, brief = Flights(), threading.Event()
    source.before = lambda *_: brief.wait(0.001)
    oids = [source.object(key, 24 * MIB) for key in "ab"]
    caches = [make_cache(memory_budget=budget) for _ in oids]
    handles = [
        cache.open_partial(oid, flights.watching(source.reader(oid))) for cache, oid in zip(caches, oids, strict=True)
    ]
    buffer = bytearray(512 * 1024)
    for at in range(0, 24 * MIB, len(buffer)):
        for handle, oid in zip(handles, oids, strict=True):
            assert handle.readinto(at, memoryview(buffer)) == len(buffer)
            assert buffer == source.content(oid)[at : at + len(buffer)]
    for handle in handles:
        handle.close()
    assert source.purposes["readahead"] > 0
    assert flights.most <= budget
    assert source.bytes_given == 48 * MIB


def test_promotion_keeps_to_the_budget(make_cache: MakeCache, source: Source) -> None:
    """Random reads that end in fetching the whole object have no more on its way than memory_budget."""
    flights, released = Flights(), threading.Event()
    source.before = lambda *_: released.wait(0.2)
    oid = source.object("a", 24 * MIB)
    with make_cache(memory_budget=2 * MIB).open_partial(oid, flights.watching(source.reader(oid))) as handle:
        handle.readinto(2 * MIB, memoryview(bytearray(10)))
        released.set()
        for number in range(40):
            handle.readinto((23 - number % 20) * MIB - number * BLOCK, memoryview(bytearray(10)))
        os.close(handle.complete())
    assert source.purposes["promotion"] > 0
    assert flights.most <= 2 * MIB
