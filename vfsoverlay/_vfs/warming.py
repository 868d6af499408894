"""Fetching files before they are used, in a given order, as many at once as the network takes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._vfs.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfsoverlay._namespace.nodes import Node
    from vfsoverlay._vfs.progress import Wish

_LOGGER: Final = logging.getLogger("vfsoverlay")


class Mounted(Protocol):
    """What warming asks of a mount."""

    @property
    def source(self) -> str:
        """The URL that is mounted."""

    def scan(self, path: str) -> Iterator[Node]:
        """The nodes in the directory *path*."""

    def fetch_in_order(self, files: Iterable[WantedFile], *, ahead: int) -> Iterator[WantedFile]:
        """Give *files* of this mount in order, each when it is complete."""


class WantedFile(NamedTuple):
    """A file to fetch."""

    point: Mounted
    path: str
    """Relative to the mount point."""
    node: FileNode
    spelled: str
    """As the caller named or found it."""


class Warmed(NamedTuple):
    """How far a warm got: files and bytes that are complete on local disk now."""

    files: int
    bytes: int


def files_below(point: Mounted, path: str, node: Node, spelled: str) -> Iterator[WantedFile]:
    """The file *path* itself, or all files below the directory, in the order of a walk."""
    if isinstance(node, FileNode):
        yield WantedFile(point, path, node, spelled)
        return
    directories = []
    for child in point.scan(path):
        where = f"{path}/{child.name}" if path else child.name
        if isinstance(child, FileNode):
            yield WantedFile(point, where, child, f"{spelled.rstrip('/')}/{child.name}")
        else:
            directories.append((where, child))
    for where, child in directories:
        yield from files_below(point, where, child, f"{spelled.rstrip('/')}/{child.name}")


def fetch_in_order(files: Iterable[WantedFile], *, ahead: int) -> Iterator[WantedFile]:
    """Give *files* in order, each when it is complete; *files* is consumed lazily, at most *ahead* in advance.

    Files of one mount that follow each other are fetched at once; a change of mount waits for those before.
    """
    source = iter(files)
    following: list[WantedFile] = []

    def run_of_one_mount(first: WantedFile) -> Iterator[WantedFile]:
        yield first
        for file in source:
            if file.point is not first.point:
                following.append(file)
                return
            yield file

    for file in source:
        following.append(file)
        while following:
            first = following.pop()
            yield from first.point.fetch_in_order(run_of_one_mount(first), ahead=ahead)


def fetch_all(files: Iterable[WantedFile], *, ahead: int, max_bytes: int | None, progress: Wish) -> Warmed:
    """Fetch all of *files*, or as many from the front as *max_bytes* allows, and say how much it was."""
    count = total = 0
    with Progress("warm", "files", progress) as show:
        for file in fetch_in_order(_limited(files, max_bytes), ahead=ahead):
            count += 1
            total += file.node.size
            show(count, total)
    return Warmed(count, total)


def _limited(files: Iterable[WantedFile], max_bytes: int | None) -> Iterator[WantedFile]:
    total = 0
    for file in files:
        total += file.node.size
        if max_bytes is not None and total > max_bytes:
            told = "warm stopped before %s%s, with which it would exceed max_bytes=%d"
            _LOGGER.warning(told, file.point.source, file.path, max_bytes)
            return
        yield file
