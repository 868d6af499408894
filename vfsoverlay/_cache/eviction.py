"""Which object versions leave the disk, and how one leaves it without anybody noticing.

A version is evicted as a whole, under its object lock, and never while a descriptor pins it. An
opener takes no lock: it opens, pins, then compares the file with its record. So the evictor
renames first, which changes the ctime, and looks for pins then: either it sees the pin, or the
opener sees the rename.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.locks import acquire, sleep
from vfsoverlay._cache.object_locks import ObjectLocks
from vfsoverlay._cache.records import RecordFile
from vfsoverlay._metrics import Metrics

#: Seconds to wait while another process evicts; what it frees serves us as well.
_PATIENCE: Final = 30.0

#: Files that a killed process left half-made are removed by the next evictor once they are this old (seconds).
_ABANDONED: Final = 3600.0


class Version(NamedTuple):
    """One object version on disk."""

    stem: str
    allocated: int
    """Bytes the file system gave to it, holes not counted."""
    last_use: float

    @property
    def key(self) -> str:
        """What all versions of one object share."""
        return self.stem[:-41]


class Usage(NamedTuple):
    """What a count of the files found."""

    objects: int
    allocated: int


def order(versions: list[Version]) -> list[Version]:
    """*versions* in the order in which they leave: superseded ones of an object first, then by last use."""
    newest: dict[str, float] = defaultdict(float)
    for version in versions:
        newest[version.key] = max(newest[version.key], version.last_use)
    return sorted(versions, key=lambda v: (v.last_use >= newest[v.key], v.last_use, v.stem))


class Evictor:
    """Removes versions from one cache directory; at most one evictor of all processes is at work at a time."""

    __slots__ = ("_last_uses", "_layout", "_locks", "_metrics", "_object_locks")

    def __init__(
        self,
        places: layout.Layout,
        object_locks: ObjectLocks,
        metrics: Metrics,
        last_uses: Callable[[], Mapping[str, float]],
    ) -> None:
        self._layout = places
        self._object_locks = object_locks
        self._locks = object_locks.locks
        self._metrics = metrics
        self._last_uses = last_uses

    def run(self, wanted: Callable[[int], int], report: Callable[[int], object]) -> int:
        """Count the files, then evict until ``wanted(total)`` bytes are gone or nothing is left that may go.

        Args:
            wanted: Called once with the bytes found; how many of them to free.
            report: Called with the bytes left, while no other evictor can be at work.

        Returns:
            The bytes freed.
        """
        try:
            held = acquire(self._locks, f"{self._layout.locks}/evict", 0, time.monotonic() + _PATIENCE)
        except FileNotFoundError:
            # Somebody deleted the cache underneath.
            held = None
        if held is None:
            return 0
        with held:
            versions = list(self.versions())
            total = sum(version.allocated for version in versions)
            amount = wanted(total)
            freed = self._free(self._with_hints(versions), amount) if amount > 0 else 0
            report(total - freed)
            return freed

    def _with_hints(self, versions: list[Version]) -> list[Version]:
        """What processes have noted of last uses; not asked for by a mere count, since that opens a database."""
        hints = self._last_uses()
        return [v._replace(last_use=max(v.last_use, hints.get(layout.digest_of(v.stem), 0.0))) for v in versions]

    def versions(self) -> Iterator[Version]:
        """Every version on disk, in no order, with the last use that file times tell."""
        for shard in sorted(_list(self._layout.objects)):
            yield from self._versions_of(f"{self._layout.objects}/{shard}")

    def _versions_of(self, directory: str) -> Iterator[Version]:
        found: dict[str, tuple[int, float]] = {}
        for name in _list(directory):
            stem, dot, suffix = name.partition(".")
            try:
                status = _real.lstat(f"{directory}/{name}")
            except FileNotFoundError:
                continue
            if f".{suffix}" in (layout.DATA, layout.MAP):
                # The atime as far as the file system keeps it.
                used = max(status.st_mtime, status.st_atime)
                allocated, last_use = found.get(stem, (0, 0.0))
                found[stem] = (allocated + status.st_blocks * 512, max(last_use, used))
            elif dot and time.time() - status.st_mtime > _ABANDONED:
                self._remove_abandoned(directory, stem, name)
        for stem, (allocated, last_use) in found.items():
            yield Version(f"{directory}/{stem}", allocated, last_use)

    def _free(self, versions: list[Version], wanted: int) -> int:
        freed = 0
        touched: set[str] = set()
        for version in order(versions):
            if freed >= wanted:
                break
            if self.evict(version.stem):
                freed += version.allocated
                touched.add(layout.shard_of(version.stem))
        for shard in touched:
            alive = {name[17:57] for name in _list(f"{self._layout.objects}/{shard}") if name.endswith(layout.DATA)}
            RecordFile(self._layout.records(shard), self._locks).drop_dead(alive)
        return freed

    def evict(self, stem: str) -> bool:
        """Remove one version unless it is pinned or being fetched; whether it is gone."""
        held = self._object_locks.try_acquire(stem)
        if held is None:
            return False
        with held:
            try:
                fd = _real.open(stem + layout.DATA, layout.READ)
            except FileNotFoundError:
                layout.unlink(stem + layout.MAP)
                return True
            try:
                gone = not self._locks.is_pinned(fd) and self._remove(stem, fd)
            except FileNotFoundError:
                # Somebody deletes the cache underneath.
                gone = True
            finally:
                _real.close(fd)
        if gone:
            self._metrics.add("evictions")
        return gone

    def _remove(self, stem: str, fd: int) -> bool:
        before = _real.fstat(fd).st_ctime_ns
        _real.rename(stem + layout.DATA, stem + layout.DOOMED)
        # The clock of a file system ticks every few milliseconds: a file just made may show no difference yet.
        while _real.fstat(fd).st_ctime_ns == before:
            sleep(0.001)
            _real.fchmod(fd, 0o400)
        if self._locks.is_pinned(fd):
            # Pinned in between. The next opener compares checksums, since the ctime is not what its record says.
            _real.rename(stem + layout.DOOMED, stem + layout.DATA)
            return False
        # Map first: a map without data is made anew, and so is neither.
        layout.unlink(stem + layout.MAP)
        layout.unlink(stem + layout.DOOMED)
        return True

    def _remove_abandoned(self, directory: str, stem: str, name: str) -> None:
        held = self._object_locks.try_acquire(f"{directory}/{stem}")
        if held is not None:
            with held:
                layout.unlink(f"{directory}/{name}")


def _list(directory: str) -> list[str]:
    try:
        return _real.listdir(directory)
    except FileNotFoundError:
        # Somebody deleted the cache underneath.
        return []
