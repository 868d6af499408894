"""How a mount comes to be: checks, store, cache and listing, in the order that fails cheapest first."""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vfsoverlay import _real
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._metrics import Metrics
from vfsoverlay._options import parse_size
from vfsoverlay._store.factory import defer_store, open_store
from vfsoverlay._store.offline_store import OfflineStore
from vfsoverlay._vfs import cache_directory
from vfsoverlay._vfs.inheritance import Inheritance
from vfsoverlay._vfs.local_directory import LocalDirectory
from vfsoverlay._vfs.mount_point import MountPoint
from vfsoverlay._vfs.naming import inherited_names, open_names
from vfsoverlay._vfs.offline import is_offline
from vfsoverlay._vfs.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vfsoverlay._model import Prefix
    from vfsoverlay._spec import Mount
    from vfsoverlay._store.protocol import ObjectStore
    from vfsoverlay._vfs.progress import Wish

_LOGGER = logging.getLogger("vfsoverlay")

_SIZE_VARIABLE = "VFSOVERLAY_CACHE_SIZE"


def assemble(
    spec: Mount,
    roots: Iterable[str],
    progress: Wish = None,
    inheritance: Inheritance | None = None,
    aside: Callable[[Callable[[], Any]], Any] = lambda call: call(),
) -> MountPoint:
    """Make the mount that *spec* describes, not yet visible.

    Args:
        spec: What to mount where.
        roots: All mount points in force and to be, this one included: the cache may not lie below one.
        progress: Who hears how far the listing is.
        inheritance: What the parent process, which has this mount, told about it.
        aside: Runs what must not see the mounts, such as the making of the store once they are visible.

    Raises:
        ValueError: The protocol of the source is unknown.
        NotADirectoryError: A parent of the mount point, or the place itself, is a file.
        CannotAccessSource: The source cannot be listed.
        TooManyObjects: There are more objects than ``max_objects``.
        ObjectTooLarge: An object is larger than ``max_object_size``.
        OSError: The cache directory cannot be used, or lies below a mount point.
    """
    if check_place(spec.root_dir) and inheritance is None and (local := _take_local(spec)) is not None:
        return local
    inherited = inheritance or Inheritance(spec)
    metrics = Metrics()
    with ExitStack() as stack:
        store, prefix = _store(spec, metrics, inherited, aside)
        stack.callback(store.close)
        if is_offline(spec):
            store = OfflineStore(store, spec.source, prefix)
        directory = _cache_directory(spec.option("cache_dir"), inherited.cache_dir, [*roots, spec.root_dir])
        cache = BlockCache(
            directory,
            cache_size=_cache_size(spec),
            min_free=spec.option("min_free"),
            block_size=spec.option("block_size"),
            readahead=spec.option("readahead"),
            promotion=spec.option("promotion"),
            memory_budget=spec.option("memory_budget"),
            metrics=metrics,
            deadline=spec.option("deadline"),
        )
        stack.callback(cache.close)
        names = inherited_names(spec, store, prefix, inherited.snapshot) if inherited.snapshot else None
        if names is None:
            with Progress(f"list {spec.source}", "objects", progress) as show:
                names = open_names(spec, store, prefix, directory, show)
        point = MountPoint(spec, store, prefix, names, cache, metrics, cache_directory.shadow_directory(directory))
        stack.pop_all()
    return point


def _store(
    spec: Mount, metrics: Metrics, inherited: Inheritance, aside: Callable[[Callable[[], Any]], Any]
) -> tuple[ObjectStore, Prefix]:
    """The store; not yet made where a parent has made it before and has listed the names."""
    if inherited.snapshot and inherited.origin:
        return defer_store(spec.source, spec.option, metrics, inherited.origin, aside)
    return open_store(spec.source, spec.option, metrics)


def check_place(root_dir: str) -> bool:
    """Refuse a mount point that is a file, or lies below one; whether it is a directory on disk."""
    path = root_dir
    while path:
        try:
            mode = _real.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            path = path.rpartition("/")[0]
            continue
        if not stat.S_ISDIR(mode):
            message = "a mount point is a directory; this is a file. Choose another root_dir"
            raise NotADirectoryError(errno.ENOTDIR, message, path)
        return path == root_dir
    return False


def _take_local(spec: Mount) -> LocalDirectory | None:
    """What ``if_exists`` says about the directory that is there; None: shadow it."""
    wanted = spec.option("if_exists")
    if wanted == "error":
        message = "a directory is there and if_exists='error'; choose another root_dir, or if_exists='overlay'"
        raise FileExistsError(errno.EEXIST, message, spec.root_dir)
    if wanted == "local":
        return LocalDirectory(spec)
    there = _real.listdir(spec.root_dir)
    if there:
        _LOGGER.warning(
            "%s: a directory on disk with %d entries is shadowed (if_exists='local' would use it instead)",
            spec.root_dir,
            len(there),
        )
    return None


def _cache_directory(given: str | None, inherited: str, roots: list[str]) -> str:
    if inherited:
        # The parent found it good; a relative cache_dir means another directory here.
        return cache_directory.choose(inherited)
    wanted = given or os.environ.get(cache_directory.VARIABLE)
    candidates = [wanted and _real.absolute(wanted)]
    for root in roots:
        for candidate in candidates:
            if candidate and f"{_real.realpath(candidate)}/".startswith((f"{root}/", f"{_real.realpath(root)}/")):
                message = f"the cache directory lies below the mount point {root}; set cache_dir= to one outside"
                raise OSError(errno.EINVAL, message, candidate)
    return cache_directory.choose(given)


def _cache_size(spec: Mount) -> int | None:
    given: int | None = spec.option("cache_size")
    text = os.environ.get(_SIZE_VARIABLE)
    if given is not None or not text:
        return given
    try:
        return parse_size(text)
    except ValueError as error:
        msg = f"${_SIZE_VARIABLE}: {error}"
        raise ValueError(msg) from None
