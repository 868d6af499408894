"""What the public names do: mounting, unmounting, and questions about mounts."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, overload

from vfsoverlay import _children
from vfsoverlay._patch import shim
from vfsoverlay._patch.dispatch import STATE, aside, text_of, trimmed
from vfsoverlay._spec import Mount
from vfsoverlay._vfs import materialize
from vfsoverlay._vfs.assemble import assemble
from vfsoverlay._vfs.event_loop import Blocking
from vfsoverlay._vfs.explanation import Explanation, explain_failure, explain_place
from vfsoverlay._vfs.failed_mount import FailedMount
from vfsoverlay._vfs.inheritance import Inheritance
from vfsoverlay._vfs.location import Location
from vfsoverlay._vfs.materialize import LocalPath
from vfsoverlay._vfs.mount_point import MountPoint
from vfsoverlay._vfs.warming import Warmed, fetch_all, fetch_in_order
from vfsoverlay._warming import wanted_files
from vfsoverlay.errors import MountError

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

_LOGGER = logging.getLogger("vfsoverlay")

#: Held while mounts change. Reading needs no lock: tables are replaced whole.
_LOCK = threading.RLock()


class DescribesMount(Protocol):
    """An object that says what to mount; where, it says by ``root_dir`` or ``mount_path``, or not at all."""

    @property
    def source(self) -> str:
        """The URL."""


@overload
def mount(
    source: str | Mount | DescribesMount,
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
    try:
        with Blocking("vfsoverlay.mount"):
            return _mount(source, root_dir, mount_path, options)
    except (MountError, ValueError, TypeError) as error:
        raise _presentable(error)  # noqa: B904 - the same exception, without our inner frames


def _mount(source: Any, root_dir: Any, mount_path: Any, options: dict[str, Any]) -> MountPoint | tuple[MountPoint, ...]:
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


def _presentable(error: Exception) -> Exception:
    """*error*, which says all there is to know, without our inner frames; where details are logged, with them."""
    links: list[BaseException] = []
    link: BaseException | None = None if _LOGGER.isEnabledFor(logging.DEBUG) else error
    while link is not None and link not in links:
        links.append(link.with_traceback(None) if isinstance(link, MountError) else trimmed(link))
        link = link.__cause__
    return error


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


def _mount_all(specs: list[Mount], told: Mapping[str, Inheritance] = {}) -> tuple[MountPoint, ...]:
    mounts()  # the parent's, before the lock is taken: they take it as well
    with _LOCK:
        inherited = {point.root_dir: point for point in shim.points() if isinstance(point, FailedMount)}
        points = {point.root_dir: point for point in shim.points() if point.root_dir not in inherited}
        _refuse_conflicts(specs, points)
        roots = [*points, *(spec.root_dir for spec in specs)]
        made: dict[str, MountPoint] = {}
        is_shown = False
        try:
            for spec in specs:
                if spec.root_dir not in points and spec.root_dir not in made:
                    made[spec.root_dir] = _make(spec, roots, told.get(spec.root_dir) or _of_parent(spec, inherited))
            shim.remove([point for root_dir, point in inherited.items() if root_dir in made])
            is_shown = True
            shim.add([point for point in made.values() if not point.is_local])
            _tell_children()
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            # All or none; also after Ctrl-C in a long listing, or while names are being replaced.
            shim.to_the_end(partial(_give_up, made.values(), is_shown=is_shown))
            raise
        result = tuple(points.get(spec.root_dir) or made[spec.root_dir] for spec in specs)
        for point in result:
            point.holds += 1
        return result


def _give_up(made: Iterable[MountPoint], *, is_shown: bool) -> None:
    if is_shown:
        shim.remove(list(made))
        _tell_children()
    for point in made:
        point.close()


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


def _make(spec: Mount, roots: Iterable[str], inheritance: Inheritance | None = None) -> MountPoint:
    point = assemble(spec, roots, inheritance=inheritance, aside=aside)
    if not point.is_local:
        point.release = _release
        point.changed = _tell_children
    return point


def _of_parent(spec: Mount, failed: Mapping[str, FailedMount]) -> Inheritance | None:
    """What the parent told about *spec*, if it could not be mounted at once, such as for want of its secrets."""
    point = failed.get(spec.root_dir)
    return point.inheritance if point is not None and point.inheritance.is_of(spec) else None


def adopt(entries: Iterable[Mapping[str, Any]], *, whole: bool = False) -> None:
    """Mount what the parent process has mounted, and unmount what was inherited before and is not among it.

    Args:
        entries: The values of ``$VFSOVERLAY_MOUNTS``, or what multiprocessing brought.
        whole: Load now what fetching needs, rather than when something is to be fetched.

    Raises:
        OSError: An entry is no mount spec (EINVAL). A mount that cannot be made raises nothing here:
            paths below its mount point do, as long as they are touched.
    """
    try:
        items = map(Inheritance.from_entry, entries)
        wanted = {item.spec.root_dir: item._replace(origin="") if whole else item for item in items}
    except (TypeError, ValueError, KeyError) as error:
        msg = f"what the environment says about mounts is wrong: {error}"
        raise OSError(errno.EINVAL, msg) from error
    with _LOCK:
        _children.take_over()
        points = {point.root_dir: point for point in shim.points()}
        for root_dir, point in points.items():
            if point.is_inherited and (root_dir not in wanted or isinstance(point, FailedMount)):
                _release(point)
        kept = {point.root_dir for point in shim.points()}
        made = [_inherit(item, [*kept, *wanted]) for root_dir, item in wanted.items() if root_dir not in kept]
        shim.add(made)
        _tell_children()


def _inherit(item: Inheritance, roots: Iterable[str]) -> MountPoint:
    point: MountPoint
    try:
        if item.withheld:
            raise PermissionError(errno.EACCES, _withheld(item))
        point = _make(item.spec, roots, item)
    except (OSError, ValueError, ImportError) as error:
        _LOGGER.warning(
            "%s of the parent process could not be mounted at %s: %s", item.spec.source, item.spec.root_dir, error
        )
        point = FailedMount(item, error)
        point.release = _release
    point.is_inherited = True
    point.holds = 1
    return point


def mount_inherited(item: Inheritance) -> MountPoint:
    """Mount what another process has mounted and told us about; as ``mount()``, but raises for a failure.

    Raises:
        PermissionError: The mount needs secrets, and they were kept back.
        ValueError: As ``mount()``.
        OSError: As ``mount()``.
    """
    if item.withheld:
        raise PermissionError(errno.EACCES, _withheld(item))
    return _mount_all([item.spec], {item.spec.root_dir: item})[0]


def _withheld(item: Inheritance) -> str:
    names = ", ".join(item.withheld)
    return (
        f"{names} of the parent's mount is secret and does not travel in the environment: call mount() with it here, "
        "use a profile or AWS_* variables instead, or say children='secrets'"
    )


def _tell_children() -> None:
    _children.export(shim.points())


def _release(point: MountPoint) -> None:
    def end() -> None:
        shim.remove([point])
        point.holds = 0
        _tell_children()
        point.close()
        point.release = None

    with _LOCK:
        if point.release is not None:  # another thread may have been faster
            shim.to_the_end(end)


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
        total.update(point.metrics())
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
        ValueError: A path does not lie below a mount, or has a null byte.
        TypeError: Something is no path.
        OSError: A file could not be fetched; those before it are complete. ENOSPC if it does not fit.
    """
    mounts()
    with Blocking("vfsoverlay.warm"):
        return fetch_all(wanted_files(wanted), ahead=ahead, max_bytes=max_bytes, progress=progress)


