"""The cache verifies itself: every byte that could be served is compared with its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import blocks, layout
from vfsoverlay._cache.eviction import Evictor
from vfsoverlay._cache.locks import Locks
from vfsoverlay._cache.presence_map import DOUBTED, PRESENT, PresenceMap
from vfsoverlay._cache.records import RecordFile

#: What a killed process left: without record or map it is never served, and so it is litter, not damage.
_HALF_MADE: Final = "half-made"


class Problem(NamedTuple):
    """One object version that is not as it should be."""

    name: str
    what: str


class Report(NamedTuple):
    """What a check found."""

    objects: int
    allocated: int
    problems: list[Problem]

    @property
    def is_clean(self) -> bool:
        """Whether every byte that the cache would serve is right."""
        return not self.problems


def check(places: layout.Layout, locks: Locks, evictor: Evictor) -> Report:
    """Verify all versions in *places*; unsound ones are dropped unless somebody has them open."""
    objects = allocated = 0
    problems = []
    for version in evictor.versions():
        objects += 1
        allocated += version.allocated
        what = _fault(version.stem, places, locks)
        if what:
            if what is not _HALF_MADE:
                problems.append(Problem(version.stem.rpartition("/")[2], what))
            evictor.evict(version.stem)
    return Report(objects, allocated, problems)


def _fault(stem: str, places: layout.Layout, locks: Locks) -> str:
    """What is wrong with one version; empty if nothing is, or if it is gone meanwhile."""
    try:
        fd = _real.open(stem + layout.DATA, layout.READ)
    except FileNotFoundError:
        return ""
    try:
        size = _real.fstat(fd).st_size
        presence = PresenceMap.open(stem + layout.MAP, layout.digest_of(stem), size)
        if presence is None:
            return _small_fault(stem, fd, size, RecordFile(places.records(layout.shard_of(stem)), locks))
        try:
            return ", ".join(_large_faults(fd, presence))
        finally:
            presence.close()
    finally:
        _real.close(fd)


def _small_fault(stem: str, fd: int, size: int, records: RecordFile) -> str:
    if _real.exists(stem + layout.MAP):
        return "its map is damaged"
    record = records.lookup(layout.digest_of(stem))
    if record is None:
        return _HALF_MADE
    found = _real.fstat(fd)
    if not found.st_nlink or (found.st_mtime_ns, found.st_ctime_ns, size) != record[1:3] + record[:1]:
        # Such a file is compared with its checksum before it is served.
        return ""
    return "" if crc32(_read(fd, 0, size)) == record.checksum else "its bytes are not what was fetched"


def _large_faults(fd: int, presence: PresenceMap) -> Iterator[str]:
    header = presence.header
    step = max(1, (1 << 20) // header.block_size)
    for first in range(0, presence.blocks, step):
        last = min(first + step, presence.blocks)
        states, checksums = presence.states(first, last), presence.checksums(first, last)
        for block, (state, checksum) in enumerate(zip(states, checksums, strict=True), first):
            start, stop = blocks.span(block, block + 1, header.size, header.block_size)
            if state not in (PRESENT, DOUBTED):
                if header.complete:
                    yield f"block {block} is missing although the object counts as complete"
            elif crc32(_read(fd, start, stop - start)) != checksum:
                yield f"block {block} is not what was fetched"


def _read(fd: int, start: int, length: int) -> bytes:
    content = _real.pread(fd, length, start)
    if len(content) != length:
        # A limit of one call that a local disk does not have; a truncated file compares unequal anyway.
        content += _real.pread(fd, length - len(content), start + len(content))
    return content
