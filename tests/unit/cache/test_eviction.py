"""What leaves first, what may not leave, and that openers and the evictor never miss each other."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.cache_source import MIB, Source, read_all
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.eviction import Version, order
from vfsoverlay._cache.locks import OfdLocks
from vfsoverlay._model import ObjectId


def on_disk(cache: BlockCache, oid: ObjectId) -> bool:
    return Path(cache.layout.stem(oid) + ".data").exists()


def use_at(cache: BlockCache, oid: ObjectId, seconds: float) -> None:
    """Pretend that *oid* was last used then, as far as file times tell."""
    os.utime(cache.layout.stem(oid) + ".data", (seconds, seconds))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=30))
def test_the_order(uses: list[tuple[int, int]]) -> None:
    """Superseded versions leave before current ones, and within each kind older use before newer."""
    versions = [Version(f"/c/{key:016x}-{n:040x}", 1, float(used)) for n, (key, used) in enumerate(uses)]
    ordered = order(versions)
    newest = {v.key: max(o.last_use for o in versions if o.key == v.key) for v in versions}
    superseded = [v.last_use < newest[v.key] for v in ordered]
    assert sorted(ordered) == sorted(versions)
    assert superseded == sorted(superseded, reverse=True)
    for kind in (True, False):
        times = [v.last_use for v, is_old in zip(ordered, superseded, strict=True) if is_old is kind]
        assert times == sorted(times)


def test_oldest_use_leaves_first(make_cache: MakeCache, source: Source) -> None:
    """Evicting a little removes what was not used for longest."""
    cache = make_cache()
    oids = [source.object(f"key-{number}", 100_000) for number in range(4)]
    for number, oid in enumerate(oids):
        os.close(cache.complete(oid, source.reader(oid)))
        use_at(cache, oid, 1000.0 + number)
    # Another process: this one would say that it has just used them all.
    make_cache().evict(150_000)
    assert [on_disk(cache, oid) for oid in oids] == [False, False, True, True]


def test_a_superseded_version_leaves_first(make_cache: MakeCache, source: Source) -> None:
    """An older version of an object leaves before other objects that were used even longer ago."""
    cache = make_cache()
    old, new = source.object("a", 1000, "old"), source.object("a", 1000, "new")
    other = source.object("b", 1000)
    for seconds, oid in ((3000.0, old), (4000.0, new), (1000.0, other)):
        os.close(cache.complete(oid, source.reader(oid)))
        use_at(cache, oid, seconds)
    make_cache().evict(1)
    assert [on_disk(cache, oid) for oid in (old, new, other)] == [False, True, True]


def test_what_is_open_stays(cache: BlockCache, source: Source) -> None:
    """Complete files with an open descriptor, and objects with an open handle, are not evicted; others are."""
    small, large, loose = (source.object(key, size) for key, size in (("a", 10), ("b", 2 * MIB), ("c", 10)))
    fd = cache.complete(small, source.reader(small))
    os.close(cache.complete(loose, source.reader(loose)))
    with cache.open_partial(large, source.reader(large)) as handle:
        handle.readinto(0, memoryview(bytearray(10)))
        cache.clear()
        assert [on_disk(cache, oid) for oid in (small, large, loose)] == [True, True, False]
    duplicate = os.dup(fd)
    os.close(fd)
    cache.clear()
    assert on_disk(cache, small)
    os.close(duplicate)
    cache.clear()
    assert cache.usage().objects == 0


def test_a_mapped_file_reads_on(cache: BlockCache, source: Source) -> None:
    """A file that is evicted after its descriptor was closed keeps its bytes for whoever has it mapped."""
    import mmap

    oid = source.object("a", 100_000)
    fd = cache.complete(oid, source.reader(oid))
    mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    cache.clear()
    assert mapped[:] == source.content(oid)
    mapped.close()
    os.close(fd)


def test_openers_and_the_evictor_never_miss_each_other(make_cache: MakeCache, source: Source) -> None:
    """While one thread evicts without pause, every descriptor that others open is right, and stays named while open."""
    evicting, reading = make_cache(), make_cache()
    oids = [source.object(f"key-{number}", 3000) for number in range(4)]
    stop = threading.Event()

    def evict() -> None:
        while not stop.is_set():
            evicting.clear()

    thread = threading.Thread(target=evict)
    thread.start()
    try:
        for number in range(400):
            oid = oids[number % 4]
            fd = reading.complete(oid, source.reader(oid))
            assert os.fstat(fd).st_nlink == 1
            assert read_all(fd) == source.content(oid)
    finally:
        stop.set()
        thread.join()


def test_records_of_the_dead_are_dropped(make_cache: MakeCache, source: Source) -> None:
    """The record file of a shard does not grow forever with objects that come and go."""
    cache = make_cache()
    oid = source.object("a", 1)
    for _ in range(950):
        os.close(cache.complete(oid, source.reader(oid)))
        cache._evictor.evict(cache.layout.stem(oid))
    os.close(cache.complete(oid, source.reader(oid)))
    records = Path(cache.layout.stem(oid)).parent / "records"
    before = records.stat().st_size
    cache.clear()
    assert records.stat().st_size < before / 100


def test_litter_of_killed_processes_is_removed(cache: BlockCache, source: Source) -> None:
    """Temporary files that are older than an hour go with the next eviction; younger ones stay."""
    oid = source.object("a", 10)
    os.close(cache.complete(oid, source.reader(oid)))
    stem = cache.layout.stem(oid)
    for suffix in (".tmp", ".doomed", ".map.tmp", ".123-456.tmp"):
        Path(stem + suffix).write_bytes(b"x")
        os.utime(stem + suffix, (1000, 1000))
    Path(stem + ".9-9.tmp").write_bytes(b"x")
    cache.evict(0)
    left = {path.name.partition(".")[2] for path in Path(stem).parent.iterdir()}
    assert left == {"data", "9-9.tmp", ""}


def test_the_cache_is_deleted_while_it_is_evicted_from(make_cache: MakeCache, source: Source, tmp_path: Path) -> None:
    """An evictor whose files somebody deletes between two of its steps goes on, and so does the cache."""

    class Deleting(OfdLocks):
        """Deletes the cache where the evictor looks for pins: the file is open by then, and not yet renamed."""

        def is_pinned(self, fd: int) -> bool:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            return super().is_pinned(fd)

    cache = make_cache(kind_of_locks=Deleting())
    oids = [source.object(key, size) for key, size in (("small", 5000), ("large", 2 * MIB))]
    for _ in range(2):
        for oid in oids:
            assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)
        cache.clear()
    assert cache.usage().objects == 0
