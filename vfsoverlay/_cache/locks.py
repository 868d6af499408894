"""Locks that the kernel drops when their owner dies: OFD byte ranges, or flock where those are missing.

POSIX locks (``fcntl.lockf``) are no choice: they belong to the process, so that closing any
descriptor of the file drops them, and the kernel sees deadlocks between threads that are none.

Order of acquisition, over all files of this room: an object's byte of a shard's record file, then
block ranges of the object's map, then the first byte of the record file. Nobody waits for one while
holding a later one, and nobody waits for a second one of the same kind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from vfsoverlay import _real
from vfsoverlay._compiled import compiled

#: The pinned byte of a data file lies far behind the end of any object, so that locks of user code never meet it.
PIN_BYTE: Final = 1 << 60

Outcome = TypeVar("Outcome")

#: Opens and locks, unlocks and closes in one step each.
_COMPILED: Final = compiled("vfsoverlay._cache._small")

_FLOCK: Final = struct.Struct("hhqqi4x")
_BUSY: Final = (errno.EAGAIN, errno.EACCES)

#: Linux has had these since 3.15; the numbers are the same on all its architectures.
_F_OFD_GETLK: Final = getattr(fcntl, "F_OFD_GETLK", 36)
_F_OFD_SETLK: Final = getattr(fcntl, "F_OFD_SETLK", 37)

_PIN: Final = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, PIN_BYTE, 1, 0)
_TEST_PIN: Final = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, PIN_BYTE, 1, 0)


class Locks(Protocol):
    """The four things the cache asks of a lock; *fd* is one open file description, the owner."""

    exact: bool
    """Whether ranges are told apart; without it, two fetches of one object take turns."""

    def try_lock(self, fd: int, start: int, length: int) -> bool:
        """Take the range for writing if nobody else has any of it."""

    def conflict(self, fd: int, start: int, length: int) -> tuple[int, int] | None:
        """Start and stop of a range that somebody else has locked and that overlaps this one."""

    def open_locked(self, path: str, start: int, length: int) -> int | None:
        """A new description of *path*, made where it is missing, that holds the range; None: somebody else does."""

    def unlock_and_close(self, fd: int) -> None:
        """Give back all that this description holds, and close it."""

    def pin(self, fd: int) -> None:
        """Mark the data file of *fd* as in use until the last duplicate of *fd* is closed."""

    def is_pinned(self, fd: int) -> bool:
        """Whether another description pins the file of *fd*."""


class OfdLocks:
    """Open-file-description byte-range locks (Linux)."""

    exact = True

    def try_lock(self, fd: int, start: int, length: int) -> bool:
        return _set(fd, fcntl.F_WRLCK, start, length)

    def conflict(self, fd: int, start: int, length: int) -> tuple[int, int] | None:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
        kind, _, at, taken, _ = _FLOCK.unpack(fcntl.fcntl(fd, _F_OFD_GETLK, wanted))
        return None if kind == fcntl.F_UNLCK else (at, at + taken)

    def open_locked(self, path: str, start: int, length: int) -> int | None:
        if _COMPILED is not None and length == 1:
            fd: int | None = _COMPILED.open_locked(path, start)
            if fd is not None:
                return fd
            # Why not, the same steps tell.
        return _open_locked(self, path, start, length)

    def unlock_and_close(self, fd: int) -> None:
        if _COMPILED is not None:
            _COMPILED.unlock_and_close(fd)
            return
        # Explicitly, not only by closing: a child forked meanwhile may hold a duplicate that would keep the lock.
        _set(fd, fcntl.F_UNLCK, 0, 0)
        _real.close(fd)

    def pin(self, fd: int) -> None:
        try:
            fcntl.fcntl(fd, _F_OFD_SETLK, _PIN)
        except OSError as error:
            # Out of locks: without a pin the file may be evicted, but who has it open reads on.
            if error.errno != errno.ENOLCK:
                raise

    def is_pinned(self, fd: int) -> bool:
        return bool(_FLOCK.unpack(fcntl.fcntl(fd, _F_OFD_GETLK, _TEST_PIN))[0] != fcntl.F_UNLCK)


class FlockLocks:
    """Whole-file locks, for systems and file systems without OFD locks: right, but one at a time per file."""

    exact = False

    def try_lock(self, fd: int, start: int, length: int) -> bool:  # noqa: ARG002 - the range cannot be expressed
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def conflict(self, fd: int, start: int, length: int) -> tuple[int, int] | None:  # noqa: ARG002 - the whole file
        return (start, start + length)

    def open_locked(self, path: str, start: int, length: int) -> int | None:
        return _open_locked(self, path, start, length)

    def unlock_and_close(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
        _real.close(fd)

    def pin(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_SH)

    def is_pinned(self, fd: int) -> bool:
        if not self.try_lock(fd, 0, 0):
            return True
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False


def _set(fd: int, kind: int, start: int, length: int) -> bool:
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def _open_locked(locks: Locks, path: str, start: int, length: int) -> int | None:
    fd = _real.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if locks.try_lock(fd, start, length):
            locked, fd = fd, -1
            return locked
        return None
    finally:
        if fd >= 0:
            _real.close(fd)


def probe(directory: str) -> Locks:
    """The best kind of lock that files in *directory* support, found by trying it with two descriptions."""
    path = f"{directory}/probe"
    first = _real.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    second = _real.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        locks = OfdLocks()
        # Shared with other probing processes: only the pin, a read lock, is tried, and any pin will do.
        locks.pin(first)
        return locks if locks.is_pinned(second) else FlockLocks()
    except OSError:
        return FlockLocks()
    finally:
        _real.close(first)
        _real.close(second)


#: Descriptors that hold locks right now. A forked child closes its duplicates: a lock lives as
#: long as any of them, and would outlive a parent that is killed.
_held: set[int] = set()
_PAUSE_FIRST: Final = 0.0005
_PAUSE_MOST: Final = 0.01


class Held:
    """A taken lock on a description of its own; ``release`` it, or use it as a context manager."""

    __slots__ = ("_locks", "fd")

    def __init__(self, locks: Locks, fd: int) -> None:
        self._locks = locks
        self.fd = fd
        """The description that owns the lock, open for reading and writing."""

    def extend(self, start: int, deadline: float) -> bool:
        """Take byte *start* of the same file as well, as ``acquire`` does; whether it was to be had in time."""
        return _wait_for(lambda: self._locks.try_lock(self.fd, start, 1), deadline)

    def release(self) -> None:
        """Drop the lock; a second call does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0 and fd in _held:
            try:
                # First: a child forked in between closes what is in it, and the number may be another file's by then.
                _held.discard(fd)
            finally:
                self._locks.unlock_and_close(fd)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_acquire(locks: Locks, path: str, start: int, length: int = 1) -> Held | None:
    """Lock *length* bytes of the file *path* from *start*, or None if any of them is taken.

    Raises:
        OSError: The file cannot be opened (the cache directory may be gone).
    """
    fd = locks.open_locked(path, start, length)
    if fd is None:
        return None
    _held.add(fd)
    return Held(locks, fd)


def acquire(locks: Locks, path: str, start: int, deadline: float) -> Held | None:
    """Wait for byte *start* of *path* until *deadline* (``time.monotonic``)."""
    return _wait_for(lambda: try_acquire(locks, path, start), deadline)


def _wait_for(attempt: Callable[[], Outcome], deadline: float) -> Outcome:
    """Ask again until it works: a blocking lock could not be bounded without signals or threads."""
    pause = _PAUSE_FIRST
    while True:
        outcome = attempt()
        if outcome or time.monotonic() >= deadline:
            return outcome
        sleep(pause)
        pause = min(pause * 2, _PAUSE_MOST)


#: An event that nobody sets: a sleep that does not go through a name which programs like to patch.
_never = threading.Event()


def sleep(seconds: float) -> None:
    """Wait, uninterrupted by programs that patch ``time.sleep``."""
    _never.wait(seconds)


def after_fork() -> None:
    """In the child: close the duplicates of the locks that threads of the parent hold."""
    global _never
    _never = threading.Event()
    for fd in list(_held):
        _real.close(fd)
    _held.clear()
