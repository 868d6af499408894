"""How a path resolves, told for people: mount, object, version, cached bytes, or why there is nothing."""

from __future__ import annotations

from typing import NamedTuple

from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._vfs.location import Foreign, Location


class Explanation(NamedTuple):
    """What ``vfsoverlay.explain`` tells about a path."""

    path: str
    kind: str
    """"file", "directory", "parent" (leads to a mount point), "missing" or "foreign" (not below a mount)."""
    source: str | None = None
    root_dir: str | None = None
    key: str | None = None
    """The object's key; for a directory, the prefix of the keys below it."""
    size: int | None = None
    etag: str | None = None
    storage_class: str | None = None
    cached: int | None = None
    """Bytes of this version on local disk."""
    reason: str | None = None
    """Why an object with this key is hidden or shadowed, or why the path is not there."""

    def __str__(self) -> str:
        shown = ((name.replace("_", " "), value) for name, value in self._asdict().items())
        return "\n".join(f"{name + ':':15}{value}" for name, value in shown if value is not None)


def explain_failure(path: str, error: OSError) -> Explanation:
    """The explanation of *path*, which could not be resolved."""
    return Explanation(path, "missing", reason=error.strerror)


def explain_place(path: str, place: Location | Foreign) -> Explanation:
    """The explanation of *path*, which resolved to *place*."""
    if isinstance(place, Foreign):
        return Explanation(path, "foreign", reason="it does not lie below a mount")
    point = place.point
    if point is None:
        return Explanation(path, "parent", reason="it leads to a mount point")
    key = point.prefix + place.path
    known = Explanation(path, "missing", point.source, point.root_dir, key)
    hidden = next((entry.reason for entry in point.hidden() if entry.key == key), None)
    node = place.node
    if isinstance(node, FileNode):
        cached = point.cached(place.path, node)
        return known._replace(
            kind="file",
            size=node.size,
            etag=node.etag,
            storage_class=node.storage_class or None,
            cached=cached,
            reason=hidden,
        )
    if node is not None:
        below = f"{key}/" if place.path else point.prefix
        return known._replace(kind="directory", key=below, reason=hidden)
    return known._replace(reason=hidden or "no object has this key")
