"""Reading past the disk: a window of bytes in memory, for when the cache has no room."""

from __future__ import annotations

import threading
from typing import Final

from vfsoverlay._cache.read_range import ReadRange, read_to_buffer

#: The window of a reader that goes on where it stopped doubles between these (bytes).
SMALLEST: Final = 256 * 1024
LARGEST: Final = 8 * 1024 * 1024


class MemoryReader:
    """Serves reads of one version from a window that one GET fills; the next GET replaces it."""

    __slots__ = ("_content", "_mutex", "_name", "_read_range", "_size", "_start", "_window")

    def __init__(self, name: str, size: int, read_range: ReadRange) -> None:
        self._name = name
        self._size = size
        self._read_range = read_range
        self._start = 0
        self._content = memoryview(b"")
        self._window = SMALLEST
        # One reader at a time: a shared window would be fetched anew by each of two that take turns.
        self._mutex = threading.Lock()

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill *buffer* from *offset*; it lies within the object."""
        done = 0
        with self._mutex:
            while done < len(buffer):
                at = offset + done - self._start
                if not 0 <= at < len(self._content):
                    self._fill(offset + done, len(buffer) - done)
                    at = 0
                part = self._content[at : at + len(buffer) - done]
                buffer[done : done + len(part)] = part
                done += len(part)
        return done

    def _fill(self, start: int, wanted: int) -> None:
        goes_on = start == self._start + len(self._content)
        self._window = min(self._window * 2, LARGEST) if goes_on and start else SMALLEST
        # A small object is one GET; of a large one no more than what looks useful, and never unbounded memory.
        length = min(max(wanted, self._window), LARGEST, self._size - start)
        content = memoryview(bytearray(length))
        read_to_buffer(self._read_range, start, content, "read", self._name)
        self._start, self._content = start, content

    def after_fork(self) -> None:
        """In the child: a thread that is not here may have held the lock."""
        self._mutex = threading.Lock()
