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


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data*."""
    view = memoryview(data)
    while view:
        view = view[_real.write(descriptor, view) :]


def copy_file(source: str, target: str) -> None:
    """Overwrite the empty file *target* with *source*."""
    with reading(source) as reader:
        writer = _real.open(target, O_WRONLY | O_CLOEXEC)
        try:
            for piece in pieces(reader):
                write_all(writer, piece)
        finally:
            _real.close(writer)
