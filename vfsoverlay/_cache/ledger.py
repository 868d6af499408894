"""How many bytes the cache has on disk, as one number shared by all processes."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from vfsoverlay import _real
from vfsoverlay._cache.locks import Held, Locks, acquire
from vfsoverlay._cache.read_range import write_all

_STORED: Final = struct.Struct("<qd")

#: How often the directory is made again, if somebody goes on deleting it.
_TRIES: Final = 10

#: Seconds to wait for the ledger's lock, which others hold for microseconds.
_PATIENCE: Final = 10.0


class Balance(NamedTuple):
    """The number, and when the files were last counted one by one (``time.time``; 0: never)."""

    total: int
    counted_at: float


class Ledger:
    """A file with the number; between two counts it may be too high, since killed processes take nothing back."""

    __slots__ = ("_locks", "_path", "_prepare")

    def __init__(self, path: str, locks: Locks, prepare: Callable[[], object]) -> None:
        self._path = path
        self._locks = locks
        #: Makes the directory again when somebody has deleted it.
        self._prepare = prepare

    def change(self, amount: Callable[[Balance], int]) -> Balance:
        """Add what *amount* makes of the old balance (negative: less is there than was counted); the new one."""
        with self._lock() as held:
            old = _read(held.fd)
            new = Balance(max(0, old.total + amount(old)), old.counted_at)
            write_all(held.fd, _STORED.pack(*new), 0)
            return new

    def set(self, total: int) -> float:
        """The files were counted, and have *total* bytes; the time that stands for this count."""
        with self._lock() as held:
            now = time.time()
            write_all(held.fd, _STORED.pack(total, now), 0)
            return now

    def _lock(self) -> Held:
        until = time.monotonic() + _PATIENCE
        held = None
        for _ in range(_TRIES):
            try:
                held = acquire(self._locks, self._path, 0, until)
                break
            except FileNotFoundError:
                # It may be deleted while it is being made again.
                with suppress(FileNotFoundError):
                    self._prepare()
        if held is None:
            msg = "a process that does not go on holds this lock; end it, or choose another cache_dir"
            raise OSError(errno.EDEADLK, msg, self._path)
        return held


def _read(fd: int) -> Balance:
    raw = _real.pread(fd, _STORED.size, 0)
    return Balance(*_STORED.unpack(raw)) if len(raw) == _STORED.size else Balance(0, 0.0)
