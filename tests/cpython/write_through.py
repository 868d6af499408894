"""Writes below a mount go to the directory that it shows, so that tests can make their fixtures where they read them.

This belongs to the tests: a mount is read-only. Calls that change something are taken apart from
those that read: the former get the path in the source and the original function, the latter go
to the mount.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch.dispatch import STATE
from vfsoverlay._patch.replacement import Replacement

#: The changing calls of ``os``: their parameters that are paths (position, name), each with that of its descriptor.
CHANGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    **dict.fromkeys(("mkdir", "mkfifo", "mknod", "remove", "rmdir", "unlink"), ((0, "path", "dir_fd"),)),
    **dict.fromkeys(("chmod", "chown", "utime", "open"), ((0, "path", "dir_fd"),)),
    **dict.fromkeys(("lchown", "removexattr", "setxattr", "truncate"), ((0, "path", ""),)),
    **dict.fromkeys(("link", "rename", "replace"), ((0, "src", "src_dir_fd"), (1, "dst", "dst_dir_fd"))),
    "symlink": ((1, "dst", "dir_fd"),),
}
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

#: Modules that keep originals under names or defaults of their own.
EARLY = ("bz2", "tarfile", "tempfile", "tokenize")


class Way:
    """From the mount to its source: paths below *root* become paths below *source*."""

    def __init__(self, root: str, source: str) -> None:
        self.root = root
        self.source = source
        self._changes = 0
        #: Descriptors open for writing, with what they were opened on.
        self._writers: dict[int, tuple[int, int]] = {}

    def clock(self) -> int:
        """Counts changes: a listing whose age is told by this clock is too old as soon as something was written."""
        if self._writers:
            self._changes += 1
            self._writers = {fd: identity for fd, identity in self._writers.items() if _identity(fd) == identity}
        return self._changes

    def changed(self) -> None:
        """Take note of a change."""
        self._changes += 1

    def opened(self, fd: int) -> int:
        """Take note of a descriptor through which changes may come from now on; itself."""
        self._changes += 1
        self._writers[fd] = _identity(fd)
        return fd

    def to_source(self, path: Any, dir_fd: Any = None) -> Any:
        """*path* in the source; None if it is not below the mount."""
        path = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(path, (str, bytes)):
            return None
        text = os.fsdecode(path)
        full = os.path.join(self._start(dir_fd), text) if text else ""
        if full != self.root and not full.startswith(f"{self.root}/"):
            return None
        moved = self.source + full[len(self.root) :]
        return os.fsencode(moved) if isinstance(path, bytes) else moved

    @staticmethod
    def _start(dir_fd: Any) -> str:
        if dir_fd is None:
            return os.getcwd()
        place = STATE.files.descriptors.get(dir_fd)
        return "" if place is None else place.absolute


def _identity(fd: int) -> tuple[int, int]:
    try:
        status = _real.fstat(fd)
    except OSError:
        return -1, -1
    return status.st_dev, status.st_ino


class Change(Replacement):
    # Over our own replacement, as a tracing library would be.
    __slots__ = ("ours", "parameters", "way")

    def __init__(self, ours: Any, way: Way, parameters: tuple[tuple[int, str, str], ...]) -> None:
        super().__init__(ours.real, ours.home)
        self.ours = ours
        self.way = way
        self.parameters = parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.home == "os:open" and not _flags(args, kwargs) & WRITING_FLAGS:
            return self.ours(*args, **kwargs)
        moved: list[Any] = list(args)
        given: dict[Any, Any] = dict(kwargs)
        for position, name, directory in self.parameters:
            holder: Any = moved if position < len(args) else given
            key: Any = position if position < len(args) else name
            source = (
                self.way.to_source(holder[key], kwargs.get(directory)) if holder is moved or name in given else None
            )
            if source is not None:
                holder[key] = source
                given.pop(directory, None)
        if moved == list(args) and given == kwargs:
            return self.ours(*args, **kwargs)
        try:
            answer = self.real(*moved, **given)
            self.way.changed()
            return self.way.opened(answer) if self.home == "os:open" else answer
        except OSError as error:
            spelled = [*args[:2], *kwargs.values()]
            error.filename = self._spelled(error.filename, spelled)
            error.filename2 = self._spelled(error.filename2, spelled)
            raise

    def _spelled(self, filename: Any, spelled: list[Any]) -> Any:
        """What the caller wrote for *filename*, which may be a path in the source."""
        return next(
            (path for path in spelled if filename is not None and self.way.to_source(path) == filename), filename
        )


def _flags(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    flags = kwargs.get("flags", args[1] if len(args) > 1 else 0)
    return flags if isinstance(flags, int) else 0


class Open(Replacement):
    __slots__ = ("ours", "way")

    def __init__(self, ours: Any, way: Way) -> None:
        super().__init__(ours.real, ours.home)
        self.ours = ours
        self.way = way

    def __call__(
        self,
        file: Any,
        mode: Any = "r",
        buffering: Any = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        closefd: Any = True,
        opener: Any = None,
    ) -> Any:
        source = None
        if opener is None and isinstance(mode, str) and set(mode) & set("wax+"):
            source = self.way.to_source(file)
        if source is None:
            return self.ours(file, mode, buffering, encoding, errors, newline, closefd, opener)

        def create(path: Any, flags: int) -> int:
            try:
                return self.way.opened(_real.open(source, flags, 0o666))
            except OSError as error:
                error.filename = path
                raise

        return self.real(file, mode, buffering, encoding, errors, newline, closefd, create)


def install(way: Way) -> None:
    """From now on what is written below a mount goes the *way* to its source."""
    for name, parameters in CHANGES.items():
        change = Change(getattr(os, name), way, parameters)
        for module in (os, sys.modules["posix"]):
            setattr(module, name, change)
    opening = Open(open, way)
    for module in (builtins, io, sys.modules["_io"]):
        module.open = opening  # type: ignore[attr-defined]
    for name in EARLY:
        if name in sys.modules:
            importlib.reload(sys.modules[name])
