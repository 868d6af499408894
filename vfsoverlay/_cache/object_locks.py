"""The lock of one object version: whoever makes, verifies or removes its files holds it."""

from __future__ import annotations

from vfsoverlay._cache import layout
from vfsoverlay._cache.locks import Held, Locks, acquire, try_acquire


class ObjectLocks:
    """One byte of the shard's record file for each version, so that a million objects need no million lock files."""

    __slots__ = ("_layout", "locks")

    def __init__(self, places: layout.Layout, locks: Locks) -> None:
        self._layout = places
        self.locks = locks

    def acquire(self, stem: str, deadline: float) -> Held | None:
        """Wait for the lock of *stem* until *deadline* (``time.monotonic``)."""
        shard = layout.shard_of(stem)
        path = self._layout.records(shard)
        try:
            return acquire(self.locks, path, layout.lock_byte(stem), deadline)
        except FileNotFoundError:
            # The first object of its shard, or somebody deleted the cache underneath.
            self._layout.ensure_shard(shard)
            return acquire(self.locks, path, layout.lock_byte(stem), deadline)

    def acquire_at_once(self, stem: str) -> Held | None:
        """As ``acquire`` without a wait; None: somebody else has it."""
        shard = layout.shard_of(stem)
        path = self._layout.records(shard)
        try:
            return try_acquire(self.locks, path, layout.lock_byte(stem))
        except FileNotFoundError:
            self._layout.ensure_shard(shard)
            return try_acquire(self.locks, path, layout.lock_byte(stem))

    def try_acquire(self, stem: str) -> Held | None:
        """The lock of *stem* if it is free; None as well if the cache is gone."""
        try:
            return try_acquire(self.locks, self._layout.records(layout.shard_of(stem)), layout.lock_byte(stem))
        except FileNotFoundError:
            return None
