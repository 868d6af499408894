"""How a mount gets its names: one listing at the start, a saved or earlier one, or directory by directory."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING

from vfsoverlay import _real
from vfsoverlay._namespace.export import load_snapshot
from vfsoverlay._namespace.generations import build_snapshot, refresh_snapshot
from vfsoverlay._namespace.lazy import LazyNamespace
from vfsoverlay._namespace.listing import DEFAULT_WORKERS
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot
from vfsoverlay._store.errno_map import as_mount_error
from vfsoverlay._vfs.offline import is_offline
from vfsoverlay.errors import AccessDenied, CannotAccessSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfsoverlay._namespace.nodes import Page, Progress
    from vfsoverlay._spec import Mount
    from vfsoverlay._store.protocol import ObjectStore

    Names = Snapshot | LazyNamespace

_LOGGER = logging.getLogger("vfsoverlay")

#: Hidden objects that a message names.
_EXAMPLES = 3
#: Seconds: what ``reuse_listing=math.inf`` means, as a number that has nanoseconds.
_LONGEST = 10.0**9


def index_directory(cache_dir: str) -> str:
    """Where the listings of a cache directory lie, made if missing."""
    path = index_path(cache_dir)
    _real.makedirs(path, 0o700)
    return path


def index_path(cache_dir: str) -> str:
    """Where the listings of a cache directory lie, or would."""
    return f"{cache_dir}/v1/index"


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
    if spec.option("listing") == "lazy" and not is_offline(spec):
        return _lazy_names(spec, store, prefix)
    directory = index_directory(cache_dir)
    saved = spec.option("index")
    if saved is not None:
        snapshot = load_snapshot(saved, directory, identity=identity(spec, store, prefix))
    else:
        snapshot = _listed(spec, store, prefix, directory, progress)
    if not snapshot.object_count:
        _tell_empty(spec)
    _tell_hidden(spec, snapshot)
    return snapshot


def _listed(spec: Mount, store: ObjectStore, prefix: str, directory: str, progress: Progress | None) -> Snapshot:
    longest = _LONGEST if is_offline(spec) else min(spec.option("reuse_listing"), _LONGEST)
    try:
        return build_snapshot(
            store.list_pages,
            prefix,
            directory,
            identity=identity(spec, store, prefix),
            max_objects=spec.option("max_objects"),
            max_object_size=spec.option("max_object_size"),
            workers=_workers(store),
            reuse_listing=longest,
            progress=progress,
        )
    except OSError as error:
        # From its second page on, a listing fails as one of a mount that is there already.
        told = as_mount_error(error)
        if told is None:
            raise
        raise told from error


def _workers(store: ObjectStore) -> int:
    return DEFAULT_WORKERS if store.is_ordered else 1


def _tell_empty(spec: Mount) -> None:
    """Log that there is nothing: a prefix that is spelled wrongly looks just like one that is still empty."""
    _LOGGER.warning(
        "%s: no object has a key below this, so the mount is empty: check the spelling; if objects are still to come, "
        "refresh() lists again", spec.source,
    )  # fmt: skip


def _tell_hidden(spec: Mount, snapshot: Snapshot) -> None:
    """Log how many objects have no path, with a few of them; the program that misses one learns why."""
    if snapshot.hidden_count:
        examples = "; ".join(f"{key!r}: {reason}" for key, reason in islice(snapshot.hidden(), _EXAMPLES))
        _LOGGER.warning(
            "%s: no path leads to %d of the objects (%s); the mount's hidden() lists them",
            spec.source, snapshot.hidden_count, examples,
        )  # fmt: skip


def _lazy_names(spec: Mount, store: ObjectStore, prefix: str) -> LazyNamespace:
    # Without credentials a refusal is a mistake, unless it is meant so.
    denied = ("access-denied", "no-credentials") if spec.option("anon") else ("access-denied",)
    try:
        store.check_access(prefix)
    except CannotAccessSource as error:
        if error.reason not in denied:
            raise
        _LOGGER.warning("%s: only files whose paths are known can be read, for it may not be listed: %s",
                        spec.source, error.strerror)  # fmt: skip

    root, told = prefix, False

    def list_pages(prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000) -> Iterator[Page]:
        nonlocal told
        try:
            for page in store.list_pages(prefix, start_after=start_after, delimiter=delimiter, page_size=page_size):
                if prefix == root and not (told or start_after or page.rows or page.prefixes):
                    told = True
                    _tell_empty(spec)
                yield page
        except CannotAccessSource as error:
            # The mount is made; what is refused now is the call of a program.
            if error.reason not in denied:
                raise
            raise AccessDenied(error.errno, error.strerror) from error

    return LazyNamespace(
        list_pages,
        prefix,
        max_objects=spec.option("max_objects"),
        max_object_size=spec.option("max_object_size"),
        ttl=spec.option("ttl"),
        # The object of an earlier time is not the one that a request for its key shows.
        head=None if spec.option("version_at") else store.head,
        ordered=store.is_ordered,
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
        workers=_workers(store),
    )
