"""Handles on one open version: read lazily from the data file, or from memory where the disk is full."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from vfsoverlay import _real
from vfsoverlay._cache import blocks
from vfsoverlay._cache.budget import DiskFull
from vfsoverlay._cache.fetcher import Fetcher
from vfsoverlay._cache.memory_reader import MemoryReader
from vfsoverlay._cache.object_file import ObjectFile, Ticket, WaitedTooLong
from vfsoverlay._cache.read_range import FULL, ReadRange
from vfsoverlay._cache.readahead import Readahead
from vfsoverlay._metrics import Metrics

_O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC

#: Reads from this size on bring one block more: a buffered file asks for its caller's bytes in two reads, the
#: whole buffers first and then one more for the rest.
_BULK: Final = 512 * 1024

#: What is on its way ahead of a reader who goes elsewhere is called off if it is more than this (bytes): a GET that is
#: broken off costs its connection.
_MUCH: Final = 4 * 1024 * 1024


class CachedObject(ABC):
    """One version of an object, open for reading; made by ``BlockCache.open_partial``, safe for several threads."""

    __slots__ = ("__weakref__", "_complete", "_memory", "_note_memory", "size")

    def __init__(
        self,
        name: str,
        size: int,
        read_range: ReadRange,
        complete: Callable[[], int],
        note_memory: Callable[[], object],
    ) -> None:
        self.size = size
        self._complete = complete
        #: Told when bytes are served from memory, because the disk could not take them.
        self._note_memory = note_memory
        self._memory = MemoryReader(name, size, read_range)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill *buffer* from *offset*; fetches what is missing, and is short only at the end of the object.

        Raises:
            OSError: What the store raised; never a full disk.
        """
        wanted = min(len(buffer), self.size - offset)
        if wanted <= 0:
            return 0
        buffer = buffer[:wanted]
        if self._read_disk(offset, buffer):
            return wanted
        self._note_memory()
        return self._memory.readinto(offset, buffer)

    @abstractmethod
    def _read_disk(self, offset: int, buffer: memoryview) -> bool:
        """Fill *buffer* by way of the disk; False if it cannot be had from there."""

    @abstractmethod
    def placeholder(self) -> int:
        """A descriptor nobody can read through (``O_PATH``), of the data file if there is one: ``fstat`` works."""

    def complete(self) -> int:
        """Fetch what is missing; a readable, pinned descriptor as ``BlockCache.complete`` gives it."""
        return self._complete()

    @abstractmethod
    def close(self) -> None:
        """Give the handle back; a second call does nothing."""

    def after_fork(self) -> None:
        """In the child: take new locks."""
        self._memory.after_fork()

    def __enter__(self) -> CachedObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LargeHandle(CachedObject):
    """A handle on an ``ObjectFile``: blocks arrive as they are read."""

    __slots__ = (
        "_ahead",
        "_deadline",
        "_fetcher",
        "_file",
        "_metrics",
        "_promotes",
        "_promotion",
        "_read_range",
        "_reads_ahead",
        "_release",
        "_ticket",
    )

    def __init__(
        self,
        name: str,
        file: ObjectFile,
        read_range: ReadRange,
        *,
        fetcher: Fetcher,
        metrics: Metrics,
        reads_ahead: bool,
        promotes: bool,
        deadline: float,
        complete: Callable[[], int],
        note_memory: Callable[[], object],
        release: Callable[[], object],
    ) -> None:
        super().__init__(name, file.size, read_range, complete, note_memory)
        self._file = file
        self._read_range = read_range
        self._deadline = deadline
        self._release: Callable[[], object] | None = release
        self._fetcher = fetcher
        self._metrics = metrics
        self._reads_ahead = reads_ahead
        self._promotes = promotes
        self._ahead = Readahead(self.size)
        #: Of what is fetched ahead in this run of reads, and of fetching the whole object.
        self._ticket = Ticket()
        self._promotion = Ticket()

    def _read_disk(self, offset: int, buffer: memoryview) -> bool:
        file = self._file
        first, last = blocks.covering(offset, offset + len(buffer), file.block_size)
        self._metrics.add("bytes.asked", len(buffer))
        if self._reads_ahead:
            self._read_ahead(offset, offset + len(buffer))
        if not file.is_ready(first, last):
            more = 1 if len(buffer) >= _BULK else 0
            try:
                self._wait_for(first, min(last + more, file.blocks))
            except (DiskFull, WaitedTooLong):
                return False
        # Short if somebody truncated the data file underneath: the bytes are still to be had, only not from there.
        return file.read_into(offset, buffer) == len(buffer)

    def _wait_for(self, first: int, last: int) -> None:
        file, deadline = self._file, time.monotonic() + self._deadline
        begun = time.monotonic()
        try:
            with file.promotion:
                self._fetcher.fetch_range(file, first, last, self._read_range, deadline)
        finally:
            self._metrics.add("seconds.waited", time.monotonic() - begun)
        if self._promotes and not self._ahead.is_running:
            self._fetcher.promote(file, self._read_range, self._promotion)

    def _read_ahead(self, start: int, stop: int) -> None:
        plan = self._ahead.on_read(start, stop)
        if self._ahead.left_behind > _MUCH:
            # The reader went elsewhere: what it will not read must not take the bandwidth from what it does.
            self._ahead.left_behind = 0
            self._ticket.cancelled = True
        if plan is None:
            return
        file = self._file
        if self._ticket.cancelled:
            # A fetch failed, or an earlier run ended: this run has a ticket of its own.
            self._ticket = Ticket()
        first, last = blocks.covering(plan.start, plan.stop, file.block_size)
        most = max(1, plan.get // file.block_size)
        reached = self._fetcher.start_range(file, first, last, most, self._read_range, self._ticket)
        self._ahead.planned(reached * file.block_size if reached < last else plan.stop)

    def placeholder(self) -> int:
        return self._file.descriptor(_O_PATH)

    def close(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            self._ticket.cancelled = self._promotion.cancelled = True
            self._ahead.end_run()
            if self._ahead.wasted:
                self._metrics.add("bytes.wasted", self._ahead.wasted)
            try:
                # The thread that brought the last block may not have come to that yet.
                self._file.seal()
            finally:
                release()


class SmallHandle(CachedObject):
    """A handle on an object that comes whole with the first read: to disk if there is room, else to memory."""

    __slots__ = ("_fd",)

    def __init__(
        self,
        name: str,
        size: int,
        read_range: ReadRange,
        *,
        complete: Callable[[], int],
        note_memory: Callable[[], object],
    ) -> None:
        super().__init__(name, size, read_range, complete, note_memory)
        self._fd = -1

    def _read_disk(self, offset: int, buffer: memoryview) -> bool:
        try:
            if self._fd < 0:
                self._fd = self._complete()
        except OSError as error:
            if error.errno in FULL:
                return False
            raise
        return _real.preadv(self._fd, [buffer], offset) == len(buffer)

    def placeholder(self) -> int:
        # There may be no file, and no room to make one. What is asked for cannot be read anyway, so any file will do;
        # not a directory, which io refuses to open.
        return _real.open(f"/proc/self/fd/{self._fd}" if self._fd >= 0 else os.devnull, _O_PATH)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _real.close(fd)
