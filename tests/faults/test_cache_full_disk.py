"""A disk, or a bound, that takes no more: reads go on from memory, whole files are ENOSPC, nothing wrong stays."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import vfsoverlay
from tests.cache_source import MIB, Source, read_all
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._model import ObjectId
from vfsoverlay.testing import S3Server


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    libc = ctypes.CDLL(None, use_errno=True)
    target = os.fsencode(tmp_path)
    if libc.mount(b"tmpfs", target, b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip(f"a file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield tmp_path
    assert libc.umount2(target, 2) == 0


@pytest.fixture
def tiny_files(tmp_path: Path) -> Iterator[Path]:
    """No file of this process may grow beyond 1.5 MiB."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB // 2, old[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def reads(cache: BlockCache, source: Source, oid: ObjectId) -> bool:
    """Whether the object reads right in steps, in order and from its end."""
    body = source.content(oid)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        buffer = bytearray(oid.size)
        for at in [max(0, oid.size - 1000), *range(0, oid.size, 50_000)]:
            handle.readinto(at, memoryview(buffer)[at : at + 50_000])
    return bytes(buffer) == body


@pytest.mark.parametrize("size", [100_000, 3 * MIB, 16 * MIB])
def test_a_full_disk_never_fails_a_read(tiny_disk: Path, size: int) -> None:
    """On a disk that another program has filled, small, large and huge objects read right."""
    source = Source()
    cache = BlockCache(str(tiny_disk / "cache"), block_size=64 * 1024, cache_size=1 << 30, min_free=0)
    with (tiny_disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
        while ballast.write(bytes(4096)):
            pass
    oid = source.object("a", size)
    assert reads(cache, source, oid)
    with pytest.raises(OSError, match=r"no space left for the .* bytes of a in the cache") as caught:
        cache.complete(oid, source.reader(oid))
    # The file name is the caller's to give.
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, None)
    assert str(tiny_disk / "cache") in str(caught.value)
    (tiny_disk / "ballast").unlink()
    assert reads(cache, source, oid)
    assert cache.check().is_clean


def test_an_object_larger_than_the_disk(tiny_disk: Path) -> None:
    """An object that the whole disk could not hold reads right, and the disk is usable for others afterwards."""
    source = Source()
    cache = BlockCache(str(tiny_disk / "cache"), block_size=64 * 1024, cache_size=1 << 30, min_free=0)
    assert reads(cache, source, source.object("huge", 12 * MIB))
    small = source.object("small", 1000)
    assert read_all(cache.complete(small, source.reader(small))) == source.content(small)
    assert cache.check().is_clean


def test_old_objects_make_room_on_a_full_disk(tiny_disk: Path) -> None:
    """A full disk is cured by evicting what nobody uses, before anything fails."""
    source = Source()
    cache = BlockCache(str(tiny_disk / "cache"), block_size=64 * 1024, cache_size=1 << 30, min_free=0)
    for number in range(20):
        oid = source.object(f"key-{number}", 700_000)
        assert read_all(cache.complete(oid, source.reader(oid))) == source.content(oid)
    assert cache.check().is_clean


def test_a_limit_of_file_sizes(tiny_files: Path) -> None:
    """EFBIG from a resource limit is a full disk: reads go on, whole files are ENOSPC."""
    source = Source()
    cache = BlockCache(str(tiny_files / "cache"), block_size=64 * 1024, cache_size=1 << 30, min_free=0)
    oid = source.object("a", 3 * MIB)
    assert reads(cache, source, oid)
    with pytest.raises(OSError, match="no space left") as caught:
        cache.complete(oid, source.reader(oid))
    assert caught.value.errno == errno.ENOSPC
    assert cache.check().is_clean


@pytest.mark.parametrize("size", [100, 600_000, 5 * MIB])
def test_the_bound_holds_and_reads_go_on(tmp_path: Path, size: int) -> None:
    """Under a bound of 2 MiB, a loop over objects of any size reads right and leaves no more than the bound on disk."""
    source = Source()
    cache = BlockCache(str(tmp_path), block_size=64 * 1024, cache_size=2 * MIB, min_free=0)
    for number in range(6):
        assert reads(cache, source, source.object(f"key-{number}", size))
        # The map of an object counts with its data, but is not counted before it is written.
        assert cache.usage().allocated <= 2 * MIB + 64 * 1024
    assert cache.check().is_clean


def test_min_free_counts_as_full(tmp_path: Path) -> None:
    """Where the disk has less than min_free left, nothing stays, and reads go on."""
    source = Source()
    cache = BlockCache(str(tmp_path), block_size=64 * 1024, cache_size=64 * MIB, min_free=1 << 60)
    oid = source.object("a", 4 * MIB)
    assert reads(cache, source, oid)
    with pytest.raises(OSError, match="no space left"):
        cache.complete(oid, source.reader(oid))


def test_a_listing_that_does_not_fit(tiny_disk: Path) -> None:
    """A disk too full for the names fails the mount with ENOSPC and the directory, and leaves nothing behind."""
    (tiny_disk / "ballast").write_bytes(bytes(3 * MIB))
    with S3Server() as server:
        server.create_bucket("data", public=True)
        for number in range(600):
            server.put("data", f"{number}/{'n' * 200}/{'n' * 200}/" * 3 + "file", b"")
        with pytest.raises(OSError, match=r"the listing cannot be written: .*choose another cache_dir") as caught:
            vfsoverlay.mount("s3://data/", "/content/data", cache_dir=str(tiny_disk), **server.mount_options())
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tiny_disk / "v1/index")
    assert not list((tiny_disk / "v1/index").iterdir())
    assert not vfsoverlay.mounts()
