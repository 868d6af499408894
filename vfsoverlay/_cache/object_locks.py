"""The lock of one object version: whoever makes, verifies or removes its files holds it."""

from __future__ import annotations

from vfsoverlay._cache import layout
from vfsoverlay._cache.locks import Held, Locks, acquire, try_acquire


class ObjectLocks:
    """One byte of the shard's lock file for each version, so that a million objects need no million lock files."""

    __slots__ = ("_layout", "locks")

    def __init__(self, places: layout.Layout, locks: Locks) -> None:
        self._layout = places
        self.locks = locks

    def acquire(self, stem: str, deadline: float) -> Held | None:
        """Wait for the lock of *stem* until *deadline* (``time.monotonic``)."""
        path = self._layout.lock_file(layout.shard_of(stem))
        try:
            return acquire(self.locks, path, layout.lock_byte(stem), deadline)
        except FileNotFoundError:
            # Somebody deleted the cache underneath: start anew.
            self._layout.prepare()
            return acquire(self.locks, path, layout.lock_byte(stem), deadline)

    def try_acquire(self, stem: str) -> Held | None:
        """The lock of *stem* if it is free; None as well if the cache is gone."""
        try:
            return try_acquire(self.locks, self._layout.lock_file(layout.shard_of(stem)), layout.lock_byte(stem))
        except FileNotFoundError:
            return None
