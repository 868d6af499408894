"""Files that are read and written from beginning to end, with the functions of before any patch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import O_CLOEXEC, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY
from typing import Final

from vfsoverlay import _real

_PIECE: Final = 1 << 20


@contextmanager
def reading(path: str) -> Iterator[int]:
    """A descriptor of *path* for reading."""
    descriptor = _real.open(path, O_RDONLY | O_CLOEXEC)
    try:
        yield descriptor
    finally:
        _real.close(descriptor)


@contextmanager
def replacing(path: str, temporary: str) -> Iterator[int]:
    """A descriptor of *temporary*, which takes the place of *path* when it is whole and on the disk."""
    try:
        descriptor = _real.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        try:
            yield descriptor
            _real.fsync(descriptor)
        finally:
            _real.close(descriptor)
        _real.rename(temporary, path)
    except BaseException:  # cleans up after Ctrl-C as well, and raises it again
        with suppress(OSError):
            _real.unlink(temporary)
        raise


def pieces(descriptor: int) -> Iterator[bytes]:
    """What is left to read, a MiB at a time."""
    while piece := _real.read(descriptor, _PIECE):
        yield piece


def written_over(source: int, target: int) -> int:
    """Write what is left to read of *source* to *target*, and return how many bytes that was."""
    size = 0
    for piece in pieces(source):
        write_all(target, piece)
        size += len(piece)
    return size


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*."""
    view = memoryview(data)
    while view:
        view = view[_real.write(descriptor, view) :]
