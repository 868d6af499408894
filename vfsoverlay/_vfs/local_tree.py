"""Directories and programs below a mount as real local ones, for other programs."""

from __future__ import annotations

import errno
import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from vfsoverlay import _real
from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._vfs import materialize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vfsoverlay._namespace.nodes import Node
    from vfsoverlay._vfs.file_system import FileSystem
    from vfsoverlay._vfs.location import Location
    from vfsoverlay._vfs.materialize import LocalPath
    from vfsoverlay._vfs.mount_point import MountPoint

#: A directory with more names or bytes than this is not copied for a program to start in: it would take its time.
MAX_NAMES: Final = 200
MAX_BYTES: Final = 256 * 1024**2


def directory(files: FileSystem, place: Location) -> tuple[str, list[LocalPath]]:
    """A real directory with all that is below the directory *place*, fetched first, and the pins of the copies in it.

    The files in it are links to local copies. The same content gives the same directory; it is
    never changed once it is there.

    Raises:
        OSError: ENOTSUP where more than ``MAX_NAMES`` names or ``MAX_BYTES`` bytes are below it, or
            where it only leads to mount points; what fetching raised.
    """
    point = place.point
    if point is None:
        raise OSError(errno.ENOTSUP, "it is not on disk and only leads to mount points", place.spelled)
    found = _found(point, place)
    name = _fingerprint(point, place.path, found)
    target = f"{point.view_dir}/tree-{name}/{place.absolute.rpartition('/')[2]}"
    # Also where the tree is there: what was evicted since is fetched again, to the same path.
    copies = {
        path: materialize.local_path(files, _child(place, path, node))
        for path, node in found
        if isinstance(node, FileNode)
    }
    if not _real.exists(target):
        _build(found, copies, target)
    return target, list(copies.values())


def _child(place: Location, path: str, node: FileNode) -> Location:
    spelled = f"{os.fsdecode(place.spelled)}/{path}"
    return place._replace(
        path=f"{place.path}/{path}".lstrip("/"),
        node=node,
        slash=False,
        last=node.name,
        spelled=spelled,
        absolute=f"{place.absolute}/{path}",
    )


def _found(point: MountPoint, place: Location) -> list[tuple[str, Node]]:
    """What is below *place*, each with its path from there, parents first."""
    found = []
    total = 0
    for path, node in _below(point, place.path, ""):
        found.append((path, node))
        total += node.size if isinstance(node, FileNode) else 0
        if len(found) > MAX_NAMES or total > MAX_BYTES:
            message = (
                f"no program can start in it: more than {MAX_NAMES} names or {MAX_BYTES // 1024**2} MiB are below it; "
                "give the program full paths, or start it elsewhere"
            )
            raise OSError(errno.ENOTSUP, message, place.spelled)
    return found


def _below(point: MountPoint, path: str, prefix: str) -> Iterator[tuple[str, Node]]:
    for node in point.scan(path):
        yield prefix + node.name, node
        if not isinstance(node, FileNode):
            yield from _below(point, f"{path}/{node.name}".lstrip("/"), f"{prefix}{node.name}/")


def _fingerprint(point: MountPoint, top: str, found: list[tuple[str, Node]]) -> str:
    h = blake2b(digest_size=16)
    for path, node in found:
        h.update(os.fsencode(path) + b"\0")
        if isinstance(node, FileNode):
            h.update(point.object_id(f"{top}/{path}".lstrip("/"), node).digest.encode())
    return h.hexdigest()


def _build(found: list[tuple[str, Node]], copies: Mapping[str, str], target: str) -> None:
    """Make the tree beside its place, then move it there whole: another process may do the same."""
    parent = target.rpartition("/")[0]
    _real.makedirs(parent, 0o700)
    temporary = f"{parent}/.{_real.getpid()}-{id(found):x}"
    _real.mkdir(temporary, 0o700)
    for path, _ in found:
        if path in copies:
            _real.symlink(str(copies[path]), f"{temporary}/{path}")
        else:
            _real.mkdir(f"{temporary}/{path}", 0o700)
    try:
        _real.rename(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def executable(place: Location, copy: str) -> str:
    """A file with the content of *copy* that can be run, under the same name: the cache's own files never can.

    Raises:
        OSError: The disk is full, or forbids programs.
    """
    folder = f"{copy.rpartition('/')[0]}/bin"
    target = f"{folder}/{copy.rpartition('/')[2]}"
    if _real.exists(target):
        return target
    _real.makedirs(folder, 0o700)
    temporary = f"{folder}/.{_real.getpid()}-{id(place):x}"
    out = _real.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o500)
    try:
        with _real.io_open(copy, "rb") as source:
            size = _real.fstat(source.fileno()).st_size
            while size:
                size -= _real.sendfile(out, source.fileno(), None, size)
    finally:
        _real.close(out)
    _real.rename(temporary, target)
    return target
