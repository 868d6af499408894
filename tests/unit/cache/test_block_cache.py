"""Whole objects: fetched once, served as plain descriptors, believed only while their file looks as recorded."""

from __future__ import annotations

import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cache_source import MIB, Source, read_all
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache import layout
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.layout import SMALL_OBJECT
from vfsoverlay._cache.read_range import Sink
from vfsoverlay._metrics import Metrics

SIZES = [0, 1, 16 * 1024, SMALL_OBJECT, SMALL_OBJECT + 1, 3 * MIB + 17]


@pytest.mark.parametrize("size", SIZES)
def test_complete_gives_the_bytes(cache: BlockCache, source: Source, size: int) -> None:
    """A completed object has exactly the bytes of the store, whatever its size."""
    oid = source.object("a", size)
    assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)


@pytest.mark.parametrize("size", SIZES)
def test_every_byte_is_asked_for_once(cache: BlockCache, source: Source, size: int) -> None:
    """Completing an object twice asks the store for each byte once; an empty object asks for nothing."""
    oid = source.object("a", size)
    for _ in range(2):
        os.close(cache.complete(oid, source.reader(oid)))
    assert source.bytes_given == size


@pytest.mark.parametrize("size", SIZES)
def test_open_complete_never_asks_the_store(cache: BlockCache, source: Source, size: int) -> None:
    """open_complete is None before, and a descriptor after the object was completed."""
    oid = source.object("a", size)
    assert cache.open_complete(oid) is None
    os.close(cache.complete(oid, source.reader(oid)))
    fd = cache.open_complete(oid)
    assert fd is not None
    assert read_all(fd) == source.content(oid)
    assert source.bytes_given == size


@pytest.mark.parametrize("size", SIZES)
def test_another_process_finds_what_is_complete(make_cache: MakeCache, source: Source, size: int) -> None:
    """A cache that is opened later serves what an earlier one has completed, without a request."""
    oid = source.object("a", size)
    os.close(make_cache().complete(oid, source.reader(oid)))
    fd = make_cache().open_complete(oid)
    assert fd is not None
    assert read_all(fd) == source.content(oid)


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_data_files_are_read_only(cache: BlockCache, source: Source, size: int) -> None:
    """Complete data files have mode 0400, descriptors are O_RDONLY and not inherited by programs."""
    oid = source.object("a", size)
    fd = cache.complete(oid, source.reader(oid))
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o400
    assert not os.get_inheritable(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fd, b"x")
    os.close(fd)


def test_versions_never_mix(cache: BlockCache, source: Source) -> None:
    """Two versions of one key are two files with their own bytes."""
    old, new = source.object("a", 1000, "old"), source.object("a", 1000, "new")
    assert read_all(cache.complete(old, source.reader(old))) == source.content(old)
    assert read_all(cache.complete(new, source.reader(new))) == source.content(new)
    assert read_all(cache.complete(old, source.reader(old))) == source.content(old)


@pytest.mark.parametrize("size", [16 * 1024, 2 * MIB])
def test_threads_share_one_fetch(cache: BlockCache, source: Source, size: int) -> None:
    """Sixteen threads that want one cold object get its bytes, and each byte is asked for once."""
    oid = source.object("a", size)
    start = threading.Barrier(16)

    def read() -> bytes:
        start.wait()
        return read_all(cache.complete(oid, source.reader(oid)))

    with ThreadPoolExecutor(16) as pool:
        results = [future.result() for future in [pool.submit(read) for _ in range(16)]]
    assert all(result == source.content(oid) for result in results)
    assert source.bytes_given == size


@pytest.mark.parametrize("size", [16 * 1024, 2 * MIB])
def test_two_caches_share_one_fetch(make_cache: MakeCache, source: Source, size: int) -> None:
    """Two caches over one directory, as two processes have them, do not fetch a byte twice."""
    oid = source.object("a", size)
    caches = [make_cache(), make_cache()]
    start = threading.Barrier(2)

    def read(cache: BlockCache) -> bytes:
        start.wait()
        return read_all(cache.complete(oid, source.reader(oid)))

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(read, caches))
    assert results == [source.content(oid)] * 2
    assert source.bytes_given == size


@pytest.mark.parametrize("size", [16 * 1024, 2 * MIB])
def test_a_failure_of_the_store_is_raised_and_forgotten(cache: BlockCache, source: Source, size: int) -> None:
    """What the store raises reaches the caller; the next try succeeds."""
    oid = source.object("a", size)

    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    source.before = fail
    with pytest.raises(PermissionError, match="denied"):
        cache.complete(oid, source.reader(oid))
    assert cache.open_complete(oid) is None
    source.before = lambda *_: None
    assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)


@pytest.mark.parametrize("size", [16 * 1024, 2 * MIB])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_store_that_gives_too_little_or_too_much(cache: BlockCache, source: Source, size: int, change: int) -> None:
    """A body of another length than asked for is EIO, and nothing of it is served as the object."""
    oid = source.object("a", size)
    body = memoryview(source.content(oid) + b"x")

    def wrong(start: int, stop: int, sink: Sink, purpose: str) -> None:
        sink(body[start : stop + change])

    with pytest.raises(OSError, match="the store gave") as caught:
        cache.complete(oid, wrong)
    assert caught.value.errno == errno.EIO
    assert cache.open_complete(oid) is None


