"""Locks of both kinds exclude descriptions from each other, vanish with their owner, and pins are seen."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cache_source import MIB, Source, read_all
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache import locks
from vfsoverlay._cache.locks import FlockLocks, Locks, OfdLocks

#: Workers of other tests may still be idle when a test here forks.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

KINDS: list[Locks] = [OfdLocks(), FlockLocks()]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def test_the_best_kind_is_found(tmp_path: Path) -> None:
    """On Linux, a local directory has locks of ranges."""
    assert isinstance(locks.probe(str(tmp_path)), OfdLocks)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_excludes_until_it_is_released(kind: Locks, path: str) -> None:
    """A second description of the same process is refused as another process would be, and gets the lock afterwards."""
    held = locks.try_acquire(kind, path, 5, 10)
    assert held is not None
    assert locks.try_acquire(kind, path, 14, 1) is None
    assert locks.acquire(kind, path, 5, time.monotonic() + 0.01) is None
    held.release()
    held.release()
    with locks.acquire(kind, path, 5, time.monotonic() + 10) as again:  # type: ignore[union-attr]
        assert again.fd >= 0


def test_ranges_are_told_apart(path: str) -> None:
    """Ranges that do not overlap are locked at the same time, and a conflict is located."""
    kind = OfdLocks()
    with locks.try_acquire(kind, path, 10, 5), locks.try_acquire(kind, path, 15, 5) as other:  # type: ignore[union-attr]
        assert other is not None
        fd = os.open(path, os.O_RDWR)
        assert kind.conflict(fd, 0, 10) is None
        assert kind.conflict(fd, 12, 100) is not None
        os.close(fd)


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_does_not_keep_the_locks_of_its_parent(kind: Locks, path: str) -> None:
    """A lock that a parent releases is free even while a forked child still has the descriptor."""
    held = locks.try_acquire(kind, path, 0)
    assert held is not None
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    held.release()
    with locks.try_acquire(kind, path, 0) as again:  # type: ignore[union-attr]
        assert again is not None
    os.close(write)
    os.close(read)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_parent_takes_its_locks_along(kind: Locks, path: str) -> None:
    """After after_fork() a child keeps no lock of its parent alive."""
    held = locks.try_acquire(kind, path, 0)
    assert held is not None
    pid = os.fork()
    if not pid:
        locks.after_fork()
        os._exit(0 if not os.path.exists(f"/proc/self/fd/{held.fd}") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert locks.try_acquire(kind, path, 0) is None
    held.release()


@pytest.mark.parametrize("kind", KINDS)
def test_pins_last_as_long_as_any_duplicate(kind: Locks, path: str) -> None:
    """A pin is seen by others while one duplicate of the descriptor is open, and is no obstacle to other pins."""
    Path(path).write_bytes(b"x")
    first, looking = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    assert not kind.is_pinned(looking)
    kind.pin(first)
    duplicate = os.dup(first)
    os.close(first)
    assert kind.is_pinned(looking)
    os.close(duplicate)
    assert not kind.is_pinned(looking)
    os.close(looking)


@pytest.mark.parametrize("size", [0, 5000, 2 * MIB])
def test_a_cache_without_range_locks(make_cache: MakeCache, source: Source, size: int) -> None:
    """With whole-file locks only, objects are complete, readable in parts, pinned while open, evicted later."""
    cache = make_cache(kind_of_locks=FlockLocks())
    oid = source.object("a", size)
    with cache.open_partial(oid, source.reader(oid)) as handle:
        buffer = bytearray(size)
        assert handle.readinto(0, memoryview(buffer)) == size
    assert bytes(buffer) == source.content(oid)
    fd = cache.complete(oid, source.reader(oid))
    assert cache.clear() == 0
    assert read_all(fd) == source.content(oid)
    cache.clear()
    assert cache.usage().objects == 0
