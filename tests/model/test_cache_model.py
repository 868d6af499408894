"""The cache against a naive model: read, open, evict, damage or restart as you like, the bytes are the store's."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.cache_source import MIB, Source, read_all
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.cached_object import CachedObject
from vfsoverlay._cache.layout import SMALL_OBJECT
from vfsoverlay._model import ObjectId

BLOCK = 64 * 1024
SIZES = [0, 1, 5000, SMALL_OBJECT, SMALL_OBJECT + 1, SMALL_OBJECT + BLOCK, MIB + 3 * BLOCK + 7]
BOUND = 4 * MIB


class CacheMachine(RuleBasedStateMachine):
    """The model is a dict of what the store holds; the cache may be slow or forgetful, never wrong."""

    handles = Bundle("handles")
    descriptors = Bundle("descriptors")
    objects = st.tuples(st.sampled_from("abc"), st.sampled_from(SIZES), st.sampled_from(["v1", "v2"]))

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="vfsoverlay-cache-model-"))
        self.source = Source()
        self.boots = 0
        self.cache = self.open()
        self.open_handles = 0

    def open(self) -> BlockCache:
        boot = bytes([self.boots]) * 16
        return BlockCache(str(self.directory), block_size=BLOCK, cache_size=BOUND, min_free=0, boot=boot)

    def oid(self, chosen: tuple[str, int, str]) -> ObjectId:
        return self.source.object(*chosen)

    @rule(target=handles, chosen=objects)
    def open_partial(self, chosen: tuple[str, int, str]) -> tuple[ObjectId, CachedObject]:
        oid = self.oid(chosen)
        return oid, self.cache.open_partial(oid, self.source.reader(oid))

    @rule(handle=handles, offset=st.integers(0, 2 * MIB), length=st.integers(0, MIB))
    def read(self, handle: tuple[ObjectId, CachedObject], offset: int, length: int) -> None:
        oid, opened = handle
        buffer = bytearray(length)
        got = opened.readinto(offset, memoryview(buffer))
        assert bytes(buffer[:got]) == self.source.content(oid)[offset : offset + length]

    @rule(handle=consumes(handles))
    def close(self, handle: tuple[ObjectId, CachedObject]) -> None:
        handle[1].close()

    @rule(target=descriptors, chosen=objects)
    def complete(self, chosen: tuple[str, int, str]) -> tuple[ObjectId, int]:
        oid = self.oid(chosen)
        try:
            return oid, self.cache.complete(oid, self.source.reader(oid))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # Everything in use is pinned: a bound is a bound.
            return oid, -1

    @rule(descriptor=consumes(descriptors))
    def read_descriptor(self, descriptor: tuple[ObjectId, int]) -> None:
        oid, fd = descriptor
        if fd >= 0:
            assert read_all(fd) == self.source.content(oid)

    @rule(chosen=objects)
    def open_complete(self, chosen: tuple[str, int, str]) -> None:
        oid = self.oid(chosen)
        asked = len(self.source.ranges)
        fd = self.cache.open_complete(oid)
        if fd is not None:
            assert read_all(fd) == self.source.content(oid)
        assert len(self.source.ranges) == asked

    @rule(wanted=st.integers(0, 2 * BOUND))
    def evict(self, wanted: int) -> None:
        self.cache.evict(wanted)

    @rule()
    def another_process(self) -> None:
        self.cache.close()
        self.cache = self.open()

    @rule()
    def reboot(self) -> None:
        self.boots += 1
        self.another_process()

    @rule(chosen=objects, suffix=st.sampled_from([".data", ".map"]), at=st.integers(0, 2 * MIB))
    def cut(self, chosen: tuple[str, int, str], suffix: str, at: int) -> None:
        """Between two uses, somebody truncates a file."""
        path = Path(self.cache.layout.stem(self.oid(chosen)) + suffix)
        if path.exists() and not self._in_use(path):
            path.chmod(0o600)
            os.truncate(path, min(at, path.stat().st_size))

    def _in_use(self, path: Path) -> bool:
        found = path.with_suffix(".data").stat()
        mine = (os.stat(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd))
        return any((one.st_dev, one.st_ino) == (found.st_dev, found.st_ino) for one in mine)

    @invariant()
    def the_bound_holds(self) -> None:
        """The maps of large objects are counted once written."""
        assert self.cache.usage().allocated <= BOUND + 64 * 1024

    def teardown(self) -> None:
        self.cache.check()
        assert self.cache.check().is_clean
        self.cache.close()
        shutil.rmtree(self.directory)


def _is_open(fd: str) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


TestCache = CacheMachine.TestCase
TestCache.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