def test_waiting_is_bounded(make_cache: MakeCache, source: Source) -> None:
    """A caller who has waited for another's fetch until its deadline fetches for itself, and gets the right bytes."""
    oid = source.object("a", 1000)
    fetching, let_go = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        fetching.set()
        assert let_go.wait(20)

    slow = Source()
    slow.before = hang
    cache = make_cache(deadline=0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: read_all(cache.complete(oid, slow.reader(oid))))
        assert fetching.wait(20)
        for other in (cache, make_cache(deadline=0.05)):
            assert read_all(other.complete(oid, source.reader(oid))) == source.content(oid)
        assert len(source.ranges) == 2
        let_go.set()
        assert first.result() == source.content(oid)


def test_what_was_used_last_is_counted_by_opening(make_cache: MakeCache, source: Source) -> None:
    """Opening a complete file changes neither its mtime nor its ctime."""
    oid = source.object("a", 1000)
    cache = make_cache()
    fd = cache.complete(oid, source.reader(oid))
    before = os.fstat(fd)
    for _ in range(3):
        other = cache.open_complete(oid)
        assert other is not None
        os.close(other)
    after = os.fstat(fd)
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    os.close(fd)


@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_usage_and_clear(cache: BlockCache, source: Source, size: int) -> None:
    """usage() counts versions and bytes; clear() leaves nothing that is not in use, and the next read fetches again."""
    oid = source.object("a", size)
    os.close(cache.complete(oid, source.reader(oid)))
    objects, allocated = cache.usage()
    assert objects == 1
    assert allocated >= size
    assert cache.clear() == allocated
    assert cache.usage() == (0, 0)
    assert cache.open_complete(oid) is None
    assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)


def test_directories_are_private(tmp_path: Path) -> None:
    """Everything below the cache directory is readable by its owner only, whatever it was before."""
    (tmp_path / "cache" / "v1").mkdir(parents=True, mode=0o777)
    BlockCache(str(tmp_path / "cache")).close()
    found = [path for path in (tmp_path / "cache" / "v1").rglob("*") if path.is_dir()] + [tmp_path / "cache" / "v1"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o700}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A cache directory that is a file fails at once, and the error names it."""
    (tmp_path / "v1").write_text("in the way")
    with pytest.raises(NotADirectoryError) as caught:
        BlockCache(str(tmp_path))
    assert caught.value.filename == str(tmp_path / "v1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that belongs to somebody else")
def test_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    """A cache directory that belongs to another user is refused: they could change what we read."""
    (tmp_path / "v1").mkdir()
    os.chown(tmp_path / "v1", 12345, 12345)
    with pytest.raises(PermissionError, match="belongs to user 12345") as caught:
        BlockCache(str(tmp_path))
    assert caught.value.filename == str(tmp_path / "v1")


def test_keys_never_become_names(cache: BlockCache, source: Source) -> None:
    """A key with slashes, dots and odd bytes is just another hash."""
    oid = source.object("../../etc/passwd\0\udcff", 10)
    assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)
    assert cache.layout.stem(oid).startswith(cache.layout.objects + "/")
    assert "passwd" not in cache.layout.stem(oid)


@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_new_boot_is_verified_not_believed(make_cache: MakeCache, source: Source, size: int) -> None:
    """After another boot a complete file is a miss for open_complete, and served without a request once verified."""
    oid = source.object("a", size)
    os.close(make_cache(boot=b"1" * 16).complete(oid, source.reader(oid)))
    later = make_cache(boot=b"2" * 16)
    assert later.open_complete(oid) is None
    assert read_all(later.complete(oid, source.reader(oid))) == source.content(oid)
    assert source.bytes_given == size
    fd = later.open_complete(oid)
    assert fd is not None
    os.close(fd)


def test_purposes_are_handed_on(cache: BlockCache, source: Source) -> None:
    """The store is told why it is asked."""
    small, large = source.object("a", 10), source.object("b", 2 * MIB)
    os.close(cache.complete(small, source.reader(small), purpose="warm"))
    os.close(cache.complete(large, source.reader(large), purpose="promotion"))
    assert set(source.purposes) == {"warm", "promotion"}


def test_evictions_are_counted(make_cache: MakeCache, source: Source) -> None:
    """Each evicted version counts once."""
    metrics = Metrics()
    cache = make_cache(metrics=metrics)
    for key in "abc":
        oid = source.object(key, 10)
        os.close(cache.complete(oid, source.reader(oid)))
    cache.clear()
    assert metrics.snapshot()["evictions"] == 3


def test_zero_bytes_have_a_file(cache: BlockCache, source: Source) -> None:
    """An empty object has a data file, so that its descriptor is as good as any other."""
    oid = source.object("a", 0)
    os.close(cache.complete(oid, source.reader(oid)))
    assert Path(cache.layout.stem(oid) + layout.DATA).stat().st_size == 0
