"""The reading calls of ``os``: each replacement has the original's exact signature and no behaviour of its own."""

from __future__ import annotations

import os
import sys
from typing import Any

from vfsoverlay._patch.dispatch import STATE, answer, found_after_all, locate, reach, text_of
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs import operations
from vfsoverlay._vfs.location import Foreign, Location
from vfsoverlay._vfs.scandir import EntryIterator

_state = STATE

# Each __call__ begins with the same test, written out because a function call would double its
# cost: a text without the needle is foreign. Where the kernel then finds nothing, a symbolic link
# may lead to us after all. The last raise drops our inner frames from the traceback.


class Stat(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, *, dir_fd: Any = None, follow_symlinks: Any = True) -> Any:
        place = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and dir_fd is None
            and (_state.quiet or _state.foreign_text(path))
        ):
            try:
                return self.real(path) if follow_symlinks else self.real(path, follow_symlinks=False)
            except FileNotFoundError:
                place = found_after_all(path, follow=bool(follow_symlinks))
                if place is None:
                    raise
        try:
            return reach(
                lambda path: self.real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks),
                path,
                operations.status,
                dir_fd=dir_fd,
                follow=bool(follow_symlinks),
                place=place,
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - the same exception, without our inner frames


class Lstat(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, *, dir_fd: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and dir_fd is None
            and (_state.quiet or _state.foreign_text(path))
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path, follow=False)
                if place is None:
                    raise
        if isinstance(path, int):
            return self.real(path, dir_fd=dir_fd)
        try:
            return reach(
                lambda path: self.real(path, dir_fd=dir_fd),
                path,
                operations.status,
                dir_fd=dir_fd,
                follow=False,
                place=place,
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


class Fstat(Replacement):
    __slots__ = ()

    def __call__(self, fd: Any) -> Any:
        descriptors = _state.files.descriptors
        place = descriptors.get(fd) if fd in descriptors else None
        return self.real(fd) if place is None else answer(operations.status, place)


class Access(Replacement):
    __slots__ = ()

    def __call__(
        self,
        path: Any,
        mode: Any,
        *,
        dir_fd: Any = None,
        effective_ids: Any = False,
        follow_symlinks: Any = True,
    ) -> Any:
        def real(path: Any) -> Any:
            return self.real(path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks)

        if (
            path.__class__ is str
            and _state.needle not in path
            and dir_fd is None
            and (_state.quiet or _state.foreign_text(path))
        ):
            if real(path):
                return True
            place = found_after_all(path, follow=bool(follow_symlinks))
            return False if place is None else answer(operations.access, place, mode)
        try:
            if isinstance(path, int):
                return real(path)
            text = text_of(path)
            try:
                place = locate(text, dir_fd, follow=bool(follow_symlinks))
            except OSError:
                return False
            if place is None:
                return real(text) or _access_after_all(text, mode, dir_fd, follow=bool(follow_symlinks))
            if type(place) is Foreign:
                return real(place.path)
            return answer(operations.access, place, mode)
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


def _access_after_all(path: Any, mode: Any, dir_fd: Any, *, follow: bool) -> bool:
    place = found_after_all(path, dir_fd, follow=follow)
    return place is not None and bool(answer(operations.access, place, mode))


class Readlink(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, *, dir_fd: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and dir_fd is None
            and (_state.quiet or _state.foreign_text(path))
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path, follow=False)
                if place is None:
                    raise
        try:
            return reach(
                lambda path: self.real(path, dir_fd=dir_fd),
                path,
                operations.readlink,
                dir_fd=dir_fd,
                follow=False,
                place=place,
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


class Listdir(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and (_state.quiet or _state.foreign_text(path))
            and not path.endswith(_state.tails)
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        try:
            return reach(self._foreign, "." if path is None else path, partial_names(path), place=place)
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above

    def _foreign(self, path: Any) -> Any:
        """A real directory, and the names in it that lead to mount points but are not on disk."""
        found = self.real(path)
        known = {os.fsdecode(name) for name in found}
        extra = [name for name in _state.files.leading(path) if name not in known]
        return found + (list(map(os.fsencode, extra)) if isinstance(path, bytes) else extra)


def partial_names(path: Any) -> Any:
    """The operation behind ``listdir(path)``."""

    def names(place: Location) -> Any:
        sys.audit("os.listdir", path)
        found = operations.names(place, _state.files.table)
        return list(map(os.fsencode, found)) if isinstance(path, (bytes, bytearray)) else found

    return names


class Scandir(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and (_state.quiet or _state.foreign_text(path))
            and not path.endswith(_state.tails)
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        text = "." if path is None else text_of(path)
        try:
            return reach(self._foreign, text, lambda place: _scan(place, text), place=place)
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above

    def _foreign(self, path: Any) -> Any:
        source = self.real(path)
        leading = _state.files.leading(path)
        if not leading:
            return source
        return EntryIterator(_with_leading(source, path, leading), source)


def _with_leading(source: Any, path: Any, leading: Any) -> Any:
    missing = set(leading)
    for entry in source:
        missing.discard(os.fsdecode(entry.name))
        yield entry
    yield from operations.leading_entries(_state.files.table, _state.files.real_directory(path), missing, path)


def _scan(place: Location, path: Any) -> Any:
    sys.audit("os.scandir", path)
    return EntryIterator(operations.scan(place, _state.files.table, path))


class Open(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, flags: Any, mode: Any = 0o777, *, dir_fd: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and dir_fd is None
            and (_state.quiet or _state.foreign_text(path))
        ):
            try:
                return self.real(path, flags, mode)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        try:
            return reach(
                lambda path: self.real(path, flags, mode, dir_fd=dir_fd),
                path,
                lambda place: _open(place, path, flags),
                dir_fd=dir_fd,
                follow=not isinstance(flags, int) or not flags & os.O_NOFOLLOW,
                place=place,
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


def _open(place: Location, path: Any, flags: int) -> int:
    sys.audit("open", path, None, flags)
    return operations.open_descriptor(_state.files, place, flags)


class Statvfs(Replacement):
    __slots__ = ()

    def __call__(self, path: Any) -> Any:
        try:
            return reach(self.real, path, operations.file_system_status)
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


class Getxattr(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, attribute: Any, *, follow_symlinks: Any = True) -> Any:
        def ours(place: Location) -> Any:
            sys.audit("os.getxattr", path, attribute)
            return operations.get_attribute(place)

        try:
            return reach(
                lambda path: self.real(path, attribute, follow_symlinks=follow_symlinks),
                path,
                ours,
                follow=bool(follow_symlinks),
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


class Listxattr(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = None, *, follow_symlinks: Any = True) -> Any:
        def ours(place: Location) -> Any:
            sys.audit("os.listxattr", path)
            return operations.list_attributes(place)

        try:
            return reach(
                lambda path: self.real(path, follow_symlinks=follow_symlinks),
                "." if path is None else path,
                ours,
                follow=bool(follow_symlinks),
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


class Pathconf(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, name: Any) -> Any:
        try:
            return reach(
                lambda path: self.real(path, name),
                path,
                lambda place: operations.path_limit(_state.files, place, name),
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above
