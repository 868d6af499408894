"""Whoever has claimed a small object makes its file and its record, in one step of C or in many of Python."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import pytest

from tests.cache_source import Source, content, read_all
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache import layout
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.locks import OfdLocks, acquire
from vfsoverlay._cache.records import Record, RecordFile, find, pack
from vfsoverlay._compiled import compiled

C = compiled("vfsoverlay._cache._small")
only_compiled = pytest.mark.skipif(C is None, reason="nothing is compiled, or it is not wanted")
DIGEST, BOOT = bytes(range(20)), b"b" * 16


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def held(records: Path) -> Iterator[int]:
    """The lock of an object."""
    lock = acquire(OfdLocks(), str(records), layout.FIRST_LOCK_BYTE + 7, 0)
    assert lock is not None
    with lock:
        yield lock.fd


@only_compiled
@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000, 4096, 65_537, 256 * 1024])
def test_one_step_is_as_many(tmp_path: Path, records: Path, held: int, size: int) -> None:
    """The file, its record and what is told of it are those that the steps in Python would make."""
    body = content("key", size)
    path = tmp_path / "x.data"
    looks: tuple[int, int, int, int]
    looks, entry, inode, end = C.keep(held, str(path), body, DIGEST, BOOT)
    found = path.stat()
    assert path.read_bytes() == body
    assert looks == (size, found.st_mtime_ns, found.st_ctime_ns, crc32(body))
    assert found.st_mode & 0o7777 == 0o400
    assert entry == pack(DIGEST, Record(*looks, BOOT)) == records.read_bytes()
    assert (inode, end) == (records.stat().st_ino, 0)


@only_compiled
@pytest.mark.parametrize("torn", [0, 1, 71])
def test_a_torn_record_is_written_over(tmp_path: Path, records: Path, held: int, torn: int) -> None:
    """What a killed writer left behind the last whole record does not shift those that follow."""
    _, first, _, _ = C.keep(held, str(tmp_path / "1.data"), b"one", DIGEST, BOOT)
    with records.open("ab") as file:
        file.write(b"x" * torn)
    _, second, _, end = C.keep(held, str(tmp_path / "2.data"), b"two", DIGEST[::-1], BOOT)
    assert end == len(first)
    assert records.read_bytes()[: 2 * len(first)] == first + second
    assert find(records.read_bytes(), DIGEST[::-1]) is not None


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may have more bytes: a write beyond is EFBIG, as ENOSPC of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@only_compiled
def test_what_is_in_the_way_leaves_nothing(tmp_path: Path, records: Path, held: int) -> None:
    """None, and no file of ours: where one is there, where its directory is not, and where the disk is full."""
    (tmp_path / "there.data").write_bytes(b"mine")
    assert C.keep(held, str(tmp_path / "there.data"), b"x", DIGEST, BOOT) is None
    assert (tmp_path / "there.data").read_bytes() == b"mine"
    assert C.keep(held, str(tmp_path / "nowhere" / "x.data"), b"x", DIGEST, BOOT) is None
    with largest_file(1000):
        assert C.keep(held, str(tmp_path / "large.data"), bytes(1001), DIGEST, BOOT) is None
    other = acquire(OfdLocks(), str(records), 0, 0)
    assert other is not None
    with other:
        assert C.keep(held, str(tmp_path / "late.data"), b"x", DIGEST, BOOT) is None
    assert sorted(os.listdir(tmp_path)) == ["records", "there.data"]
    assert records.read_bytes() == b""


@only_compiled
def test_locks_are_those_of_python(records: Path) -> None:
    """A byte locked in one step is locked for everybody, and free again when it is given back."""
    fd = C.open_locked(str(records), 5)
    other = acquire(OfdLocks(), str(records), 6, 0)
    assert other is not None
    with other:
        assert OfdLocks().conflict(other.fd, 5, 1) == (5, 6)
    assert C.open_locked(str(records), 5) is None
    duplicate = os.dup(fd)
    C.unlock_and_close(fd)
    again = C.open_locked(str(records), 5)
    assert again is not None
    os.close(duplicate)
    C.unlock_and_close(again)


@pytest.mark.parametrize("size", [1000, 256 * 1024 + 1])
def test_junk_in_the_place_of_a_file_is_replaced(make_cache: MakeCache, source: Source, size: int) -> None:
    """What a killed process left under the name of an object is not believed and not in the way."""
    cache, oid = make_cache(), source.object("key", size)
    stem = cache.layout.stem(oid)
    cache.layout.ensure_shard(layout.shard_of(stem))
    Path(stem + layout.DATA).write_bytes(b"junk")
    assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)
    assert len(source.ranges) == 1


def test_a_disk_that_is_full_is_told_once_it_has_come(cache: BlockCache, source: Source) -> None:
    """A write that does not fit is ENOSPC of the object, whose bytes were asked for once; nothing is left of it."""
    oid = source.object("key", 10_000)
    with largest_file(5000), pytest.raises(OSError, match="no space left") as caught:
        cache.complete(oid, source.reader(oid))
    assert caught.value.errno == errno.ENOSPC
    assert not os.path.exists(cache.layout.stem(oid) + layout.DATA)
    assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)


def test_records_of_one_process_are_known_to_it(cache: BlockCache, source: Source) -> None:
    """A process that fills a shard reads its records when another one has written, and otherwise not again."""
    oids = [source.object(f"key-{number}", 100) for number in range(600)]
    for oid in oids:
        os.close(cache.complete(oid, source.reader(oid)))
    shards = {layout.shard_of(cache.layout.stem(oid)) for oid in oids}
    for shard in shards:
        path = cache.layout.records(shard)
        file: RecordFile = cache._small._files[shard]
        assert file._seen == ((os.stat(path).st_ino, os.stat(path).st_size), bytearray(Path(path).read_bytes()))
