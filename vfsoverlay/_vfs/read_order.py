"""In which order the files of a mount are likely to be opened: directory by directory, as a walk meets them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from vfsoverlay._namespace.nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vfsoverlay._namespace.nodes import Node

#: Entries of directories that are known by number, over all of them: some 30 MB.
_MOST_ENTRIES: Final = 200_000
#: How many directories without files are passed in search of the next file.
_MOST_EMPTY: Final = 64


class File(NamedTuple):
    """A file and where it is."""

    path: str
    node: FileNode


class _Directory:
    """The entries of one directory by number, and where its files stand in a run of directories."""

    def __init__(self, path: str, nodes: list[Node]) -> None:
        self.path = path
        self.files = [node for node in nodes if type(node) is FileNode]
        self.numbers = {node.name: number for number, node in enumerate(self.files)}
        self.below = [node.name for node in nodes if type(node) is DirectoryNode]
        self.places = {name: number for number, name in enumerate(self.below)}
        #: The directory in which the run began; names the run.
        self.run = path
        #: The number, within the run, of this directory's first file.
        self.first = 0

    def child(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


class ReadOrder:
    """Numbers the files of a mount.

    The files of a directory are numbered as they are listed. Where reading is foreseen to go on
    into the next directory, that one's files follow in the same run, so that opening them is seen
    to go on rather than to begin anew.

    Args:
        lookup: As ``Namespace.lookup``.
        scan: As ``Namespace.scan``.
        is_known: Whether the names in a directory are known without a request, which no guess is worth.
    """

    def __init__(
        self,
        lookup: Callable[[str], Node | None],
        scan: Callable[[str], Iterator[Node]],
        is_known: Callable[[str], bool],
    ) -> None:
        self._lookup = lookup
        self._scan = scan
        self._is_known = is_known
        self._directories: dict[str, _Directory] = {}
        self._entries = 0
        self._lock = threading.Lock()

    def number(self, path: str) -> tuple[str, int] | None:
        """The run of the file *path* and its number in it; None if it is not in the listing."""
        parent, _, name = path.rpartition("/")
        with self._lock:
            directory = self._directory(parent)
            number = None if directory is None else directory.numbers.get(name)
            return None if directory is None or number is None else (directory.run, directory.first + number)

    def file_at(self, near: str, run: str, number: int) -> File | None:
        """File *number* of *run*, which the file *near* was in; None behind the last one."""
        with self._lock:
            directory = self._directory(near.rpartition("/")[0])
            if directory is None or directory.run != run:
                # Another thread has joined it to the run of the directory before: its numbers are others now.
                return None
            while directory is not None:
                place = number - directory.first
                if place < len(directory.files):
                    return File(directory.child(directory.files[place].name), directory.files[place])
                directory = self._following(directory)
            return None

    def after_fork(self) -> None:
        """In the child: a new lock."""
        self._lock = threading.Lock()

    def _directory(self, path: str) -> _Directory | None:
        known = self._directories.get(path)
        if known is not None:
            return known
        if not self._is_known(path) or type(self._lookup(path)) is not DirectoryNode:
            return None
        nodes = []
        for node in self._scan(path):
            nodes.append(node)
            if len(nodes) > _MOST_ENTRIES:
                return None
        while self._directories and self._entries + len(nodes) > _MOST_ENTRIES:
            oldest = self._directories.pop(next(iter(self._directories)))
            self._entries -= len(oldest.numbers) + len(oldest.places)
        self._entries += len(nodes)
        directory = self._directories[path] = _Directory(path, nodes)
        return directory

    def _following(self, directory: _Directory) -> _Directory | None:
        """The next directory with files, as a walk from the top meets them; it joins the run."""
        first = directory.first + len(directory.files)
        following: _Directory | None = directory
        for _ in range(_MOST_EMPTY):
            following = self._next(following) if following is not None else None
            if following is None:
                return None
            if following.files:
                following.run, following.first = directory.run, first
                return following
        return None

    def _next(self, directory: _Directory) -> _Directory | None:
        """The directory that a walk visits after *directory*."""
        if directory.below:
            return self._directory(directory.child(directory.below[0]))
        path = directory.path
        while path:
            path, _, name = path.rpartition("/")
            above = self._directory(path)
            if above is None:
                return None
            place = above.places[name] + 1
            if place < len(above.below):
                return self._directory(above.child(above.below[place]))
        return None
