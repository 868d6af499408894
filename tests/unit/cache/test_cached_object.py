"""Partial reads: what is read is fetched, exactly, and nobody can read what is not there yet."""

from __future__ import annotations

import errno
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cache_source import MIB, Source, read_all
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.cached_object import CachedObject
from vfsoverlay._cache.read_range import Sink
from vfsoverlay._metrics import Purpose

SIZE = 3 * MIB + 1000
BLOCK = 64 * 1024


def read(handle: CachedObject, offset: int, length: int) -> bytes:
    """What one readinto gives."""
    buffer = bytearray(length)
    return bytes(buffer[: handle.readinto(offset, memoryview(buffer))])


@pytest.mark.parametrize("size", [0, 1, 5000, SIZE])
def test_reading_in_order_gives_the_bytes(cache: BlockCache, source: Source, size: int) -> None:
    """Reads one after the other give all bytes, then nothing, and each byte was asked for once."""
    oid = source.object("a", size)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        got = b""
        while part := read(handle, len(got), 100_000):
            got += part
    assert got == source.content(oid)
    assert source.bytes_given == size


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (BLOCK - 1, 2), (SIZE - 1, 100), (SIZE, 5), (SIZE + 9, 5)])
def test_odd_ranges(cache: BlockCache, source: Source, offset: int, length: int) -> None:
    """A read is short only at the end of the object, and empty behind it."""
    oid = source.object("a", SIZE)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        assert read(handle, offset, length) == source.content(oid)[offset : offset + length]


def test_random_reads_fetch_exact_blocks(make_cache: MakeCache, source: Source) -> None:
    """A read away from all others fetches the blocks it touches and nothing else."""
    cache = make_cache(promotion=False)
    oid = source.object("a", SIZE)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        read(handle, 2 * MIB + 10, 100)
        read(handle, MIB - 1, 2)
    assert source.ranges == [("a", 2 * MIB, 2 * MIB + BLOCK), ("a", MIB - BLOCK, MIB + BLOCK)]


def test_blocks_stay(make_cache: MakeCache, source: Source) -> None:
    """What one handle has fetched, a later handle in another process reads without a request."""
    oid = source.object("a", SIZE)
    for _ in range(2):
        with make_cache(promotion=False).open_partial(oid, source.reader(oid)) as handle:
            assert read(handle, 2 * MIB, 10) == source.content(oid)[2 * MIB : 2 * MIB + 10]
    assert len(source.ranges) == 1


@pytest.mark.parametrize("size", [5000, SIZE])
def test_a_placeholder_cannot_be_read(cache: BlockCache, source: Source, size: int) -> None:
    """The descriptor of an incomplete object answers fstat and refuses to read."""
    oid = source.object("a", size)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        fd = handle.placeholder()
        with pytest.raises(OSError) as caught:
            os.read(fd, 1)
        assert caught.value.errno == errno.EBADF
        os.fstat(fd)
        os.close(fd)


def test_the_file_has_its_length_from_the_start(cache: BlockCache, source: Source) -> None:
    """The fstat of the placeholder of a large object tells the size of the object before a byte was fetched."""
    oid = source.object("a", SIZE)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        fd = handle.placeholder()
        assert os.fstat(fd).st_size == SIZE
        os.close(fd)
    assert not source.ranges


def test_reading_everything_completes(cache: BlockCache, source: Source) -> None:
    """An object of which every block was read is complete: open_complete serves it."""
    oid = source.object("a", SIZE)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        assert read(handle, 0, SIZE) == source.content(oid)
    fd = cache.open_complete(oid)
    assert fd is not None
    assert read_all(fd) == source.content(oid)


