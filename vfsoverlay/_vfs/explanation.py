"""How a path resolves, told for people: mount, object, version, cached bytes, or why there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vfsoverlay._namespace.nodes import FileNode

if TYPE_CHECKING:
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


def explain_place(path: str, place: Location | Foreign | OSError) -> Explanation:
    """The explanation of *path*, which resolved to *place* or failed with an error."""
    if isinstance(place, OSError):
        return Explanation(path, "missing", reason=place.strerror)
    point = getattr(place, "point", None)
    if point is None:
        kind = "parent" if hasattr(place, "node") else "foreign"
        reason = "it leads to a mount point" if kind == "parent" else "it does not lie below a mount"
        return Explanation(path, kind, reason=reason)
    assert not isinstance(place, OSError)
    return _explain_inside(path, place)  # type: ignore[arg-type]


def _explain_inside(path: str, place: Location) -> Explanation:
    point = place.point
    assert point is not None  # the caller looked
    key = point.prefix + place.path
    known = {"source": point.source, "root_dir": point.root_dir}
    hidden = next((entry.reason for entry in point.hidden() if entry.key == key), None)
    node = place.node
    if isinstance(node, FileNode):
        cached = point.cached(place.path, node)
        return Explanation(
            path, "file", key=key, size=node.size, etag=node.etag, storage_class=node.storage_class or None,
            cached=cached, reason=hidden, **known,
        )  # fmt: skip
    if node is not None:
        return Explanation(path, "directory", key=f"{key}/" if place.path else point.prefix, reason=hidden, **known)
    return Explanation(path, "missing", key=key, reason=hidden or "no object has this key", **known)
