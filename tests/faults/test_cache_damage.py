"""Files of the cache that were changed, cut, lost or left half-made: readers get right bytes, and check() is clean."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cache_source import MIB, Source, read_all
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._model import ObjectId

LARGE = MIB + 4 * 64 * 1024 + 100
SMALL = 16 * 1024
BLOCK = 64 * 1024


class World:
    """A cache directory that processes come to one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.source = Source()

    def cache(self, boot: bytes = b"b" * 16) -> BlockCache:
        """The cache as a new process opens it."""
        return BlockCache(str(self.directory), block_size=BLOCK, cache_size=1 << 30, min_free=0, boot=boot)

    def fill(self, oid: ObjectId, *, whole: bool) -> None:
        """Bring *oid* to disk: all of it, or some blocks."""
        cache = self.cache()
        if whole:
            os.close(cache.complete(oid, self.source.reader(oid)))
        else:
            with cache.open_partial(oid, self.source.reader(oid)) as handle:
                # Not from the start, or readahead would still be at work when the damage is done.
                for offset in (2 * BLOCK, MIB):
                    handle.readinto(offset, memoryview(bytearray(3 * BLOCK)))
        cache.close()

    def file(self, oid: ObjectId, suffix: str) -> Path:
        """The file of *oid* with this suffix."""
        return Path(self.cache().layout.stem(oid) + suffix)

    def serves(self, oid: ObjectId, boot: bytes = b"b" * 16) -> bool:
        """Whether a new process reads the right bytes, piece by piece and as a whole."""
        cache, body = self.cache(boot), self.source.content(oid)
        with cache.open_partial(oid, self.source.reader(oid)) as handle:
            buffer = bytearray(oid.size)
            for at in range(0, oid.size, 40_000):
                handle.readinto(at, memoryview(buffer)[at : at + 40_000])
        return bytes(buffer) == body == read_all(cache.complete(oid, self.source.reader(oid)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ends with a check that finds nothing wrong."""
    world = World(tmp_path / "cache")
    yield world
    world.cache().check()
    assert world.cache().check().is_clean


def flip(path: Path, at: int) -> None:
    """Invert one byte, as a bad disk does: even in a read-only file."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))


def flip_unseen(path: Path, at: int) -> None:
    """Invert one byte and put the old times back, as far as one can."""
    found = path.stat()
    flip(path, at)
    path.chmod(found.st_mode)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def cut(path: Path, at: int) -> None:
    path.chmod(0o600)
    os.truncate(path, at)


def grow(path: Path, at: int) -> None:
    path.chmod(0o600)
    with path.open("ab") as file:
        file.write(b"x" * (at + 1))


def remove(path: Path, at: int) -> None:
    path.unlink()


def zero(path: Path, at: int) -> None:
    """Lose the pages from *at* on, as a crash of the machine may."""
    path.chmod(0o600)
    size = path.stat().st_size
    os.truncate(path, at)
    os.truncate(path, size)


DAMAGE = [flip, flip_unseen, cut, grow, remove, zero]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("whole", [True, False], ids=["complete", "incomplete"])
def test_damaged_data_of_a_large_object(world: World, damage: Callable[[Path, int], None], whole: bool) -> None:
    """Whatever happens to the data file of a large object, readers get the bytes of the store."""
    oid = world.source.object("a", LARGE)
    world.fill(oid, whole=whole)
    damage(world.file(oid, ".data"), MIB + 5)
    assert world.serves(oid)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("whole", [True, False], ids=["complete", "incomplete"])
@pytest.mark.parametrize("at", [0, 20, 130, 140, 160, 200])
def test_damaged_maps(world: World, damage: Callable[[Path, int], None], whole: bool, at: int) -> None:
    """Whatever happens to the map of a large object, in header, states or checksums, readers get the right bytes."""
    oid = world.source.object("a", LARGE)
    world.fill(oid, whole=whole)
    damage(world.file(oid, ".map"), at)
    assert world.serves(oid)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_data_of_a_small_object(world: World, damage: Callable[[Path, int], None]) -> None:
    """Whatever happens to the data file of a small object, readers get the bytes of the store."""
    oid = world.source.object("a", SMALL)
    world.fill(oid, whole=True)
    damage(world.file(oid, ".data"), 77)
    assert world.serves(oid)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("at", [0, 30, 71])
def test_damaged_records(world: World, damage: Callable[[Path, int], None], at: int) -> None:
    """Whatever happens to the record file of a shard, readers get the right bytes."""
    oid = world.source.object("a", SMALL)
    world.fill(oid, whole=True)
    damage(world.file(oid, ".data").parent / "records", at)
    assert world.serves(oid)


@pytest.mark.parametrize("key_seed", range(6))
def test_random_flips_everywhere(world: World, key_seed: int) -> None:
    """Twenty flipped bytes anywhere in an incomplete cache never reach a reader."""
    rng = random.Random(key_seed)
    oids = [world.source.object(f"large-{n}", LARGE) for n in range(2)]
    for oid in oids:
        world.fill(oid, whole=False)
    files = sorted(path for path in world.directory.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(20):
        path = rng.choice(files)
        flip_unseen(path, rng.randrange(path.stat().st_size))
    assert all(world.serves(oid) for oid in oids)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_silent_rot_is_found_by_check(world: World, size: int) -> None:
    """A complete file whose bytes changed behind the file system's back is reported by check() and dropped."""
    oid = world.source.object("a", size)
    world.fill(oid, whole=True)
    data = world.file(oid, ".data")
    flip(data, 100)
    data.chmod(0o400)
    _make_the_record_agree(world, oid)
    report = world.cache().check()
    assert [problem.what for problem in report.problems]
    assert world.serves(oid)


def _make_the_record_agree(world: World, oid: ObjectId) -> None:
    """What only a failing disk can do: other bytes under unchanged times."""
    from vfsoverlay._cache import layout
    from vfsoverlay._cache.locks import OfdLocks, try_acquire
    from vfsoverlay._cache.presence_map import PresenceMap
    from vfsoverlay._cache.records import RecordFile

    found = world.file(oid, ".data").stat()
    if oid.size <= layout.SMALL_OBJECT:
        records = RecordFile(str(world.file(oid, ".data").parent / "records"), OfdLocks())
        old = records.lookup(oid.digest)
        assert old is not None
        held = try_acquire(OfdLocks(), f"{world.file(oid, '.data').parent}/records", layout.FIRST_LOCK_BYTE)
        assert held is not None
        with held:
            records.append(oid.digest, old._replace(mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns), held)
    else:
        presence = PresenceMap.open(str(world.file(oid, ".map")), oid.digest, oid.size)
        assert presence is not None
        presence.seal(found)
        presence.close()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("lost", [0, 4096])
def test_a_crash_of_the_machine(world: World, size: int, lost: int) -> None:
    """After another boot, a complete file whose pages were lost with all its times intact is not believed."""
    oid = world.source.object("a", size)
    world.fill(oid, whole=True)
    data = world.file(oid, ".data")
    zero(data, lost)
    data.chmod(0o400)
    _make_the_record_agree(world, oid)
    assert world.serves(oid, boot=b"another boot id!")


def test_the_cache_is_deleted_while_in_use(world: World) -> None:
    """With the cache directory gone, open handles read on, and the same cache fetches anew."""
    cache = world.cache()
    small, large = world.source.object("a", SMALL), world.source.object("b", LARGE)
    reader = world.source.reader
    fd = cache.complete(small, reader(small))
    with cache.open_partial(large, reader(large)) as handle:
        handle.readinto(0, memoryview(bytearray(10)))
        shutil.rmtree(world.directory)
        buffer = bytearray(LARGE)
        assert handle.readinto(0, memoryview(buffer)) == LARGE
        assert bytes(buffer) == world.source.content(large)
    assert read_all(fd) == world.source.content(small)
    for oid in (small, large):
        assert read_all(cache.complete(oid, reader(oid))) == world.source.content(oid)
    assert world.cache().usage().objects == 2


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
def test_the_cache_is_deleted_during_each_fetch(world: World, size: int, whole: bool) -> None:
    """A directory that is deleted whenever bytes are under way costs requests, and is made again."""
    cache, oid = world.cache(), world.source.object("a", size)
    reader, body = world.source.reader(oid), world.source.content(oid)
    world.source.before = lambda *_: shutil.rmtree(world.directory, ignore_errors=True)
    for _ in range(3):
        if whole:
            assert read_all(cache.complete(oid, reader)) == body
        else:
            with cache.open_partial(oid, reader) as handle:
                buffer = bytearray(size)
                assert handle.readinto(0, memoryview(buffer)) == size
            assert bytes(buffer) == body
    world.source.before = lambda *_: None
    assert world.serves(oid)
    assert world.cache().usage().objects == 1


def test_a_cache_that_was_tidied_up_stays_so(world: World) -> None:
    """Closing a cache whose directory somebody has removed does not make it again."""
    cache, oid = world.cache(), world.source.object("a", SMALL)
    os.close(cache.complete(oid, world.source.reader(oid)))
    shutil.rmtree(world.directory)
    cache.close()
    assert not world.directory.exists()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_a_killed_writer_left(world: World, size: int) -> None:
    """Half-made files under the names that a fetch uses do not stop the next fetch."""
    oid = world.source.object("a", size)
    for suffix in (".tmp", ".data", ".map.tmp", ".doomed"):
        path = world.file(oid, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        path.chmod(0o400)
    assert world.serves(oid)


def test_a_foreign_format_is_left_alone(world: World) -> None:
    """Files of another format version lie in another directory and stay as they are."""
    other = world.directory / "v0" / "objects" / "x"
    other.parent.mkdir(parents=True)
    other.write_text("older")
    oid = world.source.object("a", SMALL)
    assert world.serves(oid)
    world.cache().clear()
    assert other.read_text() == "older"
