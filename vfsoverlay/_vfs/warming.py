"""Fetching before use: which files a request to warm means, in the order they are wanted."""

from __future__ import annotations

import os
from fnmatch import translate
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Any

from vfsoverlay._namespace.nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfsoverlay._vfs.file_system import FileSystem
    from vfsoverlay._vfs.mount_point import MountPoint

_MAGIC = frozenset("*?[")


def spelled_paths(wanted: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """*wanted*, one or many, as texts; consumed as they are needed."""
    many: Iterable[Any] = [wanted] if isinstance(wanted, (str, os.PathLike)) else wanted
    for path in many:
        text = os.fspath(path)
        if not isinstance(text, str):
            msg = f"paths to warm are texts, not {text!r}"
            raise TypeError(msg)
        yield text


def files_of(files: FileSystem, path: str) -> Iterator[tuple[MountPoint, str, FileNode]]:
    """The files that *path* means: itself, all below a directory, or what a pattern matches.

    ``*`` and ``?`` do not match a slash, ``**`` matches any number of directories. A file or
    directory that is spelled exactly counts as such, whatever characters it has.

    Raises:
        FileNotFoundError: Nothing has this name, or the pattern matches nothing.
        ValueError: The path does not lie below a mount.
    """
    place = files.resolve(path)
    point = getattr(place, "point", None)
    if point is not None and place.node is not None:
        yield from _below(point, place.path, place.existing())
        return
    if not _MAGIC.intersection(path):
        if point is None:
            msg = f"{path} does not lie below a mount, so there is nothing to fetch"
            raise ValueError(msg)
        place.existing()
    found = False
    for match in _matches(files, os.path.abspath(path)):
        found = True
        yield match
    if not found:
        raise FileNotFoundError(2, "no file below a mount matches the pattern", path)


def _below(point: MountPoint, path: str, node: Any) -> Iterator[tuple[MountPoint, str, FileNode]]:
    if type(node) is FileNode:
        yield point, path, node
        return
    directories = []
    for child in point.scan(path):
        where = f"{path}/{child.name}" if path else child.name
        if type(child) is FileNode:
            yield point, where, child
        else:
            directories.append(where)
    for where in directories:
        yield from _below(point, where, DirectoryNode("", 0))


def _matches(files: FileSystem, pattern: str) -> Iterator[tuple[MountPoint, str, FileNode]]:
    """Files of any mount whose whole path matches *pattern*."""
    fixed = pattern[: min(pattern.find(sign) % (len(pattern) + 1) for sign in _MAGIC)].rpartition("/")[0]
    expression = compile_pattern(_expression(pattern))
    for point in files.table.points:
        top = files.resolve(fixed) if f"{fixed}/".startswith(f"{point.root_dir}/") else None
        start = top.path if top is not None and top.point is point and top.node is not None else ""
        if top is None and not f"{point.root_dir}/".startswith(f"{fixed}/"):
            continue
        for _, path, node in _below(point, start, DirectoryNode("", 0)):
            if expression.fullmatch(f"{point.root_dir}/{path}"):
                yield point, path, node


def _expression(pattern: str) -> str:
    """*pattern* as a regular expression over whole paths."""
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("(?:[^/]+/)*")
        else:
            # fnmatch's own translation, kept from crossing a slash.
            body = translate(part).removesuffix(r"\Z").removesuffix(r"\z").replace(".*", "[^/]*").replace("(?s:.)", "[^/]")
            parts.append(f"{body}/")
    return "".join(parts).removesuffix("/")
