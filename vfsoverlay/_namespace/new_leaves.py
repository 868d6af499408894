"""The leaves of a snapshot that is being written: a row of its table for each, and their bytes behind the tables."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import O_CLOEXEC, O_CREAT, O_EXCL, O_RDWR
from typing import Final
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._namespace import leaf
from vfsoverlay._namespace.pending_rows import PendingRows
from vfsoverlay._namespace.place import CHECKSUM_SIZE, Place, checksum_of_tables, read_place, size_of_tables
from vfsoverlay._namespace.whole_file import reading, write_all, written_over

_COLUMNS: Final = ("parent", "first", "last", "files", "size", "largest", "mtime_ns", "start", "length", "checksum")
#: Bytes that are written at once: each call gives up the interpreter lock, as ``PendingRows`` explains.
_BUFFER: Final = 1 << 20


class NewLeaves:
    """Keeps the bytes of leaves in a file without a name until the tables before them are complete.

    Args:
        connection: The snapshot, whose table ``leaf`` tells where each leaf is.
        path: The file of the snapshot; that of the leaves lies beside it for a moment, and so on the same disk.
        base: The snapshot whose leaves are in the table already, if any are.
    """

    def __init__(self, connection: sqlite3.Connection, path: str, base: str = "") -> None:
        self._connection = connection
        self._path = path
        self._rows = PendingRows(connection, "leaf", _COLUMNS)
        self._descriptor = _unnamed_file(path)
        self._pending: list[bytes] = []
        self._written = self._size = 0
        if base:
            try:
                self._take_over(base)
            except BaseException:  # cleans up after Ctrl-C as well, and raises it again
                self.close()
                raise

    def add(
        self, parent: int, names: Sequence[str], sizes: Sequence[int], mtimes_ns: Sequence[int], *texts: Sequence[str]
    ) -> None:
        """Add a leaf to the directory *parent*; the other arguments and the errors are those of ``leaf.pack``."""
        data = leaf.pack(names, sizes, mtimes_ns, *texts)
        self.add_packed(parent, leaf.measures(names, sizes, mtimes_ns), data)

    def add_packed(self, parent: int, measures: leaf.Measures, data: bytes) -> None:
        """Add a leaf that is packed to the directory *parent*."""
        self._rows.add(parent, *measures, *self.put(data))

    def put(self, data: bytes) -> Place:
        """Have *data* behind the tables, and return where it is."""
        place = self._size, len(data), crc32(data)
        self._pending.append(data)
        self._size += len(data)
        if self._size - self._written >= _BUFFER:
            self._write()
        return place

    @property
    def size(self) -> int:
        """Bytes behind the tables."""
        return self._size

    def flush(self) -> None:
        """Have all leaves in the table."""
        self._rows.flush()

    def read(self, place: Place) -> bytes:
        """The leaf at *place*."""
        self._write()
        return read_place(self._descriptor, 0, place)

    def tidy(self) -> None:
        """Forget all bytes but those of the leaves in the table."""
        (used,) = self._connection.execute("SELECT sum(length) FROM leaf").fetchone()
        if (used or 0) != self._size:
            self._copy_used()

    def put_behind_tables(self) -> None:
        """Write all leaves to the end of the file of the snapshot, which SQLite has closed."""
        self._write()
        with _writing(self._path):
            target = _real.open(self._path, O_RDWR | O_CLOEXEC)
            try:
                _real.ftruncate(target, _real.lseek(target, size_of_tables(target), 0))
                _real.lseek(self._descriptor, 0, 0)
                written_over(self._descriptor, target)
                write_all(target, checksum_of_tables(target))
            finally:
                _real.close(target)

    def close(self) -> None:
        """Give the file up."""
        if self._descriptor >= 0:
            _real.close(self._descriptor)
            self._descriptor = -1

    def _take_over(self, snapshot: str) -> None:
        with reading(snapshot) as descriptor, _writing(self._path):
            _real.lseek(descriptor, size_of_tables(descriptor), 0)
            self._written = self._size = written_over(descriptor, self._descriptor) - CHECKSUM_SIZE
            _real.ftruncate(self._descriptor, self._size)
            _real.lseek(self._descriptor, self._size, 0)

    def _copy_used(self) -> None:
        old = self._descriptor
        self._write()
        self._descriptor, self._written, self._size = _unnamed_file(self._path), 0, 0
        try:
            changed = []
            rows = self._connection.execute("SELECT id, start, length, checksum FROM leaf ORDER BY id")
            for id_, start, length, checksum in rows:
                place = self.put(read_place(old, 0, (start, length, checksum)))
                changed.append((place[0], id_))
            self._connection.executemany("UPDATE leaf SET start = ? WHERE id = ?", changed)
        finally:
            _real.close(old)

    def _write(self) -> None:
        if self._pending:
            with _writing(self._path):
                write_all(self._descriptor, b"".join(self._pending))
            self._pending = []
            self._written = self._size


def _unnamed_file(beside: str) -> int:
    """A descriptor of a new, empty file, which is gone when that is closed, even by a crash."""
    path = f"{beside}.leaves.tmp"
    with _writing(beside):
        descriptor = _real.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        _real.unlink(path)
    return descriptor


def copy_tables(snapshot: str, path: str) -> None:
    """Overwrite the empty file *path* with the tables of the file *snapshot*, for changes."""
    with reading(snapshot) as descriptor, _writing(path):
        target = _real.open(path, O_RDWR | O_CLOEXEC)
        try:
            written_over(descriptor, target)
            _real.ftruncate(target, size_of_tables(target))
        finally:
            _real.close(target)


def not_written(number: int, why: str, directory: str) -> OSError:
    """The error for a snapshot that the disk does not take because of *why*."""
    text = f"the listing cannot be written: {why}; see to the disk, or choose another cache_dir"
    return OSError(number, text, directory)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_written(error.errno or errno.EIO, error.strerror or str(error), path.rpartition("/")[0]) from error
