"""Reads a snapshot: the names of a mount as they were listed once, shared by all processes."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from os import O_CLOEXEC, O_RDONLY
from typing import Any, Final

from vfsoverlay import _real
from vfsoverlay._namespace.names import SHADOWED
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Hidden, Node
from vfsoverlay._namespace.schema import APPLICATION_ID, FORMAT, ROOT, decode_key, encode_key, read_only_uri

#: Entries of directories kept in memory, about 35 MiB. A directory with more is read row by row.
_MAX_ENTRIES: Final = 100_000
_MAX_DIRECTORIES: Final = 50_000
_BATCH: Final = 1000
#: A directory is taken into memory when this share of it was asked for one by one: by then that has
#: cost as much as reading it whole.
_LOAD_SHARE: Final = 16

_CHILDREN: Final = """
    SELECT name, size, mtime_ns, etag, storage_class, version_id FROM entry WHERE parent = ?
"""

# Connections of the parent after a fork: SQLite forbids to use or close them here, and so they are kept
# from the garbage collector.
_forgotten: list[object] = []


class _Directory:
    """What is known in memory about one directory."""

    __slots__ = ("entries", "id", "misses", "mtime_ns", "nodes", "path", "used")

    def __init__(self, path: str, id_: int, mtime_ns: int, entries: int) -> None:
        self.path = path
        self.id = id_
        self.mtime_ns = mtime_ns
        self.entries = entries
        self.misses = 0
        self.nodes: dict[str, Node] | None = None
        self.used = True


class Snapshot:
    """A namespace in an immutable file; see ``Namespace`` for the methods.

    Args:
        path: The snapshot file. While this object is open, nobody removes the file.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It is no snapshot of this version (EINVAL), or cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._in_use = _real.open(path, O_RDONLY | O_CLOEXEC)
        self._connection_: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._directories: dict[str, _Directory] = {}
        self._loaded = 0
        try:
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            if not _real.fstat(self._in_use).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the listing was removed just now", path)
            self.info: Mapping[str, str] = self._read_info()
            self.object_count = int(self.info["object_count"])
            self.total_size = int(self.info["total_size"])
            self.prefix = self.info["prefix"]
            self.generation = self.info["generation"]
            root = self._directory("")
            if root is None:
                raise self._broken("it has no root directory")
            self._root = DirectoryNode("", root.mtime_ns)
        except KeyError as error:
            self.close()
            raise self._broken(f"it does not say its {error}") from None
        except BaseException:
            self.close()
            raise

    # --- the namespace

    def lookup(self, path: str) -> Node | None:
        """What *path* is; ``None``: nothing."""
        above, _, name = path.rpartition("/")
        directory = self._directories.get(above)
        if directory is not None and directory.nodes is not None:
            directory.used = True
            return directory.nodes.get(name) if name else self._lookup_odd(path)
        return self._lookup_cold(path, above, name)

    def scan(self, path: str) -> Iterator[Node]:
        """The children of the directory *path*, in byte order of their names."""
        directory = self._existing(path)
        nodes = self._load(directory) if directory.entries <= _MAX_ENTRIES else None
        return self._stream(directory) if nodes is None else iter(list(nodes.values()))

    def names(self, path: str) -> list[str]:
        """The names in the directory *path*, in byte order."""
        directory = self._existing(path)
        if directory.nodes is not None:
            directory.used = True
            return list(directory.nodes)
        rows = self._query("SELECT name FROM entry WHERE parent = ? ORDER BY name", (directory.id,))
        return [name for (name,) in rows]

    def hidden(self) -> Iterator[Hidden]:
        """The objects that no path leads to, with the reason, in byte order of their keys."""
        prefix = encode_key(self.prefix)
        rows = self._query("SELECT key, reason FROM hidden WHERE reason != ''")
        for path, name in self._query(
            "SELECT path, shadowed.name FROM shadowed JOIN directory ON id = shadowed.parent"
        ):
            rows.append((prefix + encode_key(f"{path}/{name}" if path else name), SHADOWED))
        for key, reason in sorted(rows):
            yield Hidden(decode_key(key), reason)

    def after_fork(self) -> None:
        """Drop the parent's connection; called in the child."""
        self._lock = threading.RLock()
        _forgotten.append(self._connection_)
        self._connection_ = None

    def close(self) -> None:
        """Give the file back; others may remove it then."""
        with self._lock:
            if self._connection_ is not None:
                self._connection_.close()
                self._connection_ = None
            if self._in_use >= 0:
                _real.close(self._in_use)
                self._in_use = -1
            self._directories.clear()
            self._loaded = 0

    def is_sound(self) -> bool:
        """Whether the whole file is readable and consistent; takes about a second for a million objects."""
        return self._query("PRAGMA quick_check") == [("ok",)]

    # --- directories in memory

    def _lookup_odd(self, path: str) -> Node | None:
        return None if path else self._root

    def _lookup_cold(self, path: str, above: str, name: str) -> Node | None:
        if not name:
            return self._lookup_odd(path)
        try:
            directory = self._directory(above)
            if directory is None:
                return None
            directory.misses += 1
            if directory.misses * _LOAD_SHARE >= directory.entries and directory.entries <= _MAX_ENTRIES:
                return self._load(directory).get(name)
            rows = self._query(_CHILDREN + "AND name = ?", (directory.id, name))
        except UnicodeEncodeError:  # a lone surrogate: no name has one
            return None
        return _node(rows[0]) if rows else None

    def _existing(self, path: str) -> _Directory:
        directory = self._directory(path)
        if directory is None:
            raise FileNotFoundError(errno.ENOENT, "no such directory in the mount", path)
        return directory

    def _directory(self, path: str) -> _Directory | None:
        directory = self._directories.get(path)
        if directory is None:
            rows = self._query("SELECT id, mtime_ns, entries FROM directory WHERE path = ?", (path,))
            if not rows:
                return None
            with self._lock:
                directory = self._directories.setdefault(path, _Directory(path, *rows[0]))
                self._make_room(0)
        directory.used = True
        return directory

    def _load(self, directory: _Directory) -> dict[str, Node]:
        """Take all of *directory* into memory."""
        nodes = directory.nodes
        if nodes is not None:
            return nodes
        with self._lock:
            directory = self._directories.setdefault(directory.path, directory)
            if directory.nodes is None:
                self._make_room(directory.entries)
                rows = self._query(_CHILDREN + "ORDER BY name", (directory.id,))
                directory.nodes = {row[0]: _node(row) for row in rows}
                self._loaded += directory.entries
                self._directories[directory.path] = directory
            return directory.nodes

    def _make_room(self, entries: int) -> None:
        """Drop directories that were not used for the longest time (the clock algorithm: two rounds at most)."""
        kept = self._directories
        while kept and (len(kept) > _MAX_DIRECTORIES or self._loaded and self._loaded + entries > _MAX_ENTRIES):
            path = next(iter(kept))
            directory = kept.pop(path)
            if directory.used:
                directory.used = False
                kept[path] = directory
            elif directory.nodes is not None:
                self._loaded -= directory.entries

    def _stream(self, directory: _Directory) -> Iterator[Node]:
        """The children of a large directory; each step is a query of its own, so it survives a fork."""
        query = _CHILDREN + f"AND name > ? ORDER BY name LIMIT {_BATCH}"
        last = ""
        while True:
            rows = self._query(query, (directory.id, last))
            yield from map(_node, rows)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]

    # --- the file

    def _query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._broken(str(error)) from error

    def _connection(self) -> sqlite3.Connection:
        if self._connection_ is None:
            if self._in_use < 0:
                raise OSError(errno.ENODEV, f"the listing {self.path} was closed, the mount is gone")
            uri = read_only_uri(self.path)
            self._connection_ = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        return self._connection_

    def _read_info(self) -> dict[str, str]:
        marks = self._query("PRAGMA application_id") + self._query("PRAGMA user_version")
        if marks != [(APPLICATION_ID,), (FORMAT,)]:
            raise self._broken("it is no snapshot of this version of vfsoverlay")
        return dict(self._query("SELECT name, value FROM info"))  # type: ignore[arg-type]

    def _broken(self, why: str) -> OSError:
        return OSError(
            errno.EIO, f"the listing {self.path} cannot be read: {why}; refresh() or mount again to list anew"
        )


def _node(row: tuple[Any, ...]) -> Node:
    return DirectoryNode(row[0], row[2]) if row[1] is None else FileNode._make(row)


def open_snapshot(path: str) -> Snapshot:
    """Open the snapshot file *path*, which another process may have built; asks no store for anything."""
    return Snapshot(path)
