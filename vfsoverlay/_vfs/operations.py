"""What each read operation answers for a location: the meaning of the mount, in one place."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from vfsoverlay import _real
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode
from vfsoverlay._vfs import attributes, refusals
from vfsoverlay._vfs.location import Location
from vfsoverlay._vfs.scandir import Batched, Entry, Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfsoverlay._namespace.nodes import Node
    from vfsoverlay._vfs.file_system import FileSystem
    from vfsoverlay._vfs.mount_table import MountTable

_BATCH = 1000

#: Synthesised parents of a mount point show this device, which no mount has.
_PARENTS_DEVICE = os.makedev(4094, 1)


def status(place: Location) -> os.stat_result:
    """``stat`` and ``lstat``: the same, as there are no symbolic links."""
    return _status(place, place.existing())


def _status(place: Location, node: Node) -> os.stat_result:
    if place.point is not None:
        return place.point.status(place.path, node)
    inode = attributes.inode_number("", place.path)
    owner = (_real.geteuid(), os.getegid())
    return attributes.make_stat(stat.S_IFDIR | 0o555, inode, _PARENTS_DEVICE, owner, 0, node.mtime_ns)


def access(place: Location, mode: int) -> bool:
    """``access``: by the permission bits; writing is never possible."""
    try:
        result = status(place)
    except OSError:
        return False
    return attributes.permits(result, mode)


def readlink(place: Location) -> str:
    """``readlink``: nothing on a mount is a link, so EINVAL for all that exists."""
    place.existing()
    raise place.error(errno.EINVAL)


def names(place: Location, table: MountTable) -> list[str]:
    """``listdir``: the names in a directory, those that lead to mounts below it included."""
    _readable_directory(place)
    leading = table.ancestors.get(place.absolute, frozenset())
    if place.point is None:
        return sorted(leading)
    found = place.point.names(place.path)
    if leading:
        known = set(found)
        found += sorted(name for name in leading if name not in known)
    return found


def scan(place: Location, table: MountTable, spelled: Any) -> Iterator[Entry[Any]]:
    """``scandir``: the entries of a directory; each ``path`` is *spelled*, as the caller gave it, and the name."""
    _readable_directory(place)
    if place.absolute in table.ancestors or place.point is None:
        return scan_nodes(place, _children(place, table), spelled)
    return scan_nodes(place, place.point.scan(place.path), spelled)


def scan_nodes(place: Location, nodes: Iterator[Node], spelled: Any) -> Iterator[Entry[Any]]:
    """Entries for *nodes* in the directory *place*."""
    if isinstance(spelled, int):
        return _entries(place, nodes, "")
    if isinstance(spelled, str):
        return _entries(place, nodes, spelled if spelled.endswith("/") else spelled + "/")
    prefix = bytes(spelled)
    return _bytes_entries(place, nodes, prefix if prefix.endswith(b"/") else prefix + b"/")


def _entries(place: Location, nodes: Iterator[Node], prefix: str) -> Iterator[Entry[str]]:
    batches = _batches(nodes, (prefix, partial(_child_status, place)))
    entries: Batched = Batched.from_iterable(batches)  # type: ignore[assignment]  # typeshed: any chain
    entries.batches = batches
    return entries


def _batches(nodes: Iterator[Node], holder: Holder[str]) -> Iterator[list[Entry[str]]]:
    # Lists are short, so that memory stays bounded. Entries are made without a call of their __init__, which would take
    # as long as all the rest.
    new = object.__new__
    while True:
        batch = []
        for node in islice(nodes, _BATCH):
            entry: Entry[str] = new(Entry)
            entry.name = node[0]
            entry._node = node
            entry._holder = holder
            batch.append(entry)
        yield batch
        if len(batch) < _BATCH:
            return


def _bytes_entries(place: Location, nodes: Iterator[Node], prefix: bytes) -> Iterator[Entry[bytes]]:
    holder = prefix, partial(_child_status, place)
    for node in nodes:
        yield Entry(os.fsencode(node.name), node, holder)


def _child_status(place: Location, node: Node) -> os.stat_result:
    absolute = f"{place.absolute.rstrip('/')}/{node.name}"
    path = f"{place.path}/{node.name}" if place.path else node.name
    point = place.point
    return _status(Location(point, path if point else absolute, node, False, node.name, absolute, absolute), node)


def _children(place: Location, table: MountTable) -> Iterator[Node]:
    leading = table.ancestors.get(place.absolute, frozenset())
    if place.point is not None:
        for node in place.point.scan(place.path):
            if node.name not in leading:
                yield node
    for name in sorted(leading):
        yield leading_node(table, place.absolute, name)


def leading_node(table: MountTable, parent: str, name: str) -> DirectoryNode:
    """The directory *name* in *parent*, which is a mount point or leads to one."""
    child = f"{parent.rstrip('/')}/{name}"
    newest = max((p.mounted_ns for p in table.points if any(r.startswith(child) for r in p.roots)), default=0)
    return DirectoryNode(name, newest)


def leading_entries(table: MountTable, parent: str, names: Iterable[str], spelled: Any) -> Iterator[Entry[Any]]:
    """Entries for *names* in the real directory *parent* that lead to mount points but are not on disk."""
    nodes = (leading_node(table, parent, name) for name in sorted(names))
    return scan_nodes(Location(None, parent, None, False, "", spelled, parent), nodes, spelled)


def _readable_directory(place: Location) -> None:
    place.existing_directory()
    if not attributes.permits(status(place), os.R_OK):
        raise place.error(errno.EACCES)


_ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY


def open_descriptor(files: FileSystem, place: Location, flags: int) -> int:
    """``open(2)``: a real descriptor, close-on-exec; or the error a read-only mount gives for these flags."""
    if flags & os.O_PATH:
        # Linux ignores all other flags but these.
        flags &= os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    writing = flags & _ACCESS_MODE != os.O_RDONLY
    if flags & _TMPFILE:
        _refuse_tmpfile(place, writing=writing)
    if flags & os.O_CREAT:
        _refuse_creation(place, flags)
    node = place.existing()
    is_file = type(node) is FileNode
    if is_file and flags & os.O_DIRECTORY:
        raise place.error(errno.ENOTDIR)
    if writing or flags & os.O_TRUNC or (flags & os.O_CREAT and not is_file):
        raise place.error(errno.EROFS if is_file else errno.EISDIR)
    if not flags & os.O_PATH and not attributes.permits(_status(place, node), os.R_OK):
        raise place.error(errno.EACCES)
    if type(node) is FileNode:
        return files.open_file(place, node, flags)
    return files.open_directory(place, flags)


def _refuse_creation(place: Location, flags: int) -> None:
    if place.slash and place.last not in (".", ".."):
        raise place.error(errno.EISDIR)
    if place.node is None or flags & os.O_EXCL:
        refusals.create(place)


def _refuse_tmpfile(place: Location, *, writing: bool) -> None:
    place.existing_directory()
    raise place.error(errno.EROFS if writing else errno.EINVAL)


def file_system_status(place: Location) -> os.statvfs_result:
    """``statvfs``: the size of the source, nothing free, read-only."""
    place.existing()
    total, count = place.point.size() if place.point is not None else (0, 0)
    block = 4096
    blocks = (total + block - 1) // block
    flags = os.ST_RDONLY | os.ST_NOSUID
    identity = place.point.device if place.point is not None else _PARENTS_DEVICE
    return os.statvfs_result((block, block, blocks, 0, 0, count, 0, 0, flags, 1024, identity))


def get_attribute(place: Location) -> bytes:
    """``getxattr``: there are no extended attributes."""
    place.existing()
    raise place.error(errno.ENODATA)


def list_attributes(place: Location) -> list[str]:
    """``listxattr``: there are no extended attributes."""
    place.existing()
    return []


def path_limit(files: FileSystem, place: Location, name: Any) -> int:
    """``pathconf``: what the disk below the cache answers, as the data lies there."""
    place.existing()
    try:
        return _real.pathconf(files.shadow(place), name)
    except OSError as error:
        error.filename = place.spelled
        raise
