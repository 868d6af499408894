"""The names of a mount as they were listed once, read from a file that all processes share."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import Final

from vfsoverlay._namespace import leaf
from vfsoverlay._namespace.directory_cache import DirectoryCache
from vfsoverlay._namespace.names import SHADOWED
from vfsoverlay._namespace.nodes import DirectoryNode, Hidden, Node
from vfsoverlay._namespace.schema import decode_key, encode_key
from vfsoverlay._namespace.snapshot_file import SnapshotFile

#: Leaves, and directories, that a scan of a large directory reads at once.
_LEAVES: Final = 8
_BATCH: Final = 1000
#: Entries of a directory that is taken into memory whole; a larger one is read as it is asked for.
_MAX_LOADED: Final = 100_000
#: By then, asking one by one has cost about as much as reading the directory whole.
_LOAD_SHARE: Final = 8
#: Bytes of a leaf in memory that weigh as much as one entry.
_ENTRY_BYTES: Final = 400
#: Nodes remembered of directories that are not in memory.
_MAX_SINGLE: Final = 10_000

_LEAF_OF: Final = "parent = ? AND first <= ? ORDER BY first DESC LIMIT 1"

_LEAF: Final = """
    SELECT checksum, first, last, data FROM leaf WHERE parent = ? AND first <= ? ORDER BY first DESC LIMIT 1
"""
_DIRECTORY_AND_LEAF: Final = """
    SELECT directory.id, directory.mtime_ns, entries, directory.files, checksum, first, last, data
    FROM directory LEFT JOIN leaf ON leaf.id = (
        SELECT id FROM leaf WHERE parent = directory.id AND first <= ? ORDER BY first DESC LIMIT 1)
    WHERE path = ?
