"""What a mount is, in a few lines for people: where, how much, and how much of it is on local disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vfsoverlay._namespace.nodes import DirectoryNode
from vfsoverlay._vfs.progress import shown_size
from vfsoverlay._vfs.warming import Mounted, files_below
from vfsoverlay.errors import MountError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfsoverlay._namespace.nodes import FileNode
    from vfsoverlay._spec import Mount

#: Looking at the cache costs about 5 us a file; nobody waits for a cell to show its result.
_MAX_COUNTED = 20_000


class Described(Mounted, Protocol):
    """What a summary asks of a mount."""

    spec: Mount
    is_local: bool

    @property
    def is_mounted(self) -> bool:
        """Whether paths lead to it."""

    def size(self) -> tuple[int, int]:
        """Bytes and objects of the whole mount."""

    def cached(self, path: str, node: FileNode) -> int:
        """Bytes of the file that are on local disk."""


def summary(point: Described) -> list[tuple[str, str]]:
    """Names and values, in order; makes no request."""
    rows = [("source", point.spec.source), ("root_dir", point.spec.root_dir)]
    if point.is_local:
        return [*rows, ("state", "a directory on disk is used instead (if_exists='local')")]
    if not point.is_mounted:
        return [*rows, ("state", "unmounted")]
    try:
        size, objects = point.size()
    except MountError as error:
        return [*rows, ("state", str(error.strerror))]
    if point.spec.option("listing") == "lazy":
        # To walk it would list it.
        return [*rows, ("objects", f"{objects:,} listed so far"), ("size", f"{shown_size(size)} listed so far")]
    rows += [("objects", f"{objects:,}"), ("size", shown_size(size))]
    if objects > _MAX_COUNTED:
        return [*rows, ("cached", f"not counted above {_MAX_COUNTED:,} objects")]
    files = files_below(point, "", DirectoryNode("", 0), point.spec.root_dir)
    cached = sum(point.cached(file.path, file.node) for file in files)
    return [*rows, ("cached", f"{shown_size(cached)} ({cached / size if size else 1:.0%})")]


def as_html(rows: Iterable[tuple[str, str]]) -> str:
    """The rows as a table."""
    from html import escape

    cells = "".join(
        f'<tr><th style="text-align: left">{name}</th><td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table>{cells}</table>"
