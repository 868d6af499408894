"""Whole objects as real local files under a path, for code that opens files by itself."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

from vfsoverlay import _real
from vfsoverlay._namespace.nodes import FileNode

if TYPE_CHECKING:
    from types import TracebackType

    from vfsoverlay._vfs.file_system import FileSystem
    from vfsoverlay._vfs.location import Location

#: The longest name that local file systems take.
_NAME_MAX = 255


class LocalPath(str):
    """The path of a complete local copy; a text that also keeps the copy from being evicted.

    The pin ends with ``release()``, with the ``with`` block, or with the process. Until then the
    file stays, whatever happens to the mount.
    """

    __slots__ = ("_pin",)

    _pin: int

    @classmethod
    def pinned(cls, path: str, pin: int) -> LocalPath:
        """*path*, kept by the descriptor *pin*, which it owns from now on."""
        self = cls(path)
        self._pin = pin
        return self

    def release(self) -> None:
        """Allow eviction; the path must not be used any more. Again: nothing happens."""
        pin, self._pin = self._pin, -1
        if pin >= 0:
            _real.close(pin)

    def __enter__(self) -> LocalPath:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # A pin cannot travel; the copy is a plain text.
        return str, (str(self),)


class _Kept:
    """Paths whose holders did not release them: pinned until the process ends, one pin an object."""

    def __init__(self) -> None:
        self.paths: dict[str, LocalPath] = {}
        self.lock = threading.Lock()


_KEPT = _Kept()


def local_path(files: FileSystem, place: Location) -> LocalPath:
    """A complete local copy of the file at *place*, under a path that ends in the file's own name.

    The copy is the cache's file itself (read-only), behind a symbolic link: programs look at
    extensions, and names in the cache are hashes.

    Raises:
        OSError: ENOENT, EISDIR as usual; what fetching raised; ENOSPC if the object does not fit
            into the cache.
    """
    node = place.existing()
    if not isinstance(node, FileNode) or place.point is None:
        raise place.error(errno.EISDIR)
    fd = files.open_file(place, node, os.O_RDONLY)
    try:
        data = _data_file(fd, place)
        link = _view(place.point.view_dir, place.point.object_id(place.path, node).digest, place.last or "file", data)
    except BaseException:  # cleans up after Ctrl-C as well, and raises it again
        _real.close(fd)
        raise
    return LocalPath.pinned(link, fd)


def _data_file(fd: int, place: Location) -> str:
    """The path of the cache's file behind *fd*."""
    path = _real.readlink(f"/proc/self/fd/{fd}")
    if path.endswith(" (deleted)"):
        message = "its local copy could not be kept in the cache; free space or raise cache_size"
        raise OSError(errno.ENOSPC, message, place.spelled)
    return path


def keep(path: LocalPath) -> LocalPath:
    """Pin *path* until the process ends, unless its holder releases it: the holder may drop the object itself."""
    with _KEPT.lock:
        known = _KEPT.paths.get(path)
        if known is not None and known._pin >= 0:
            path.release()
            return known
        _KEPT.paths[str(path)] = path
    return path


def _view(directory: str, digest: str, name: str, data: str) -> str:
    folder = f"{directory}/{digest}"
    _real.makedirs(folder, 0o700)
    link = f"{folder}/{_sanitised(name)}"
    try:
        if _real.readlink(link) == data:
            return link
    except OSError:
        # Missing, or another program that was given the path has put a file in its place.
        pass
    # Another process may do the same; the rename makes either result whole.
    temporary = f"{folder}/.{_real.getpid()}-{threading.get_ident()}"
    _real.symlink(data, temporary)
    _real.rename(temporary, link)
    return link


def _sanitised(name: str) -> str:
    """*name* as a file name that a disk takes; its end, with the extension, is what matters."""
    raw = os.fsencode(name)[-_NAME_MAX:].lstrip(b".") or b"file"
    return os.fsdecode(raw)


def after_fork() -> None:
    """In the child: a new lock; the pins were inherited with the descriptors."""
    _KEPT.lock = threading.Lock()
