"""The file of a snapshot, open for reading: it is in use by this process, and answers queries."""
# ruff: noqa: S608 - the texts put into statements are our own

from __future__ import annotations

import errno
import fcntl
import sqlite3
import threading
from collections.abc import Mapping
from os import O_CLOEXEC, O_RDONLY
from typing import Any

from vfsoverlay import _real
from vfsoverlay._fork_gate import no_fork
from vfsoverlay._namespace.place import CHECKSUM_SIZE, Place, checksum_of_tables, read_place, size_of_tables
from vfsoverlay._namespace.schema import APPLICATION_ID, FORMAT, read_only_uri

# Connections of the parent after a fork: SQLite forbids to use or to close them here, and so they are
# kept from the garbage collector.
_forgotten: list[sqlite3.Connection] = []

#: Leaves whose places are read at once, to be checked.
_CHECKED = 100

_TEXTS = ("identity", "prefix", "generation", "boot_id")
_NUMBERS = ("listed_at_ns", "object_count", "total_size", "largest_size", "hidden_count", "leaf_bytes")


class SnapshotFile:
    """Holds a shared lock on the file *path*, so that nobody removes it, and reads it without further locks.

    Raises:
        FileNotFoundError: There is no such file, or it was removed just now.
        OSError: It is no snapshot of this version, or it is damaged (EIO).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._descriptor = _real.open(path, O_RDONLY | O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            self._check_present()
            self._leaves_at = size_of_tables(self._descriptor)
            self.info: Mapping[str, str] = self._read_info()
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            self.close()
            raise

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows that *sql* gives."""
        try:
            with self.lock, no_fork:
                connection = self._connection or self._connect()
                return connection.execute(sql, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter by a damaged statement in the schema
            raise self.broken(str(error)) from error

    def read(self, place: Place) -> bytes:
        """The leaf or branch at *place*, checked; takes no lock."""
        try:
            return read_place(self._descriptor, self._leaves_at, place)
        except OSError as error:
            # Closed meanwhile, the descriptor may even be that of another file.
            raise (self._closed() if self._descriptor < 0 else self.broken(str(error.strerror))) from error

    def is_sound(self) -> bool:
        """Whether the file is consistent as a whole; takes about a second for a million objects."""
        try:
            self.verify()
        except OSError:
            return False
        return True

    def verify(self) -> None:
        """Read the whole file; raises ``OSError`` (EIO) where it is not consistent."""
        wrong = self.query("PRAGMA quick_check")
        if wrong != [("ok",)]:
            raise self.broken(str(wrong[0][0]))
        for table in ("leaf", "branch"):
            last = 0
            some = f"SELECT rowid, start, length, checksum FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"
            while rows := self.query(some, (last, _CHECKED)):
                for row in rows:
                    self.read(row[1:])
                last = rows[-1][0]

    def after_fork(self) -> None:
        """Drop the parent's connection and lock; called in the child, which holds the file as well."""
        self.lock = threading.RLock()
        if self._connection is not None:
            _forgotten.append(self._connection)
            self._connection = None

    def close(self) -> None:
        """Give the file back; others may remove it then."""
        with self.lock, no_fork:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                _real.close(descriptor)

    def broken(self, why: str) -> OSError:
        """The error for a file that cannot be read because of *why*."""
        return OSError(
            errno.EIO, f"the listing {self.path} cannot be read: {why}; mount again or call refresh() to list anew"
        )

    def _closed(self) -> OSError:
        return OSError(errno.ENODEV, f"the listing {self.path} is closed: its mount was ended or refreshed")

    def _connect(self) -> sqlite3.Connection:
        if self._descriptor < 0:
            raise self._closed()
        uri = read_only_uri(self.path)
        self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        return self._connection

    def _check_present(self) -> None:
        # It may have been removed between our open and our lock.
        if not _real.fstat(self._descriptor).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the listing was removed just now", self.path)

    def _read_info(self) -> dict[str, str]:
        marks = self.query("PRAGMA application_id") + self.query("PRAGMA user_version")
        if marks != [(APPLICATION_ID,), (FORMAT,)]:
            raise self.broken("it is no snapshot of this version of vfsoverlay")  # noqa: EM101 - passed to broken()
        size = _real.fstat(self._descriptor).st_size
        checksum = _real.pread(self._descriptor, CHECKSUM_SIZE, max(0, size - CHECKSUM_SIZE))
        if checksum != checksum_of_tables(self._descriptor):
            raise self.broken("its tables are not what was written, or it was cut")  # noqa: EM101 - as above
        info = dict(self.query("SELECT name, value FROM info"))
        wrong = [name for name in _TEXTS if name not in info]
        wrong += [name for name in _NUMBERS if not str(info.get(name)).isdecimal()]
        if wrong:
            raise self.broken(f"it does not say its {', '.join(wrong)}")  # noqa: EM102 - as above
        if size != self._leaves_at + int(info["leaf_bytes"]) + CHECKSUM_SIZE:
            raise self.broken("it was cut, or something was added to it")  # noqa: EM101 - as above
        return info
