"""The names of a mount as they were listed once, read from a file that all processes share."""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Iterator
from heapq import merge
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final

from vfsoverlay._namespace import leaf
from vfsoverlay._namespace.branch import DirectoryRow, directory_in
from vfsoverlay._namespace.directory_cache import DirectoryCache
from vfsoverlay._namespace.names import SHADOWED
from vfsoverlay._namespace.nodes import DirectoryNode, Hidden, Node
from vfsoverlay._namespace.place import Place
from vfsoverlay._namespace.schema import decode_key, encode_key
from vfsoverlay._namespace.snapshot_file import SnapshotFile

#: Directories that a scan of a large directory reads at once.
_BATCH: Final = 1000
#: Entries of a directory that is taken into memory whole; a larger one is read as it is asked for.
_MAX_LOADED: Final = 100_000
#: By then, asking one by one has cost about as much as reading the directory whole.
_LOAD_SHARE: Final = 8
#: Nodes remembered of directories that are not in memory.
_MAX_SINGLE: Final = 10_000

_BRANCHES: Final = "SELECT first, start, length, checksum FROM branch ORDER BY first"
_LEAVES: Final = "SELECT first, start, length, checksum FROM leaf WHERE parent = ? ORDER BY first"


_NAME: Final = itemgetter(0)


class _Directory:
    """What is in memory about one directory: its row, where its leaves are, and its children once they were worth it.

    ``firsts`` has the first name in each leaf, or a text before that; ``places`` where the leaf is.
    """

    __slots__ = ("entries", "files", "firsts", "id", "misses", "mtime_ns", "nodes", "places", "used")

    def __init__(self, row: DirectoryRow, firsts: tuple[str, ...], places: tuple[Place, ...]) -> None:
        self.id, self.mtime_ns, self.entries, self.files, _ = row
        self.firsts = firsts
        self.places = places
        self.nodes: dict[str, Node] | None = None
        self.misses = 0
        self.used = True

    @property
    def weight(self) -> int:
        """As ``directory_cache.Held`` has it; the place of a leaf weighs about as much as an entry."""
        return 1 + len(self.places) + (0 if self.nodes is None else self.entries)


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
            #: The first path in each branch, and where the branch is.
            self._firsts, self._branches = _columns(self._file.query(_BRANCHES))
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
        directory = directory or self._directory(above)
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
        at = bisect_right(directory.firsts, name) - 1
        node = leaf.file_in(self._file.read(directory.places[at]), name) if at >= 0 else None
        if node is not None:
            return node
        folder = self._directory(f"{above}/{name}" if above else name) if directory.entries > directory.files else None
        return None if folder is None else DirectoryNode(name, folder.mtime_ns)

    def _directory(self, path: str) -> _Directory | None:
        directory = self._directories.items.get(path)
        if directory is None:
            directory = self._read_directory(path)
            if directory is None:
                return None
            with self._file.lock:
                self._directories.put(path, directory)
        directory.used = True
        return directory

    def _read_directory(self, path: str) -> _Directory | None:
        at = bisect_right(self._firsts, path) - 1
        row = directory_in(self._file.read(self._branches[at]), path)
        if row is None:
            return None
        if row.place is not None:
            return _Directory(row, ("",), (row.place,))
        return _Directory(row, *_columns(self._file.query(_LEAVES, (row.id,)) if row.files else []))

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
            nodes: dict[str, Node] = {}
            for data in self._leaves(directory):
                files = list(leaf.files_in(data))
                nodes.update(zip(map(_NAME, files), files, strict=True))
            if directory.entries > directory.files:
                nodes.update((node.name, node) for node in self._folders(directory))
                nodes = dict(sorted(nodes.items()))
            self._directories.drop(path)
            directory.nodes = nodes
            self._directories.put(path, directory)
        return nodes

    def _leaves(self, directory: _Directory) -> Iterator[bytes]:
        return map(self._file.read, directory.places)

    def _folders(self, directory: _Directory, after: str = "", limit: int = -1) -> list[DirectoryNode]:
        """The directories in *directory*, in byte order; all but those up to *after*, not more than *limit*."""
        if directory.entries == directory.files:
            return []
        query = "SELECT name, mtime_ns FROM directory WHERE parent = ? AND name > ? ORDER BY name LIMIT ?"
        return [DirectoryNode(*row) for row in self._file.query(query, (directory.id, after, limit))]

    def _stream(self, directory: _Directory) -> Iterator[Node]:
        """The children of a large directory; each step reads for itself, so a fork does not end it."""
        files: Iterator[Node] = chain.from_iterable(map(leaf.files_in, self._leaves(directory)))
        if directory.entries == directory.files:
            return files
        return merge(files, self._stream_folders(directory), key=attrgetter("name"))

    def _stream_folders(self, directory: _Directory) -> Iterator[Node]:
        last = ""
        while folders := self._folders(directory, last, _BATCH):
            yield from folders
            last = folders[-1].name


def _columns(rows: list[tuple[Any, ...]]) -> tuple[tuple[str, ...], tuple[Place, ...]]:
    """The first columns of *rows*, and the others."""
    return tuple(row[0] for row in rows), tuple(row[1:] for row in rows)


def open_snapshot(path: str, *, load_share: int = _LOAD_SHARE) -> Snapshot:
    """Open the snapshot file *path*, which another process may have built, without asking any store."""
    return Snapshot(path, load_share=load_share)
