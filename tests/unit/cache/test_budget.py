"""The bound of the cache holds whatever becomes of the processes that fill it."""

from __future__ import annotations

import os
import tempfile
import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cache_source import MIB, Source
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache.block_cache import BlockCache

#: What a process counts ahead in a cache of ``BOUND`` bytes.
BOUND = 8 * MIB
STEP = BOUND // 64


def test_processes_that_leave_without_a_word(make_cache: MakeCache, source: Source) -> None:
    """The cache stays within its bound though each process writes less than a step and is killed before it says so."""
    for number in range(100):
        cache = make_cache(cache_size=BOUND)
        oid = source.object(f"key-{number}", STEP - 10_000)
        os.close(cache.complete(oid, source.reader(oid)))
        assert cache.usage().allocated <= BOUND


def test_a_full_cache_stays_full(make_cache: MakeCache, source: Source) -> None:
    """However often a cache that is full of one open object is asked for room, it does not grow beyond its bound."""
    cache = make_cache(cache_size=BOUND, readahead=False, promotion=False)
    oid = source.object("large", 4 * BOUND)
    buffer = memoryview(bytearray(BOUND // 32))  # one GET, in this thread
    with cache.open_partial(oid, source.reader(oid)) as handle:
        for at in range(0, 3 * BOUND, len(buffer)):
            handle.readinto(at, buffer)
            if at > BOUND and at % (BOUND // 4) == 0:
                # For a moment nobody is let in; then pins are looked at again.
                while time.monotonic() < cache._budget._hopeless_until:
                    threading.Event().wait(0.01)
        assert cache.usage().allocated <= BOUND + 64 * 1024  # the map is written before it is counted


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["fetch", "fetch", "fetch", "count", "leave", "close"]), st.integers(0, 2))))
def test_what_is_on_disk_is_counted(steps: list[tuple[str, int]]) -> None:
    """Whatever processes do, less than a step for each that lives is on disk beyond what the ledger says."""
    source = Source()
    with tempfile.TemporaryDirectory() as directory:

        def start() -> BlockCache:
            return BlockCache(directory, cache_size=BOUND, min_free=0)

        living = [start() for _ in range(3)]
        for number, (what, which) in enumerate(steps):
            cache = living[which]
            if what == "fetch":
                oid = source.object(f"key-{number}", 50_000)
                os.close(cache.complete(oid, source.reader(oid)))
            elif what == "count":
                cache.evict(0)
            else:
                if what == "close":
                    cache.close()
                living[which] = start()
            counted = cache._budget._ledger.change(lambda _: 0).total
            assert cache.usage().allocated <= counted + len(living) * STEP
