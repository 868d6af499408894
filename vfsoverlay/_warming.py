"""What a request to warm means: paths, directories and patterns as files of the mounts, in the order given."""

from __future__ import annotations

import errno
import glob
import os
from typing import TYPE_CHECKING, Any

from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._patch.dispatch import STATE
from vfsoverlay._vfs.location import Location
from vfsoverlay._vfs.warming import WantedFile, files_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    #: A path, directory or pattern, or many of them.
    Wanted = str | bytes | os.PathLike[Any] | Iterable[str | bytes | os.PathLike[Any]]


def wanted_files(wanted: Wanted) -> Iterator[WantedFile]:
    """The files that *wanted* means; consumed lazily, so it may be endless.

    Raises:
        FileNotFoundError: A path is not there, or a pattern matches nothing.
        ValueError: A path does not lie below a mount, or has a null byte.
        TypeError: Something is no path.
    """
    many: Iterable[Any] = [wanted] if isinstance(wanted, (str, bytes, os.PathLike)) else wanted
    for path in many:
        text = os.fsdecode(path)
        # Most are the files of an epoch, by their plain paths.
        place = STATE.files.located(text)
        if place is not None and place.point is not None and type(place.node) is FileNode:
            yield WantedFile(place.point, place.path, place.node, text)
        else:
            yield from _files_of(text)


def _files_of(path: str) -> Iterator[WantedFile]:
    if "\0" in path:
        msg = f"embedded null byte in {path!r}"
        raise ValueError(msg)
    try:
        place = STATE.files.find(path)
    except OSError:
        # A pattern whose directories are patterns as well names nothing by itself.
        if not glob.has_magic(path):
            raise
        place = None
    if isinstance(place, Location) and place.point is not None and place.node is not None:
        # What is spelled exactly counts as such, whatever characters it has.
        yield from files_below(place.point, place.path, place.existing(), path)
    elif glob.has_magic(path):
        yield from _matching(path)
    elif isinstance(place, Location):
        raise place.error(errno.ENOENT)
    else:
        msg = f"{path} does not lie below a mount, so there is nothing to fetch"
        raise ValueError(msg)


def _matching(pattern: str) -> Iterator[WantedFile]:
    found = False
    # With a mount in force the shim is in place, so glob sees the files of the mounts.
    for path in glob.iglob(pattern, recursive=True):
        place = STATE.files.find(path)
        if isinstance(place, Location) and place.point is not None and isinstance(place.node, FileNode):
            found = True
            yield WantedFile(place.point, place.path, place.node, path)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no file below a mount matches the pattern", pattern)
