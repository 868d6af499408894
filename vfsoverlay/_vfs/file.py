"""Open files: a real file object over complete data, or one that fetches as it is read."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from vfsoverlay import _real
from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._vfs.operations import open_descriptor
from vfsoverlay.errors import StaleObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfsoverlay._cache.cached_object import CachedObject
    from vfsoverlay._vfs.file_system import FileSystem
    from vfsoverlay._vfs.location import Location
    from vfsoverlay._vfs.mount_point import MountPoint

Result = TypeVar("Result")

#: The buffer of a file that fetches as it is read: eight times fewer crossings into Python than with io's 8 KiB, and
#: no more than half a block, so that a random read seldom touches a block that it does not need.
_BUFFER = 64 * 1024

#: What io asks of an opener to read a file.
_READ = os.O_RDONLY | os.O_CLOEXEC


class _FetchAsRead(Exception):  # noqa: N818 - it is no error
    """Raised by the opener inside the real open, when all its arguments were found good: a lazy file is wanted."""


class Streams:
    """Opens what lies below mounts as ``open`` does.

    Args:
        guard: Calls its first argument with the others; what they do must not come back to us.
        files: The mounts.
    """

    __slots__ = ("_add", "_files", "_guard", "_opener")

    def __init__(self, guard: Callable[..., Any], files: FileSystem) -> None:
        self._guard = guard
        self._files = files
        self._add = files.descriptors.add_identified
        self._opener = self._open_descriptor

    def open(
        self,
        place: Location,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
    ) -> Any:
        """What ``open(file, mode, ...)`` gives for *place*.

        CPython's own ``open`` checks the arguments, raises the audit event and builds the object; we
        are its opener. Only where the data is not complete, we build the same object over a
        ``LazyFile`` instead.

        Args:
            place: What lies there.
            file: As the caller spelled it.
            mode: As of ``open``, like all that follow.
            buffering: As of ``open``.
            encoding: As of ``open``.
            errors: As of ``open``.
            newline: As of ``open``.
            closefd: As of ``open``.

        Raises:
            OSError: As a read-only file system does; or what fetching raised.
            ValueError: As ``io.open``.
        """
        try:
            # A method of the place: as partial(), and made in half the time.
            opener = MethodType(self._opener, place)
            return _real.io_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        except _FetchAsRead:
            pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # Reading needs no disk: what cannot be kept is served from memory.
        if place.point is None:
            raise place.error(errno.EISDIR)
        return self._guard(
            _open_lazily, self._files, place.point, place, file, mode, buffering, encoding, errors, newline
        )

    def _open_descriptor(self, place: Location, _: Any, flags: int) -> int:
        """The opener of *place* within the real ``open``."""
        point = place.point
        if flags == _READ and point is not None and not place.slash:
            # What was opened before is opened again without the long way: programs do so all the time.
            opened = point.open_known(place.path, place.node)
            if opened is not None:
                fd, device, inode = opened
                self._add(fd, device, inode, place)
                return fd
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) == 0 and self._guard(_is_lazy, place):
            raise _FetchAsRead
        made: int = self._guard(open_descriptor, self._files, place, flags)
        return made


def _is_lazy(place: Location) -> bool:
    """Whether the file is one to be fetched as it is read; what cannot be opened is left to the usual way."""
    node = place.node
    if type(node) is not FileNode or place.slash or place.point is None:
        return False
    return place.point.is_lazy(place.path, node)


def _open_lazily(
    files: FileSystem,
    point: MountPoint,
    place: Location,
    name: Any,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> Any:
    """The layers of ``io.open`` over a ``LazyFile``; the arguments are known to be good but for one case."""
    if buffering == 0 and "b" not in mode:
        msg = "can't have unbuffered text I/O"
        raise ValueError(msg)
    if buffering == 1 and "b" in mode:
        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used",
            RuntimeWarning,
            stacklevel=4,
        )
    raw = LazyFile(files, point, place, name)
    if buffering == 0:
        return raw
    try:
        size = buffering if buffering > 1 else _BUFFER
        buffered = io.BufferedReader(raw, size)  # type: ignore[type-var]  # typeshed wants a read() without None
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, _encoding(encoding), errors, newline, line_buffering=buffering == 1)
        text.mode = mode  # type: ignore[misc]  # as io.open sets it
    except BaseException:  # cleans up after Ctrl-C as well, and raises it again
        # Such as an unknown encoding: the object that would close the file was not made.
        raw.close()
        raise
    return text


def _encoding(given: str | None) -> str | None:
    if given is None and sys.version_info < (3, 11):
        # Up to 3.10 TextIOWrapper asks fileno() for the encoding of a terminal, which would fetch everything.
        import locale

        return locale.getpreferredencoding(False)
    return given


class LazyFile(_real.FileIO):
    """A raw file whose bytes arrive as they are read.

    It holds an ``O_PATH`` descriptor, through which no code can read holes as zeros: what bypasses
    the methods below, in C or in Python, gets EBADF. ``fileno()`` fetches the rest and puts a
    readable descriptor of the complete data in its place; from then on this is an ordinary file.
    """

    def __init__(self, files: FileSystem, point: MountPoint, place: Location, name: Any) -> None:
        self._files = files
        self._point = point
        self._place = place
        self._handle = self._open(place)
        #: Whether bytes are still fetched as they are read; never again once the descriptor is a real one.
        self._lazy = True
        self._position = 0
        self._delivered = False
        # Given by number, since the real open has raised the audit event with the name already.
        super().__init__(self._handle.placeholder(), "r")
        self.name = name

    def _open(self, place: Location) -> CachedObject:
        node = place.existing()
        if type(node) is not FileNode:
            raise place.error(errno.EISDIR)
        return self._point.open_partial(place.path, node)

    def _fetching(self, call: Callable[[CachedObject], Result]) -> Result:
        """Run *call* with the handle; errors carry the name, and a change before the first byte may be accepted."""
        try:
            try:
                result = call(self._handle)
            except StaleObject:
                if self._delivered or not self._reopen():
                    raise
                result = call(self._handle)
        except OSError as error:
            raise self._named(error) from error.__cause__
        self._delivered = True
        return result

    def _reopen(self) -> bool:
        """Turn to the newer version of the file, if the mount allows it."""
        node = self._place.existing()
        newer = self._point.reopened(self._place.path, node) if type(node) is FileNode else None
        if newer is None:
            return False
        self._place = self._place._replace(node=newer)
        self._handle.close()
        self._handle = self._open(self._place)
        return True

    def _named(self, error: OSError) -> OSError:
        if error.filename is None:
            error.filename = self.name
        return error

    def _is_lazy(self) -> bool:
        """Whether bytes are still fetched as they are read; raises for a closed file."""
        if self.closed:
            msg = "I/O operation on closed file"
            raise ValueError(msg)
        return self._lazy

    def readinto(self, buffer: Any) -> int | None:
        if not self._is_lazy():
            return super().readinto(buffer)
        with memoryview(buffer) as whole, whole.cast("B") as view:
            count = self._fetching(lambda handle: handle.readinto(self._position, view))
        self._position += count
        return count

    def read(self, size: int | None = -1) -> bytes | None:  # type: ignore[override]  # typeshed's FileIO
        if not self._is_lazy():
            return super().read(-1 if size is None else size)
        if size is None or size < 0:
            return self.readall()
        buffer = bytearray(max(0, min(size, self._handle.size - self._position)))
        count = self.readinto(buffer)
        return bytes(buffer[:count])

    def readall(self) -> bytes:
        if self._is_lazy():
            rest = self._handle.size - self._position
            if rest <= 0:
                return b""
            if rest < self._handle.size // 2:
                # Whoever reads the end of an archive, to find out what is in it, does not want the rest.
                return self._read_rest()
            try:
                self._complete()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return self._read_rest()
        return super().readall()

    def _read_rest(self) -> bytes:
        whole = b""
        # The first read may turn to a newer version, of another size.
        while (left := self._handle.size - self._position) > 0 and (piece := self.read(left)):
            whole += piece
        return whole

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if not self._is_lazy():
            return super().seek(offset, whence)
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._handle.size}
        if whence not in bases:
            # SEEK_DATA and SEEK_HOLE tell of holes, and an object has none.
            self._complete()
            return super().seek(offset, whence)
        target = bases[whence] + offset
        if target < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = target
        return target

    def tell(self) -> int:
        return self._position if self._is_lazy() else super().tell()

    def seekable(self) -> bool:
        self._is_lazy()
        return True

    def isatty(self) -> bool:
        self._is_lazy()
        return False

    def fileno(self) -> int:
        if not self.closed and self._lazy:
            self._complete()
        return super().fileno()

    def _complete(self) -> None:
        """Fetch the rest, and become an ordinary file at the same position."""
        fd = self._fetching(lambda handle: handle.complete())
        own = super().fileno()
        try:
            _real.dup2(fd, own, False)
        finally:
            _real.close(fd)
        _real.lseek(own, self._position, os.SEEK_SET)
        self._files.descriptors.add(own, self._place)
        self._lazy = False
        self._handle.close()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._handle.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<_io.FileIO [closed]>"
        return f"<_io.FileIO name={self.name!r} mode={self.mode!r} closefd=True>"