@pytest.mark.parametrize("size", [5000, SIZE])
def test_complete_fetches_only_what_is_missing(cache: BlockCache, source: Source, size: int) -> None:
    """complete() on a handle keeps the blocks that are there."""
    oid = source.object("a", size)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        read(handle, size // 2, 10)
        assert read_all(handle.complete()) == source.content(oid)
    assert max(source.times_given(BLOCK).values()) == 1


def test_threads_read_one_handle(cache: BlockCache, source: Source) -> None:
    """Eight threads that read one handle at random get right bytes, and no block is fetched twice."""
    oid = source.object("a", SIZE)
    body = source.content(oid)

    def work(seed: int) -> bool:
        rng = random.Random(seed)
        offsets = [rng.randrange(SIZE) for _ in range(60)]
        return all(read(handle, offset, 5000) == body[offset : offset + 5000] for offset in offsets)

    with cache.open_partial(oid, source.reader(oid)) as handle, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert max(source.times_given(BLOCK).values()) == 1


def test_a_broken_get_keeps_its_whole_blocks(make_cache: MakeCache, source: Source) -> None:
    """Blocks that arrived before a failure are not fetched again."""
    oid = source.object("a", SIZE)
    body = memoryview(source.content(oid))
    cache = make_cache(promotion=False)

    def broken(start: int, stop: int, sink: object, purpose: object) -> None:
        assert callable(sink)
        sink(body[start : start + 2 * BLOCK + 5])
        raise OSError(errno.EIO, "cut")

    with pytest.raises(OSError, match="cut"), cache.open_partial(oid, broken) as handle:
        read(handle, MIB, 4 * BLOCK)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        assert read(handle, MIB, 4 * BLOCK) == body[MIB : MIB + 4 * BLOCK]
    assert source.ranges == [("a", MIB + 2 * BLOCK, MIB + 4 * BLOCK)]


def test_a_waiter_outlives_the_failure_of_another(make_cache: MakeCache, source: Source) -> None:
    """A thread that waits for a block whose fetch fails in another thread fetches it itself."""
    oid = source.object("a", SIZE)
    cache = make_cache(promotion=False)
    failing, go_on = threading.Event(), threading.Event()
    bad = Source()

    def fail(*_: object) -> None:
        failing.set()
        assert go_on.wait(20)
        raise OSError(errno.EIO, "cut")

    bad.before = fail
    source.before = lambda *_: None
    first, second = cache.open_partial(oid, bad.reader(oid)), cache.open_partial(oid, source.reader(oid))
    with first, second, ThreadPoolExecutor(2) as pool:
        broken = pool.submit(read, first, MIB, 10)
        assert failing.wait(20)
        fine = pool.submit(read, second, MIB, 10)
        go_on.set()
        assert fine.result() == source.content(oid)[MIB : MIB + 10]
        with pytest.raises(OSError, match="cut"):
            broken.result()


def test_reading_ahead_asks_in_large_pieces(cache: BlockCache, source: Source) -> None:
    """A reader of 16 MiB in steps of 64 KiB makes few requests, most of them for readahead."""
    oid = source.object("a", 16 * MIB)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        got = b"".join(read(handle, at, BLOCK) for at in range(0, 16 * MIB, BLOCK))
    assert got == source.content(oid)
    assert len(source.ranges) < 64
    assert source.purposes["readahead"] > 0
    assert source.bytes_given == 16 * MIB


def test_a_reader_who_goes_elsewhere_calls_off_what_is_on_its_way(cache: BlockCache, source: Source) -> None:
    """After a jump, GETs that were begun ahead of the reader end at their next piece."""
    oid = source.object("a", 64 * MIB)
    began, ended = threading.Semaphore(0), threading.Semaphore(0)
    jumped, accepted = threading.Event(), []

    def read_range(start: int, stop: int, sink: Sink, purpose: Purpose) -> None:
        if purpose != "readahead" or start < 16 * MIB:
            source.reader(oid)(start, stop, sink, purpose)
            return
        began.release()
        assert jumped.wait(20)
        try:
            sink(memoryview(source.content(oid))[start : start + BLOCK])
            accepted.append(start)
        finally:
            ended.release()

    with cache.open_partial(oid, read_range) as handle:
        for at in range(0, 12 * MIB, MIB):
            read(handle, at, MIB)
        assert began.acquire(timeout=20)
        assert read(handle, 60 * MIB, 10) == source.content(oid)[60 * MIB : 60 * MIB + 10]
        jumped.set()
        assert ended.acquire(timeout=20)
        assert not accepted


def test_two_handles_share_the_blocks(make_cache: MakeCache, source: Source) -> None:
    """Two handles of one process on one object see each other's blocks at once."""
    oid = source.object("a", SIZE)
    cache = make_cache(promotion=False)
    with cache.open_partial(oid, source.reader(oid)) as one, cache.open_partial(oid, source.reader(oid)) as other:
        assert read(one, MIB, 10) == read(other, MIB, 10)
    assert len(source.ranges) == 1


def test_closing_twice_is_harmless(cache: BlockCache, source: Source) -> None:
    """close() may be called again, and the object can be opened anew."""
    oid = source.object("a", SIZE)
    handle = cache.open_partial(oid, source.reader(oid))
    handle.close()
    handle.close()
    with cache.open_partial(oid, source.reader(oid)) as again:
        assert read(again, 0, 10) == source.content(oid)[:10]


def test_many_random_reads_fetch_the_whole_object(cache: BlockCache, source: Source) -> None:
    """Random readers who have waited long enough get the whole object, for the purpose of promotion."""
    oid = source.object("a", 24 * MIB)
    released = threading.Event()
    # The first read waits for longer than the whole object would take.
    source.before = lambda *_: released.wait(0.2)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        read(handle, 2 * MIB, 10)
        released.set()
        for number in range(30):
            read(handle, (23 - number % 20) * MIB - number * BLOCK, 10)
        assert read_all(handle.complete()) == source.content(oid)
    assert source.purposes["promotion"] > 0


def test_promotion_can_be_switched_off(make_cache: MakeCache, source: Source) -> None:
    """With promotion=False, random reads never fetch more than their blocks."""
    oid = source.object("a", SIZE)
    source.before = lambda *_: threading.Event().wait(0.1)
    with make_cache(promotion=False).open_partial(oid, source.reader(oid)) as handle:
        read(handle, 2 * MIB, 10)
        read(handle, MIB, 10)
    assert source.bytes_given == 2 * BLOCK
