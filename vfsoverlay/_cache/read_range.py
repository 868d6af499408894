"""How this room asks for bytes of a version, and the sinks that take them to a file or a buffer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple, Protocol
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId

#: Receives a body in order, piece by piece; a piece is only valid during the call, and may be empty, before a retry.
#: Must not raise an OSError: the transport would take the cache's full disk for a broken connection, and try again.
Sink = Callable[[memoryview], object]

#: Gives bytes start to stop (exclusive) of one version to a sink; retries below, raises OSError.
ReadRange = Callable[[int, int, Sink, Purpose], None]


class Begun(Protocol):
    """A read of one whole object that is on its way, as a store begins it (``vfsoverlay._store.protocol.Begun``)."""

    def fileno(self) -> int:
        """A descriptor that can be read when more of the answer has come."""

    def take(self) -> bool:
        """Take what has come, without a wait. True: there is nothing more to wait for."""

    def content(self) -> bytes | None:
        """All of the object, checked; None: only ``finish`` can tell what is the matter."""

    def finish(self, sink: Sink) -> None:
        """Wait for the rest, with retries, and give the object to *sink*; raises OSError."""

    def close(self) -> None:
        """Give it up."""


class Wanted(NamedTuple):
    """An object, and how to come by its bytes."""

    object_id: ObjectId
    read_range: ReadRange
    begin: Callable[[Purpose], Begun | None] | None = None
    """Asks for all of it without waiting for the answer. None, as the function or from it: only ``read_range`` can."""


#: errnos of a write that mean: these bytes do not fit (disk, quota, or the process's limit of file sizes).
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileSink:
    """Writes a body to a descriptor from its start on; remembers a failed write instead of raising it."""

    __slots__ = ("_fd", "checksum", "error", "offset")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.offset = 0
        self.checksum = 0
        self.error: OSError | None = None

    def __call__(self, piece: memoryview) -> None:
        if self.error is None:
            try:
                write_all(self._fd, piece, self.offset)
            except OSError as error:
                self.error = error
        self.checksum = crc32(piece, self.checksum)
        self.offset += len(piece)


def read_whole(object_id: ObjectId, read_range: ReadRange, purpose: Purpose) -> bytes:
    """All of an object that is not empty."""
    pieces: list[bytes] = []
    read_range(0, object_id.size, lambda piece: pieces.append(bytes(piece)), purpose)
    content = b"".join(pieces)
    check_length(object_id.key, len(content), object_id.size)
    return content


class BufferSink:
    """Copies a body into a buffer; what would not fit is counted but dropped."""

    __slots__ = ("_buffer", "offset")

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self.offset = 0

    def __call__(self, piece: memoryview) -> None:
        part = piece[: len(self._buffer) - self.offset]
        self._buffer[self.offset : self.offset + len(part)] = part
        self.offset += len(piece)


def check_length(name: str, given: int, wanted: int) -> None:
    """Raise EIO unless the store gave what it was asked for."""
    if given != wanted:
        msg = f"{name}: the store gave {given} bytes of {wanted}; try again"
        raise OSError(errno.EIO, msg)


def read_to_buffer(read_range: ReadRange, start: int, buffer: memoryview, purpose: Purpose, name: str) -> None:
    """Fill *buffer* with the bytes from *start* on, past the cache."""
    sink = BufferSink(buffer)
    read_range(start, start + len(buffer), sink, purpose)
    check_length(name, sink.offset, len(buffer))


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write *data* at *offset*, however many calls it takes."""
    view = memoryview(data)
    while view:
        written = _real.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
