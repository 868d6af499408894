"""How a mount gets its names: one listing at the start, a saved or earlier one, or directory by directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfsoverlay import _real
from vfsoverlay._namespace.export import load_snapshot
from vfsoverlay._namespace.generations import build_snapshot, refresh_snapshot
from vfsoverlay._namespace.lazy import LazyNamespace
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot
from vfsoverlay._vfs.offline import is_offline

if TYPE_CHECKING:
    from vfsoverlay._namespace.nodes import Progress
    from vfsoverlay._spec import Mount
    from vfsoverlay._store.protocol import ObjectStore

    Names = Snapshot | LazyNamespace

#: Seconds: what ``reuse_listing=math.inf`` means, as a number that has nanoseconds.
_LONGEST = 10.0**9


def index_directory(cache_dir: str) -> str:
    """Where the listings of a cache directory lie, made if missing."""
    path = f"{cache_dir}/v1/index"
    _real.makedirs(path, 0o700)
    return path


def identity(spec: Mount, store: ObjectStore, prefix: str) -> str:
    """All that decides what a listing contains: mounts that agree in it share their listings."""
    return "\0".join((store.origin, prefix, spec.option("version_at") or ""))


def inherited_names(spec: Mount, store: ObjectStore, prefix: str, file: str) -> Names | None:
    """The names that the parent of this process listed into *file*; None: it is gone, or of another source."""
    try:
        snapshot = open_snapshot(file)
    except OSError:
        # Refreshed or cleared since the child was started: list again.
        return None
    if snapshot.info["identity"] == identity(spec, store, prefix):
        return snapshot
    snapshot.close()
    return None


def open_names(spec: Mount, store: ObjectStore, prefix: str, cache_dir: str, progress: Progress | None = None) -> Names:
    """The names of the mount that *spec* describes, as its options ask for them.

    Raises:
        CannotAccessSource: The source cannot be listed.
        TooManyObjects: There are more objects than ``max_objects``.
        ObjectTooLarge: An object is larger than ``max_object_size``.
        ValueError: The saved listing is damaged, or is one of another source.
        OSError: A failure of the disk.
    """
    offline = is_offline(spec)
    if spec.option("listing") == "lazy" and not offline:
        store.check_access(prefix)
        return LazyNamespace(
            store.list_pages,
            prefix,
            max_objects=spec.option("max_objects"),
            max_object_size=spec.option("max_object_size"),
            ttl=spec.option("ttl"),
        )
    directory = index_directory(cache_dir)
    saved = spec.option("index")
    if saved is not None:
        return load_snapshot(saved, directory, identity=identity(spec, store, prefix))
    return build_snapshot(
        store.list_pages,
        prefix,
        directory,
        identity=identity(spec, store, prefix),
        max_objects=spec.option("max_objects"),
        max_object_size=spec.option("max_object_size"),
        reuse_listing=_LONGEST if offline else min(spec.option("reuse_listing"), _LONGEST),
        progress=progress,
    )


def refreshed(names: Names, spec: Mount, store: ObjectStore, path: str) -> Names:
    """*names* listed again, all or below the directory *path*; an eager listing gives a new generation."""
    if isinstance(names, LazyNamespace):
        names.refresh(path)
        return names
    return refresh_snapshot(
        names,
        store.list_pages,
        path,
        max_objects=spec.option("max_objects"),
        max_object_size=spec.option("max_object_size"),
    )
