"""Bytes on their way that no reader waits for yet: one count for the process, and a bound for each mount."""

from __future__ import annotations

import threading
from typing import Final

_MIB: Final = 1024**2

#: As much as 32 connections can have under way in GETs of 8 MiB.
MOST: Final = 256 * _MIB

#: A bound is shared by at least so many GETs, so that a small one still has several connections at work.
_GETS: Final = 4


class _Process:
    """What all mounts of this process have on its way."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.total = 0


_process = _Process()


class AheadBudget:
    """Lets a mount fetch ahead while the process has no more than *most* bytes on their way like this."""

    __slots__ = ("_most",)

    def __init__(self, most: int = MOST) -> None:
        self._most = most

    @property
    def largest_get(self) -> int:
        """Bytes that one GET should have at most."""
        return self._most // _GETS

    def try_take(self, size: int) -> bool:
        """Count *size* bytes as on their way, if the bound allows it; ``give_back`` them when they have come.

        One fetch is always allowed: a bound below the size of a file must not end all reading ahead.
        """
        with _process.mutex:
            if size and _process.total and _process.total + size > self._most:
                return False
            _process.total += size
            return True

    def give_back(self, size: int) -> None:
        """They have come, or will not."""
        with _process.mutex:
            _process.total -= size


def after_fork() -> None:
    """In the child: what the parent's threads fetch is not on its way to this process."""
    global _process
    _process = _Process()