def warm_ahead(wanted: Wanted, *, ahead: int = 64) -> Iterator[str]:
    """Give the paths of *wanted*, as texts, in order while the files behind them are fetched ahead.

    For loops over a known, shuffled order, such as a sampler's: each path is given when its file is
    complete, while up to *ahead* further ones are on their way. The errors are those of ``warm``.
    """
    mounts()
    for file in fetch_in_order(wanted_files(wanted), ahead=ahead):
        yield file.spelled


def explain(path: str | bytes | os.PathLike[Any]) -> Explanation:
    """How *path* resolves: mount, key, size, ETag, cached bytes, or why there is nothing. Makes no request.

    Raises:
        TypeError: *path* is no path.
    """
    spelled = os.fspath(path)
    text = os.fsdecode(spelled)
    mounts()
    try:
        return explain_place(text, STATE.files.find(spelled))
    except OSError as error:
        return explain_failure(text, error)


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
    mounts()
    place = STATE.files.find(spelled)
    if not isinstance(place, Location):
        return LocalPath.pinned(os.fsdecode(os.fspath(path)), -1)
    with Blocking("vfsoverlay.local_path"):
        return materialize.keep(materialize.local_path(STATE.files, place))


def _after_fork() -> None:
    materialize.after_fork()
    global _LOCK
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)
