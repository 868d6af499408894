"""Small objects: fetched whole into their data file, and believed once a record says how the whole one looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from vfsoverlay import _real
from vfsoverlay._cache import layout
from vfsoverlay._cache.budget import Budget
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.locks import Held, OfdLocks
from vfsoverlay._cache.object_locks import ObjectLocks
from vfsoverlay._cache.read_range import ReadRange
from vfsoverlay._cache.records import Record, RecordFile
from vfsoverlay._cache.single_flight import SingleFlight
from vfsoverlay._cache.small_claim import Premises, SmallClaim, create, fill
from vfsoverlay._compiled import compiled
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

Outcome = TypeVar("Outcome")

_COMPILED: Final = compiled("vfsoverlay._cache._small")


class SmallObjects:
    """The small objects of one cache directory."""

    __slots__ = ("_boot", "_complete", "_files", "_flights", "_layout", "_object_locks", "_premises", "_seconds")

    def __init__(
        self,
        places: layout.Layout,
        object_locks: ObjectLocks,
        boot: bytes,
        budget: Budget,
        complete: CompleteFiles,
        deadline: float,
    ) -> None:
        self._layout = places
        self._object_locks = object_locks
        self._boot = boot
        in_one_step = _COMPILED is not None and type(object_locks.locks) is OfdLocks
        self._premises = Premises(places, budget, boot, _COMPILED.keep if in_one_step else None)
        self._complete = complete
        self._seconds = deadline
        self._files: dict[str, RecordFile] = {}
        self._flights = SingleFlight()

    def recorded(self, stem: str) -> Record | None:
        """The record of *stem* if it is sound and of this boot."""
        return self._of_this_boot(self._record_file(stem).lookup(layout.digest_of(stem)))

    def open_recorded(self, object_id: ObjectId) -> tuple[int, int, int] | None:
        """A pinned, readable descriptor, with its (st_dev, st_ino), if there is a record that is right."""
        shard, name, digest = self._layout.parts(object_id)
        stem = f"{shard}/{name}"
        opened = self._complete.open_recorded(object_id, stem, f"{shard}/records", bytes.fromhex(digest), self._boot)
        if opened is not None:
            return opened
        record = self._of_this_boot(self._record_file(stem).recall(digest))
        if record is None:
            return None
        self._complete.remember(object_id, stem, record)
        return self._complete.open_identified(object_id)

    def _of_this_boot(self, record: Record | None) -> Record | None:
        return record if record is not None and record.boot == self._boot else None

    def complete(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        """A pinned, readable descriptor; fetches unless another thread or process is doing it.

        Raises:
            OSError: What *read_range* raised, or what writing raised after everything evictable was evicted.
            DiskFull: The bounds of the cache do not allow it.
        """
        fd = self._share(object_id, stem, read_range, purpose, self._complete.open)
        return self.private(object_id, stem, read_range, purpose) if fd is None else fd

    def fetch(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> None:
        """As ``complete`` for somebody who will open it later."""
        self._share(object_id, stem, read_range, purpose, self._complete.knows)

    def _share(
        self,
        object_id: ObjectId,
        stem: str,
        read_range: ReadRange,
        purpose: Purpose,
        use: Callable[[ObjectId], Outcome | None],
    ) -> Outcome | None:
        """What *use* makes of the complete file, before an evictor can have it; None if others hold it too long."""
        deadline = time.monotonic() + self._seconds
        while not self._flights.join(stem, deadline):
            outcome = use(object_id)
            if outcome is not None or time.monotonic() >= deadline:
                return outcome
        try:
            held = self._object_locks.acquire(stem, deadline)
            if held is None:
                return None
            with self._claim(object_id, stem, held) as claim:
                self._complete.remember(object_id, stem, claim.found() or claim.fetch(read_range, purpose))
                return use(object_id)
        finally:
            self._flights.leave(stem)

    def claim(self, object_id: ObjectId, stem: str) -> SmallClaim | None:
        """The right to fetch the object, without a wait; ``release`` it. None: somebody else is at it.

        Raises:
            OSError: The files of the cache cannot be used.
        """
        if not self._flights.try_join(stem):
            return None
        held = None
        try:
            held = self._object_locks.acquire_at_once(stem)
        finally:
            if held is None:
                self._flights.leave(stem)
        return None if held is None else self._claim(object_id, stem, held)

    def release(self, claim: SmallClaim, object_id: ObjectId, stem: str, record: Record | None) -> None:
        """Give back what ``claim`` gave; *record* is that of the object, if it is there now."""
        if record is not None:
            self._complete.remember(object_id, stem, record)
        claim.release()
        self._flights.leave(stem)

    def _claim(self, object_id: ObjectId, stem: str, held: Held) -> SmallClaim:
        return SmallClaim(self._premises, self._record_file(stem), object_id, stem, held)

    def private(self, object_id: ObjectId, stem: str, read_range: ReadRange, purpose: Purpose) -> int:
        """A readable descriptor of a complete copy that no other process sees; gone when closed."""
        path = f"{stem}.{_real.getpid()}-{time.monotonic_ns()}{layout.TEMPORARY}"
        fd = create(self._layout, path)
        result = -1
        try:
            result = _real.open(path, layout.READ)
            _real.unlink(path)
            fill(fd, object_id, read_range, purpose)
            given, result = result, -1
            return given
        finally:
            _real.close(fd)
            if result >= 0:
                _real.close(result)

    def after_fork(self) -> None:
        """In the child: the parent's threads are not here."""
        self._flights = SingleFlight()

    def _record_file(self, stem: str) -> RecordFile:
        shard = layout.shard_of(stem)
        file = self._files.get(shard)
        if file is None:
            file = self._files[shard] = RecordFile(self._layout.records(shard), self._object_locks.locks)
        return file
