"""What the public names do: mounting, unmounting, and questions about mounts."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, overload

from vfsoverlay._patch import shim
from vfsoverlay._patch.dispatch import STATE, text_of
from vfsoverlay._spec import Mount
from vfsoverlay._vfs.assemble import assemble
from vfsoverlay._vfs import materialize
from vfsoverlay._vfs.explanation import Explanation, explain_place
from vfsoverlay._vfs.location import Location
from vfsoverlay._vfs.materialize import LocalPath
from vfsoverlay._vfs.mount_point import MountPoint
from vfsoverlay._vfs.warming import Warmed, fetch_all, fetch_in_order
from vfsoverlay._warming import wanted_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vfsoverlay._vfs.progress import Wish
    from vfsoverlay._warming import Wanted

__all__ = [
    "Explanation",
    "LocalPath",
    "Mount",
    "MountPoint",
    "explain",
    "local_path",
    "metrics",
    "mount",
    "mounts",
    "unmount",
    "warm",
    "warm_ahead",
]

#: Held while mounts change. Reading needs no lock: tables are replaced whole.
_LOCK = threading.RLock()


@overload
def mount(
    source: str | Mount,
    root_dir: str | os.PathLike[str] | None = ...,
    *,
    mount_path: str | os.PathLike[str] | None = ...,
    **options: Any,
) -> MountPoint: ...
@overload
def mount(source: list[Any] | tuple[Any, ...]) -> tuple[MountPoint, ...]: ...
def mount(
    source: Any,
    root_dir: Any = None,
    *,
    mount_path: Any = None,
    **options: Any,
) -> MountPoint | tuple[MountPoint, ...]:
    """Make the objects below *source* appear as read-only files below *root_dir*, for this process and its children.

    Args:
        source: ``s3://bucket/prefix/`` or another URL that fsspec knows, with a trailing slash; a
            ``Mount``, or any object with ``source`` and ``root_dir`` or ``mount_path``; or a list
            or tuple of those, which is mounted whole or not at all.
        root_dir: Absolute path of the mount point. Default: ``/data/`` and the last folder of the source.
        mount_path: Another name of *root_dir*.
        **options: See ``docs/configuration.md``.

    Returns:
        The mount point, or a tuple of them for a list. An equal spec that is mounted already gives
        the existing point.

    Raises:
        ValueError: A rule for source or path is broken, an option has a value it cannot have, the
            protocol is unknown, or another source (or other options) is mounted at *root_dir*.
        TypeError: An unknown option, or arguments beside a ready spec.
        CannotAccessSource: The source cannot be listed; ``reason`` tells why.
        TooManyObjects: There are more objects than ``max_objects``.
        ObjectTooLarge: An object is larger than ``max_object_size``.
        OSError: The cache directory cannot be used; ``root_dir`` is a file; or a directory is there
            and ``if_exists="error"``.
    """
    given = (root_dir, mount_path) != (None, None) or options
    if isinstance(source, (list, tuple)):
        if given:
            msg = "a list of mounts takes no further arguments; give each Mount its own"
            raise TypeError(msg)
        return _mount_all([_spec(item) for item in source])
    if isinstance(source, str):
        spec = Mount(source, root_dir, mount_path=mount_path, **options)
    else:
        spec = _spec(source)
        if given:
            msg = f"a ready {type(source).__name__} takes no further arguments; give them to its constructor"
            raise TypeError(msg)
    return _mount_all([spec])[0]


def _spec(item: Any) -> Mount:
    """The ``Mount`` that *item* is or describes (Lightning's class has ``source`` and ``mount_path``)."""
    if isinstance(item, Mount):
        return item
    source = item if isinstance(item, str) else getattr(item, "source", None)
    if source is None:
        msg = f"cannot mount {item!r}: it is no URL, no Mount, and has no attribute 'source'"
        raise TypeError(msg)
    # An empty text is upstream's way of saying "the default".
    root_dir = getattr(item, "root_dir", None) or None
    return Mount(source, root_dir, mount_path=getattr(item, "mount_path", None) or None)


def _mount_all(specs: list[Mount]) -> tuple[MountPoint, ...]:
    with _LOCK:
        points = {point.root_dir: point for point in shim.points()}
        _refuse_conflicts(specs, points)
        roots = [*points, *(spec.root_dir for spec in specs)]
        made: dict[str, MountPoint] = {}
        try:
            for spec in specs:
                if spec.root_dir not in points and spec.root_dir not in made:
                    made[spec.root_dir] = _make(spec, roots)
        except BaseException:
            # All or none; also after Ctrl-C in a long listing.
            for point in made.values():
                point.close()
            raise
        shim.add([point for point in made.values() if not point.is_local])
        result = tuple(points.get(spec.root_dir) or made[spec.root_dir] for spec in specs)
        for point in result:
            point.holds += 1
        return result


def _refuse_conflicts(specs: list[Mount], points: dict[str, MountPoint]) -> None:
    known = {root_dir: point.spec for root_dir, point in points.items()}
    for spec in specs:
        other = known.setdefault(spec.root_dir, spec)
        if other != spec:
            msg = (
                f"{other!r} is mounted at {spec.root_dir}, so {spec!r} cannot be; "
                f"unmount it first or choose another root_dir"
            )
            raise ValueError(msg)


def _make(spec: Mount, roots: Iterable[str]) -> MountPoint:
    point = assemble(spec, roots)
    if not point.is_local:
        point.release = _release
    return point


def _release(point: MountPoint) -> None:
    with _LOCK:
        shim.remove([point])
        point.holds = 0
    point.close()


def unmount(root_dir: str | os.PathLike[str] | MountPoint) -> None:
    """End the mount at *root_dir* (or the given point): new calls see the real file system, open files go on.

    Raises:
        ValueError: Nothing is mounted at *root_dir*. A point may be unmounted again.
    """
    if isinstance(root_dir, MountPoint):
        root_dir.unmount()
        return
    path = Mount("s3://any/", root_dir).root_dir
    for point in mounts():
        if point.root_dir == path:
            point.unmount()
            return
    there = ", ".join(point.root_dir for point in mounts()) or "nothing"
    msg = f"nothing is mounted at {path}; mounted now: {there}"
    raise ValueError(msg)


def mounts() -> tuple[MountPoint, ...]:
    """The mounts in force, in the order they were made."""
    return shim.points()


def metrics() -> dict[str, float]:
    """The counters of all mounts in force, added up; ``point.metrics()`` gives those of one.

    ``requests.<purpose>`` and ``bytes.<purpose>`` (list, read, readahead, promotion, warm), ``opens``,
    ``hits``, ``misses``, ``evictions``, ``retries``, ``seconds.waited``; a counter that is zero is missing.
    """
    total: Counter[str] = Counter()
    for point in mounts():
        total.update(point.metrics())  # type: ignore[arg-type]  # seconds are floats
    return dict(total)


def warm(
    wanted: Wanted,
    *,
    max_bytes: int | None = None,
    ahead: int = 64,
    progress: Wish = None,
) -> Warmed:
    """Fetch files before they are used, in the order given.

    Args:
        wanted: A path, a directory (all below it), a glob pattern (``**`` matches directories), or an
            iterable of those, which is consumed as fetching goes on.
        max_bytes: Stop before the file that would exceed this many bytes.
        ahead: How many files may be on their way at once.
        progress: None: a bar on a terminal or in a notebook when it takes longer than a second;
            True or False: always or never; a callable is told files and bytes so far.

    Returns:
        How many files and bytes are complete on local disk now.

    Raises:
        FileNotFoundError: A path is not there, or a pattern matches nothing.
        ValueError: A path does not lie below a mount.
        OSError: A file could not be fetched; those before it are complete. ENOSPC if it does not fit.
    """
    return fetch_all(wanted_files(wanted), ahead=ahead, max_bytes=max_bytes, progress=progress)


def warm_ahead(wanted: Wanted, *, ahead: int = 64) -> Iterator[str]:
    """Give the paths of *wanted* in order while the files behind them are fetched ahead.

    For loops over a known, shuffled order, such as a sampler's: each path is given when its file is
    complete, while up to *ahead* further ones are on their way. The errors are those of ``warm``.
    """
    for file in fetch_in_order(wanted_files(wanted), ahead=ahead):
        yield file.spelled


def explain(path: str | bytes | os.PathLike[Any]) -> Explanation:
    """How *path* resolves: mount, key, size, ETag, cached bytes, or why there is nothing. Makes no request.

    Raises:
        TypeError: *path* is no path.
    """
    spelled = os.fspath(path)
    text = os.fsdecode(spelled)
    try:
        return explain_place(text, STATE.files.resolve(spelled))
    except OSError as error:
        return explain_place(text, error)


def local_path(path: str | bytes | os.PathLike[Any]) -> LocalPath:
    """The file at *path* as a complete, real local file, for code that opens files by itself.

    Args:
        path: A file below a mount; another path is returned as it is.

    Returns:
        The path of the local copy, a ``str``. It ends in the file's own name and stays until the
        process ends, or ``release()`` is called on it.

    Raises:
        OSError: As ``open(path)``; ENOSPC if the object does not fit into the cache.
    """
    spelled = text_of(path)
    place = STATE.files.resolve(spelled)
    if not isinstance(place, Location):
        place = STATE.files.retry(spelled)
    if not isinstance(place, Location):
        return LocalPath.pinned(os.fsdecode(os.fspath(path)), -1)
    return materialize.keep(materialize.local_path(STATE.files, place))


def _after_fork() -> None:
    materialize.after_fork()
    global _LOCK  # noqa: PLW0603 - the parent's lock may be held by a thread that is not here
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
