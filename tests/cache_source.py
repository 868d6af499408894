"""A store of made-up objects for tests of the cache: what it gives is known from the key, what it gave is counted."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from vfsoverlay._cache.read_range import ReadRange, Sink, Wanted
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

MIB = 1024**2


def content(key: str, size: int) -> bytes:
    """The bytes of the object *key*: the same in every process, different for every key."""
    return random.Random(key.encode("utf-8", "surrogateescape")).randbytes(size)


class Source:
    """Gives ranges of objects to sinks, piece by piece.

    Args:
        piece: Bytes a sink gets at a time.
        log: A file to which every range given is appended, for counts over several processes.
    """

    def __init__(self, *, piece: int = 64 * 1024, log: Path | None = None) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        """Key, start and stop of every range that was asked for."""
        self.purposes: Counter[str] = Counter()
        self.before: Callable[[str, int, int], object] = lambda key, start, stop: None
        """Called before a range is given; may raise or wait."""
        self._piece = piece
        self._log = log
        self._mutex = threading.Lock()
        self._contents: dict[tuple[str, int], bytes] = {}

    def object(self, key: str, size: int, etag: str = "e") -> ObjectId:
        """The identity of a made-up object."""
        return ObjectId("test://bucket", key, etag, size, 0)

    def content(self, object_id: ObjectId) -> bytes:
        """All bytes of a made-up object; another ETag is another content."""
        key = f"{object_id.key}@{object_id.etag}"
        found = self._contents.get((key, object_id.size))
        if found is None:
            found = self._contents[key, object_id.size] = content(key, object_id.size)
        return found

    def reader(self, object_id: ObjectId) -> ReadRange:
        """What the cache asks for bytes of *object_id*."""

        def read_range(start: int, stop: int, sink: Sink, purpose: Purpose) -> None:
            assert 0 <= start < stop <= object_id.size, "an empty range, or one beyond the object, was asked for"
            with self._mutex:
                self.ranges.append((object_id.key, start, stop))
                self.purposes[purpose] += 1
            self.before(object_id.key, start, stop)
            body = memoryview(self.content(object_id))
            for at in range(start, stop, self._piece):
                sink(body[at : min(at + self._piece, stop)])
            if self._log is not None:
                self._append(f"{object_id.key} {start} {stop}\n")

        return read_range

    def wanted(self, object_id: ObjectId) -> Wanted:
        """*object_id* for a warm."""
        return Wanted(object_id, self.reader(object_id))

    def _append(self, line: str) -> None:
        assert self._log is not None
        fd = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, line.encode())
        os.close(fd)

    @property
    def bytes_given(self) -> int:
        """How many bytes were asked for in all."""
        return sum(stop - start for _, start, stop in self.ranges)

    def times_given(self, unit: int) -> Counter[tuple[str, int]]:
        """How often each block of *unit* bytes was asked for."""
        return count_blocks(self.ranges, unit)


def count_blocks(ranges: list[tuple[str, int, int]], unit: int) -> Counter[tuple[str, int]]:
    """How often each block of *unit* bytes lies in *ranges*."""
    counts: Counter[tuple[str, int]] = Counter()
    for key, start, stop in ranges:
        counts.update((key, block) for block in range(start // unit, -(-stop // unit)))
    return counts


def read_log(log: Path) -> list[tuple[str, int, int]]:
    """The ranges in a log that several processes wrote."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return [(key, int(start), int(stop)) for key, start, stop in lines]


def read_all(fd: int) -> bytes:
    """Everything behind the descriptor *fd*, which is closed."""
    with open(fd, "rb") as file:
        return file.read()
