"""Many processes on one cache directory: each block crosses the network once, whoever asks for it first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cache_source import MIB, Source, count_blocks, read_all, read_log
from tests.processes import cache_reader
from vfsoverlay._cache.block_cache import BlockCache

PROCESSES = 8
THREADS = 4
BLOCK = 64 * 1024


def start(directory: Path, log: Path, *numbers: float) -> subprocess.Popen[bytes]:
    """One process that reads; see ``cache_reader``."""
    root = str(Path(cache_reader.__file__).parent.parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, cache_reader.__file__, str(directory), str(log), *map(str, numbers)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def open_cache(directory: Path) -> BlockCache:
    return BlockCache(str(directory), block_size=BLOCK, cache_size=1 << 30, min_free=0)


@pytest.mark.parametrize(("keys", "size"), [(2, 2 * MIB), (200, 4096)], ids=["large", "small"])
def test_each_block_is_fetched_once(tmp_path: Path, keys: int, size: int) -> None:
    """Eight processes of four threads on cold objects, read in parts and as wholes, fetch each block exactly once."""
    log = tmp_path / "log"
    readers = [start(tmp_path / "cache", log, keys, size, THREADS, seed, 0.002) for seed in range(PROCESSES)]
    assert [reader.wait(50) for reader in readers] == [0] * PROCESSES
    counts = count_blocks(read_log(log), BLOCK)
    assert set(counts.values()) == {1}
    assert len(counts) == keys * -(-size // BLOCK)
    assert open_cache(tmp_path / "cache").check().is_clean


@pytest.mark.parametrize("attempt", range(2))
def test_killed_at_any_moment(tmp_path: Path, attempt: int) -> None:
    """Processes killed while they fetch leave nothing that is wrong, stuck or in the way."""
    log = tmp_path / "log"
    for seed in range(2):
        reader = start(tmp_path / "cache", log, 4, 2 * MIB, THREADS, seed, 0.005)
        wanted = (attempt + 1) * (seed + 1) * MIB // 2
        while reader.poll() is None and not (log.exists() and _bytes(log) >= wanted):
            reader.poll()
        reader.send_signal(signal.SIGKILL)
        reader.wait(20)
    last = start(tmp_path / "cache", log, 4, 2 * MIB, THREADS, 99)
    assert last.wait(50) == 0
    cache = open_cache(tmp_path / "cache")
    assert cache.check().is_clean
    source = Source()
    for number in range(4):
        oid = source.object(f"key-{number}", 2 * MIB)
        assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)
    assert not source.ranges


def _bytes(log: Path) -> int:
    return sum(stop - start for _, start, stop in read_log(log))


def in_child(work: object) -> int:
    """The exit status of a forked child that does *work*; 1 if it raised or gave False."""
    assert callable(work)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("size", [4096, 3 * MIB])
def test_a_forked_child_reads_on(tmp_path: Path, size: int) -> None:
    """A handle that was open when the process forked reads on in the child, and in the parent."""
    source, cache = Source(log=tmp_path / "log"), open_cache(tmp_path / "cache")
    oid = source.object("a", size)
    body = source.content(oid)
    with cache.open_partial(oid, source.reader(oid)) as handle:

        def read() -> bool:
            cache.after_fork()
            buffer = bytearray(size)
            return handle.readinto(0, memoryview(buffer)) == size and bytes(buffer) == body

        handle.readinto(size // 2, memoryview(bytearray(10)))
        assert in_child(read) == 0
        buffer = bytearray(size)
        assert handle.readinto(0, memoryview(buffer)) == size
        assert bytes(buffer) == body
    assert set(count_blocks(read_log(tmp_path / "log"), BLOCK).values()) == {1}
    assert cache.check().is_clean


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("size", [4096, 3 * MIB])
def test_a_fork_while_a_thread_fetches(tmp_path: Path, size: int) -> None:
    """A child forked while a thread of the parent is fetching helps and waits, and fetches nothing a second time."""
    source, cache = Source(log=tmp_path / "log"), open_cache(tmp_path / "cache")
    oid = source.object("a", size)
    fetching, let_go = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        fetching.set()
        assert let_go.wait(20)

    source.before = hang
    parent = threading.Thread(target=lambda: os.close(cache.complete(oid, source.reader(oid))))
    parent.start()
    assert fetching.wait(20)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            cache.after_fork()
            source.before = lambda *_: None
            source._mutex = threading.Lock()
            status = 0 if read_all(cache.complete(oid, source.reader(oid))) == source.content(oid) else 1
        finally:
            os._exit(status)
    let_go.set()
    parent.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert set(count_blocks(read_log(tmp_path / "log"), BLOCK).values()) == {1}
    assert cache.check().is_clean


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_keeps_what_it_inherited_pinned(tmp_path: Path) -> None:
    """A descriptor that a forked child still has keeps its file from being evicted after the parent closed its own."""
    source, cache = Source(), open_cache(tmp_path / "cache")
    oid = source.object("a", 4096)
    fd = cache.complete(oid, source.reader(oid))
    done_read, done_write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(done_write)
        os.read(done_read, 1)
        os._exit(0)
    os.close(fd)
    assert cache.clear() == 0
    os.close(done_write)
    os.waitpid(pid, 0)
    os.close(done_read)
    assert cache.clear() > 0
