"""The names of a mount as they were listed once, read from a file that all processes share."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, Final

from vfsoverlay._namespace.directory_cache import DirectoryCache
from vfsoverlay._namespace.names import SHADOWED
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Hidden, Node
from vfsoverlay._namespace.schema import decode_key, encode_key
from vfsoverlay._namespace.snapshot_file import SnapshotFile

_BATCH: Final = 1000
#: Entries of a directory that is taken into memory whole; a larger one is read as it is asked for.
_MAX_LOADED: Final = 100_000
#: A directory is taken into memory once this share of it was asked for one by one: by then that has
#: cost about as much as reading it whole.
_LOAD_SHARE: Final = 16
#: Nodes remembered of directories that are not in memory.
_MAX_SINGLE: Final = 10_000

_CHILDREN: Final = "SELECT name, size, mtime_ns, etag, storage_class, version_id FROM entry WHERE parent = ?"

#: What ``FileNode._make`` does, at a third of its time.
_new: Final = tuple.__new__


class _Directory:
    """What is in memory about one directory: its row, and its children once they were worth it."""

    __slots__ = ("entries", "id", "misses", "mtime_ns", "nodes", "used", "weight")

    def __init__(self, id_: int, mtime_ns: int, entries: int, nodes: dict[str, Node] | None = None) -> None:
        self.id = id_
        self.mtime_ns = mtime_ns
        self.entries = entries
        self.nodes = nodes
        self.misses = 0
        self.used = True
        self.weight = 1 if nodes is None else 1 + entries


class Snapshot:
    """A namespace in an immutable file; ``Namespace`` says what the methods do.

    Args:
        path: The snapshot file; it stays as long as this object is open.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It is no snapshot of this version, or it is damaged (EIO).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = SnapshotFile(path)
        self._directories: DirectoryCache[_Directory] = DirectoryCache()
        self._single: dict[tuple[str, str], Node] = {}
        self.info = self._file.info
        self.prefix = self.info["prefix"]
        self.generation = self.info["generation"]
        self.object_count = int(self.info["object_count"])
        self.total_size = int(self.info["total_size"])
        self.hidden_count = int(self.info["hidden_count"])
        try:
            self._root = DirectoryNode("", self._existing("").mtime_ns)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            self.close()
            raise

    def lookup(self, path: str) -> Node | None:
        """What *path* is; ``None``: nothing."""
        above, slash, name = path.rpartition("/")
        directory = self._directories.items.get(above)
        if not name or (slash and not above):
            return None if path else self._root
        if directory is not None and directory.nodes is not None:
            directory.used = True
            return directory.nodes.get(name)
        try:
            return self._lookup_cold(above, name)
        except UnicodeEncodeError:  # a lone surrogate: no name has one
            return None

    def is_listed(self, path: str) -> bool:  # noqa: ARG002 - the interface
        """True: no path ever needs a request."""
        return True

    def scan(self, path: str) -> Iterator[Node]:
        """The children of the directory *path*, in byte order of their names."""
        directory = self._existing(path)
        if directory.entries > _MAX_LOADED:
            return self._stream(directory)
        return iter(list(self._nodes(path, directory).values()))

    def names(self, path: str) -> list[str]:
        """The names in the directory *path*, in byte order."""
        directory = self._existing(path)
        if directory.nodes is not None:
            return list(directory.nodes)
        rows = self._file.query("SELECT name FROM entry WHERE parent = ? ORDER BY name", (directory.id,))
        return [name for (name,) in rows]

    def hidden(self) -> Iterator[Hidden]:
        """The objects that no path leads to, with the reason, in byte order of their keys."""
        found = [
            (decode_key(key), why) for key, why in self._file.query("SELECT key, reason FROM hidden WHERE reason != ''")
        ]
        shadowed = "SELECT path, shadowed.name FROM shadowed JOIN directory ON id = shadowed.parent"
        for path, name in self._file.query(shadowed):
            found.append((f"{self.prefix}{path}/{name}" if path else self.prefix + name, SHADOWED))
        return (Hidden(*row) for row in sorted(found, key=lambda row: encode_key(row[0])))

    def is_sound(self) -> bool:
        """Whether the file is consistent as a whole; takes about a second for a million objects."""
        return self._file.is_sound()

    def after_fork(self) -> None:
        """Drop the parent's connection and lock; called in the child."""
        self._file.after_fork()

    def close(self) -> None:
        """Give the file back; others may remove it then."""
        with self._file.lock:
            self._file.close()
            self._directories.clear()
            self._single = {}

    def _lookup_cold(self, above: str, name: str) -> Node | None:
        known = self._single.get((above, name))
        if known is not None:
            return known
        directory = self._directory(above)
        if directory is None:
            return None
        directory.misses += 1
        if directory.misses * _LOAD_SHARE >= directory.entries and directory.entries <= _MAX_LOADED:
            return self._nodes(above, directory).get(name)
        rows = self._file.query(_CHILDREN + " AND name = ?", (directory.id, name))
        if not rows:
            return None
        node = _node(rows[0])
        if len(self._single) >= _MAX_SINGLE:
            self._single = {}
        self._single[above, name] = node
        return node

    def _directory(self, path: str) -> _Directory | None:
        directory = self._directories.items.get(path)
        if directory is None:
            rows = self._file.query("SELECT id, mtime_ns, entries FROM directory WHERE path = ?", (path,))
            if not rows:
                return None
            directory = _Directory(*rows[0])
            with self._file.lock:
                self._directories.put(path, directory)
        directory.used = True
        return directory

    def _existing(self, path: str) -> _Directory:
        directory = self._directory(path)
        if directory is None:
            raise FileNotFoundError(errno.ENOENT, "no such directory in the listing", path)
        return directory

    def _nodes(self, path: str, directory: _Directory) -> dict[str, Node]:
        """The children of *directory*, taken into memory."""
        if directory.nodes is not None:
            return directory.nodes
        with self._file.lock:
            other = self._directories.items.get(path)  # of a thread that was quicker
            if other is not None and other.nodes is not None:
                return other.nodes
            rows = self._file.query(_CHILDREN + " ORDER BY name", (directory.id,))
            nodes: dict[str, Node] = {
                row[0]: _new(FileNode, row) if row[1] is not None else DirectoryNode(row[0], row[2]) for row in rows
            }
            self._directories.put(path, _Directory(directory.id, directory.mtime_ns, directory.entries, nodes))
        return nodes

    def _stream(self, directory: _Directory) -> Iterator[Node]:
        """The children of a large directory; each step is a query of its own, so a fork does not end it."""
        last = ""
        while True:
            query = f"{_CHILDREN} AND name > ? ORDER BY name LIMIT {_BATCH}"
            rows = self._file.query(query, (directory.id, last))
            yield from map(_node, rows)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]


def _node(row: tuple[Any, ...]) -> Node:
    return DirectoryNode(row[0], row[2]) if row[1] is None else _new(FileNode, row)


def open_snapshot(path: str) -> Snapshot:
    """Open the snapshot file *path*, which another process may have built, without asking any store."""
    return Snapshot(path)
