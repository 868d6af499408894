"""The bounds of the cache on disk: asked before bytes are written, evicting where they would not fit."""

from __future__ import annotations

import threading
import time
from typing import Final

from vfsoverlay import _real
from vfsoverlay._cache.eviction import Evictor
from vfsoverlay._cache.ledger import Balance, Ledger

_MIB: Final = 1024**2
_GIB: Final = 1024**3

#: A process counts in steps what it is going to write, so that small files do not pay for the ledger one by one.
_LARGEST_STEP: Final = 4 * _MIB

#: An eviction goes on to this share of the size, so that the next write does not evict again.
_LOW_WATER: Final = 0.9

#: Seconds between counts of the files even if nothing is short: files may come and go by other hands.
_COUNT_AGAIN: Final = 24 * 3600.0

#: Seconds for which a full cache is taken to be full, before pins are looked at again.
_HOPELESS: Final = 0.5


class DiskFull(Exception):  # noqa: N818 - a condition that never leaves this room
    """The bytes cannot be stored; the caller serves them from memory."""


class Budget:
    """What this process may still write.

    Bytes are in the ledger before they are on disk. So a process that is killed, or leaves without a word as
    forked workers do, leaves the ledger too high, which the next count mends, and never the cache too large.

    Args:
        directory: On the disk in question.
        ledger: The shared number.
        evictor: Makes room.
        cache_size: Bytes the cache may have; None: 20 GiB or half of what it could have, whichever is less.
        min_free: Bytes the disk keeps free; None: 5 % of it, at most 5 GiB.
    """

    __slots__ = (
        "_ahead", "_counted_at", "_directory", "_evictor", "_hopeless_until", "_in_flight", "_ledger", "_left",
        "_mutex", "_seen", "_step", "cache_size", "min_free",
    )  # fmt: skip

    def __init__(
        self, directory: str, ledger: Ledger, evictor: Evictor, *, cache_size: int | None, min_free: int | None
    ) -> None:
        disk = _real.statvfs(directory)
        self._seen, self._counted_at = ledger.change(lambda _: 0)
        half = (disk.f_bavail * disk.f_frsize + self._seen) // 2
        self.cache_size = min(20 * _GIB, half) if cache_size is None else cache_size
        self.min_free = min(5 * _GIB, disk.f_blocks * disk.f_frsize // 20) if min_free is None else min_free
        self._directory = directory
        self._ledger = ledger
        self._evictor = evictor
        self._step = max(4096, min(_LARGEST_STEP, self.cache_size // 64))
        #: Bytes that the ledger was given ahead of their reservation, and what is left of them (below 0: owed to it).
        self._ahead = self._left = 0
        self._in_flight = 0
        self._hopeless_until = 0.0
        self._mutex = threading.Lock()

    def reserve(self, wanted: int) -> None:
        """Count *wanted* bytes as written, evicting if that is too much; ``settle`` them when they are.

        Raises:
            DiskFull: They do not fit, and nothing may go that would make room; nothing was counted.
        """
        if wanted > self.cache_size:
            raise DiskFull
        with self._mutex:
            if time.monotonic() < self._hopeless_until:
                raise DiskFull
            self._in_flight += wanted
            self._left -= wanted
            if self._left >= 0:
                return
        balance = self._report(self._step)
        if self._short(balance.total) > 0:
            # Close to a bound there are no steps.
            balance = self._report(0)
        stale = abs(time.time() - balance.counted_at) > _COUNT_AGAIN
        if (stale or self._short(balance.total) > 0) and not self._make_room():
            # The count that was just made has them: they must not be the next caller's, unlooked at.
            self._report(0, refused=wanted)
            self._hopeless_until = time.monotonic() + _HOPELESS
            raise DiskFull

    def settle(self, reserved: int, *, unwritten: int = 0) -> None:
        """Of *reserved* bytes, all but *unwritten* are on disk now."""
        with self._mutex:
            self._in_flight -= reserved
            self._left += unwritten

    def flush(self) -> None:
        """Give back what was counted ahead; nothing more is going to be written for now."""
        self._report(0)

    def _report(self, ahead: int, *, refused: int = 0) -> Balance:
        """Bring the ledger up to what was reserved, without *refused* bytes of it, and *ahead* bytes beyond it."""

        def owed(old: Balance) -> int:
            # A count by another process has erased what was ahead: what was reserved since is not in the ledger then.
            erased = self._ahead if old.counted_at != self._counted_at else 0
            return ahead + erased - self._left

        with self._mutex:
            self._in_flight -= refused
            self._left += refused
            balance = self._ledger.change(owed)
            self._seen, self._counted_at = balance
            self._ahead = self._left = ahead
        return balance

    def evict(self, wanted: int) -> int:
        """Free about *wanted* bytes whatever the bounds say; the bytes freed."""
        return self._evictor.run(lambda _: wanted, self._counted)

    def after_fork(self) -> None:
        """In the child: what the parent has counted is the parent's."""
        self._mutex = threading.Lock()
        self._ahead = self._left = self._in_flight = 0

    def _make_room(self) -> bool:
        def excess(on_disk: int) -> int:
            # What is reserved is not on disk yet, but will be.
            short = self._short(on_disk + self._in_flight)
            return int(short + self.cache_size * (1 - _LOW_WATER)) if short > 0 else 0

        self._evictor.run(excess, self._counted)
        return self._short(self._seen) <= 0

    def _counted(self, on_disk: int) -> None:
        with self._mutex:
            # Reserved bytes that are half written count twice until the next count: too much is safe.
            self._seen = on_disk + self._in_flight
            self._ahead = self._left = 0
            self._counted_at = self._ledger.set(self._seen)

    def _short(self, total: int) -> int:
        try:
            disk = _real.statvfs(self._directory)
        except FileNotFoundError:
            # Deleted underneath, and about to be made again.
            return total - self.cache_size
        return max(total - self.cache_size, self.min_free - disk.f_bavail * disk.f_frsize)
