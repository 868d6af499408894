"""One open object version, read lazily: from the data file where possible, from memory where the disk is full."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Final

from vfsoverlay._cache import blocks
from vfsoverlay._cache.object_file import DiskFull, ObjectFile, ReadRange, WaitedTooLong

_O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC

#: Bytes of one GET of a reader that waits for it.
GET: Final = 1024 * 1024


class CachedObject:
    """A handle on one version; made by ``BlockCache.open_partial``, used by several threads at will."""

    __slots__ = ("_cache_dir", "_complete", "_deadline", "_file", "_read_range", "_release", "size")

    def __init__(
        self,
        file: ObjectFile,
        read_range: ReadRange,
        *,
        deadline: float,
        complete: Callable[[], int],
        release: Callable[[], object],
    ) -> None:
        self.size = file.size
        self._file = file
        self._read_range = read_range
        self._deadline = deadline
        self._complete = complete
        self._release: Callable[[], object] | None = release

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill *buffer* from *offset*; fetches what is missing, and is short only at the end of the object.

        Raises:
            OSError: What the store raised.
        """
        wanted = min(len(buffer), self.size - offset)
        if wanted <= 0:
            return 0
        buffer = buffer[:wanted]
        file = self._file
        first, last = blocks.covering(offset, offset + wanted, file.block_size)
        if not file.is_ready(first, last):
            try:
                deadline = time.monotonic() + self._deadline
                most = max(1, GET // file.block_size)
                file.ensure(first, last, self._read_range, "read", deadline, most=most)
            except (DiskFull, WaitedTooLong):
                return self._read_privately(offset, buffer)
        if file.read_into(offset, buffer) < wanted:
            # Somebody truncated the data file underneath: the bytes are still to be had, only not from there.
            return self._read_privately(offset, buffer)
        return wanted

    def _read_privately(self, offset: int, buffer: memoryview) -> int:
        at = 0

        def sink(piece: memoryview) -> None:
            nonlocal at
            buffer[at : at + len(piece)] = piece
            at += len(piece)

        self._read_range(offset, offset + len(buffer), sink, "read")
        if at != len(buffer):
            msg = f"the store gave {at} bytes of {len(buffer)}; try again"
            raise OSError(errno.EIO, msg)
        return at

    def placeholder(self) -> int:
        """A descriptor of the data file that nobody can read through (``O_PATH``), though ``fstat`` works."""
        return self._file.descriptor(_O_PATH)

    def complete(self) -> int:
        """Fetch what is missing; a readable, pinned descriptor as ``BlockCache.complete`` gives it."""
        return self._complete()

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> CachedObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