"""


class _Directory:
    """What is in memory about one directory: its row, and its children once they were worth it."""

    __slots__ = ("entries", "files", "id", "leaf", "misses", "mtime_ns", "nodes", "used", "weight")

    def __init__(self, id_: int, mtime_ns: int, entries: int, files: int, nodes: dict[str, Node] | None = None) -> None:
        self.id = id_
        self.mtime_ns = mtime_ns
        self.entries = entries
        self.files = files
        self.nodes = nodes
        self.misses = 0
        #: The first name in the leaf that was read last, the last name in it, and itself.
        self.leaf: tuple[str, str, bytes] | None = None
        self.used = True
        self.weight = 1 if nodes is None else 1 + entries

    def keep_leaf(self, first: str, last: str, data: bytes) -> None:
        """Keep the leaf that was read last."""
        self.leaf = first, last, data
        self.weight = 1 + len(data) // _ENTRY_BYTES


class Snapshot:
    """A namespace in an immutable file; ``Namespace`` says what the methods do.

    Args:
        path: The snapshot file; it stays as long as this object is open.
        load_share: A directory is taken into memory once one in so many of its entries was asked for.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It is no snapshot of this version, or it is damaged (EIO).
    """

    def __init__(self, path: str, *, load_share: int = _LOAD_SHARE) -> None:
        self.path = path
        self._file = SnapshotFile(path)
        self._load_share = load_share
        self._directories: DirectoryCache[_Directory] = DirectoryCache()
        self._single: dict[str, Node] = {}
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
            return self._single.get(path) or self._lookup_cold(path, directory, above, name)
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
        found = [name for data in self._leaves(directory) for name in leaf.names_in(data)]
        folders = [node.name for node in self._folders(directory)]
        return sorted(found + folders) if folders else found

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

    def _lookup_cold(self, path: str, directory: _Directory | None, above: str, name: str) -> Node | None:
        directory = directory or self._meet(above, name)
        if directory is None:
            return None
        directory.used = True
        directory.misses += 1
        if directory.misses * self._load_share >= directory.entries and directory.entries <= _MAX_LOADED:
            return self._nodes(above, directory).get(name)
        node = self._find(above, directory, name)
        if node is not None:
            if len(self._single) >= _MAX_SINGLE:
                self._single = {}
            self._single[path] = node
        return node

    def _find(self, above: str, directory: _Directory, name: str) -> Node | None:
        """The child *name* of a directory that is not in memory."""
        data = self._leaf_of(above, directory, name) if directory.files else None
        node = None if data is None else leaf.file_in(data, name)
        if node is not None:
            return node
        folder = self._directory(f"{above}/{name}" if above else name) if directory.entries > directory.files else None
        return None if folder is None else DirectoryNode(name, folder.mtime_ns)

    def _leaf_of(self, path: str, directory: _Directory, name: str) -> bytes | None:
        """The leaf that has the file *name*, if any has; the last one read is kept."""
        kept = directory.leaf
        if kept is not None and kept[0] <= name <= kept[1]:
            return kept[2]
        rows = self._file.query(_LEAF, (directory.id, name))
        if not rows:
            return None
        with self._file.lock:
            found = self._file.checked(*rows[0])
            weight = directory.weight
            directory.keep_leaf(*found)
            if directory.weight != weight:
                # The cache adds up what it holds.
                directory.weight, weight = weight, directory.weight
                self._directories.drop(path)
                directory.weight = weight
                self._directories.put(path, directory)
        return found[2]

    def _meet(self, path: str, name: str) -> _Directory | None:
        """The directory *path*, which is not in memory, and the leaf that may have *name*: one query for both."""
        rows = self._file.query(_DIRECTORY_AND_LEAF, (name, path))
        if not rows:
            return None
        directory = _Directory(*rows[0][:4])
        if rows[0][4] is not None:
            directory.keep_leaf(*self._file.checked(*rows[0][4:]))
        with self._file.lock:
            self._directories.put(path, directory)
        return directory

    def _directory(self, path: str) -> _Directory | None:
        directory = self._directories.items.get(path)
        if directory is None:
            rows = self._file.query("SELECT id, mtime_ns, entries, files FROM directory WHERE path = ?", (path,))
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
            files = chain.from_iterable(map(leaf.files_in, self._leaves(directory)))
            nodes: dict[str, Node] = {node.name: node for node in files}
            if directory.entries > directory.files:
                nodes.update((node.name, node) for node in self._folders(directory))
                nodes = dict(sorted(nodes.items()))
            loaded = _Directory(directory.id, directory.mtime_ns, directory.entries, directory.files, nodes)
            self._directories.put(path, loaded)
        return nodes

    def _leaves(self, directory: _Directory) -> list[bytes]:
        return self._file.leaves("parent = ? ORDER BY first", (directory.id,)) if directory.files else []

    def _folders(self, directory: _Directory, after: str = "", limit: int = -1) -> list[DirectoryNode]:
        """The directories in *directory*, in byte order; all but those up to *after*, not more than *limit*."""
        if directory.entries == directory.files:
            return []
        query = "SELECT name, mtime_ns FROM directory WHERE parent = ? AND name > ? ORDER BY name LIMIT ?"
        return [DirectoryNode(*row) for row in self._file.query(query, (directory.id, after, limit))]

    def _stream(self, directory: _Directory) -> Iterator[Node]:
        """The children of a large directory; each step is a query of its own, so a fork does not end it."""
        if directory.entries == directory.files:
            return self._stream_files(directory)
        return merge(self._stream_files(directory), self._stream_folders(directory), key=attrgetter("name"))

    def _stream_files(self, directory: _Directory) -> Iterator[Node]:
        last = ""
        while True:
            condition = f"parent = ? AND first > ? ORDER BY first LIMIT {_LEAVES}"
            leaves = self._file.leaves(condition, (directory.id, last))
            for data in leaves:
                yield from leaf.files_in(data)
            if len(leaves) < _LEAVES:
                return
            last = leaf.names_in(leaves[-1])[-1]

    def _stream_folders(self, directory: _Directory) -> Iterator[Node]:
        last = ""
        while folders := self._folders(directory, last, _BATCH):
            yield from folders
            last = folders[-1].name


def open_snapshot(path: str, *, load_share: int = _LOAD_SHARE) -> Snapshot:
    """Open the snapshot file *path*, which another process may have built, without asking any store."""
    return Snapshot(path, load_share=load_share)
