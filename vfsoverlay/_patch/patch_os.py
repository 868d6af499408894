"""The reading calls of ``os``: each replacement has the original's exact signature and no behaviour of its own."""

from __future__ import annotations

import errno
import os
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch.dispatch import (
    INSIDE,
    STATE,
    TAKEN_BUFFERS,
    answer,
    found_after_all,
    locate,
    reach,
    text_of,
    trimmed,
)
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs import operations
from vfsoverlay._vfs.location import Failed, Foreign, Location

_state = STATE
_inside = INSIDE
_needle = "\0"
STATE.watch(globals())

# Each __call__ begins with the same test, written out because a function call would double its
# cost: a text without the needle is foreign. Where the kernel then finds nothing, a symbolic link
# may lead to us after all. The last raise drops our inner frames from the traceback, whatever it is.


class Stat(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, *, dir_fd: Any = None, follow_symlinks: Any = True) -> Any:
        place: Any = None
        if path.__class__ is not str:
            path = text_of(path)
        if path.__class__ is str and dir_fd is None:
            if _needle not in path or _state.is_foreign(path):
                try:
                    status = self.real(path) if follow_symlinks else self.real(path, follow_symlinks=False)
                except FileNotFoundError:
                    place = found_after_all(path, follow=bool(follow_symlinks))
                    if place is None:
                        raise
                else:
                    if _needle or (status.st_dev, status.st_ino) not in _state.shadowed:
                        return status
            else:
                status = None if _inside.active else _state.files.known_status(path)
                if status is not None:
                    return status
        try:
            return reach(
                lambda path: self.real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks),
                path,
                operations.status,
                dir_fd=dir_fd,
                follow=bool(follow_symlinks),
                place=place,
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames


class Lstat(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, *, dir_fd: Any = None) -> Any:
        place: Any = None
        if path.__class__ is not str:
            path = text_of(path)
        if path.__class__ is str and dir_fd is None:
            if _needle not in path or _state.is_foreign(path):
                try:
                    status = self.real(path)
                except FileNotFoundError:
                    place = found_after_all(path, follow=False)
                    if place is None:
                        raise
                else:
                    if _needle or (status.st_dev, status.st_ino) not in _state.shadowed:
                        return status
            else:
                status = None if _inside.active else _state.files.known_status(path)
                if status is not None:
                    return status
        try:
            if isinstance(path, int):
                return self.real(path, dir_fd=dir_fd)
            return reach(
                lambda path: self.real(path, dir_fd=dir_fd),
                path,
                operations.status,
                dir_fd=dir_fd,
                follow=False,
                place=place,
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


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
        if (
            path.__class__ is str
            and _needle not in path
            and dir_fd is None
            and follow_symlinks
            and not effective_ids
            and self.real(path, mode)
        ):
            return True

        def real(path: Any) -> Any:
            return self.real(path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks)

        try:
            if isinstance(path, int):
                return real(path)
            text = text_of(path)
            place = locate(text, dir_fd, follow=bool(follow_symlinks))
            if place is None:
                return real(text) or self._after_all(text, mode, dir_fd, real, follow=bool(follow_symlinks))
            if type(place) is Foreign:
                return real(place.path)
            # The arguments are checked by the real call, which finds nothing under an empty name.
            self.real("", mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks)
            return type(place) is Location and answer(operations.access, place, mode)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def _after_all(self, path: Any, mode: Any, dir_fd: Any, real: Any, *, follow: bool) -> Any:
        place = found_after_all(path, dir_fd, follow=follow)
        if type(place) is Foreign:
            return real(place.path)
        return type(place) is Location and answer(operations.access, place, mode)


class Readlink(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, *, dir_fd: Any = None) -> Any:
        place = None
        if path.__class__ is str and dir_fd is None and (_needle not in path or _state.is_foreign(path)):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path, follow=False)
                if place is None:
                    raise
            except OSError:
                if not _state.shadowed:
                    raise
        try:
            return reach(
                lambda path: self.real(path, dir_fd=dir_fd),
                text_of(path),
                operations.readlink,
                dir_fd=dir_fd,
                takes_fd=False,
                follow=False,
                place=place,
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


class Open(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, flags: Any, mode: Any = 0o777, *, dir_fd: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and dir_fd is None
            and (_needle not in path or (_state.is_foreign(path) and _state.foreign_text(path)))
            and not (flags.__class__ is int and flags & os.O_CREAT and creates_elsewhere(path))
        ):
            try:
                return self.real(path, flags, mode)
            except FileNotFoundError:
                place = found_after_all(path, follow=not does_not_follow(flags))
                if place is None:
                    raise
        try:
            text = text_of(path)
            return reach(
                lambda path: self.real(path, flags, mode, dir_fd=dir_fd),
                text,
                lambda place: operations.open_descriptor(_state.files, place, flags),
                ("open", text, None, flags | os.O_CLOEXEC if isinstance(flags, int) else flags),
                dir_fd=dir_fd,
                follow=not does_not_follow(flags),
                creates=isinstance(flags, int) and bool(flags & os.O_CREAT),
                takes_fd=False,
                place=_unless_invalid(place, flags, text),
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


def does_not_follow(flags: Any) -> bool:
    """Whether these flags of ``open`` leave a symbolic link at the end alone."""
    if not isinstance(flags, int):
        return False
    return bool(flags & os.O_NOFOLLOW) or flags & _EXCLUSIVE == _EXCLUSIVE


_EXCLUSIVE = os.O_CREAT | os.O_EXCL


def creates_elsewhere(path: str) -> bool:
    """Whether creating *path* on disk may be wrong: it is a link, perhaps to us, or named as a mount point is."""
    if path.endswith(_state.edges):
        return True
    try:
        _real.readlink(path)
    except (OSError, ValueError):
        return False
    return True


def _unless_invalid(place: Any, flags: Any, spelled: Any) -> Any:
    """*place*, or a failure where the kernel refuses *flags* before it looks at any path."""
    if isinstance(spelled, TAKEN_BUFFERS):
        is_path = b"\0" not in bytes(spelled)
    else:
        is_path = isinstance(spelled, (str, bytes)) and "\0" not in os.fsdecode(spelled)
    if isinstance(flags, int) and is_path and (flags & _TMPFILE or flags & _CREATE_DIRECTORY == _CREATE_DIRECTORY):
        try:
            _real.open("", flags)
        except OSError as error:
            if error.errno == errno.EINVAL:
                error.filename = spelled
                return Failed(error)
    return place


_TMPFILE = os.O_TMPFILE & ~os.O_DIRECTORY
_CREATE_DIRECTORY = os.O_CREAT | os.O_DIRECTORY


class Statvfs(Replacement):
    __slots__ = ()

    def __call__(self, path: Any) -> Any:
        try:
            return reach(self.real, text_of(path), operations.file_system_status, ("os.statvfs", path))
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


class Getxattr(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, attribute: Any, *, follow_symlinks: Any = True) -> Any:
        try:
            text = text_of(path)
            return reach(
                lambda path: self.real(path, attribute, follow_symlinks=follow_symlinks),
                text,
                operations.get_attribute,
                ("os.getxattr", text, attribute),
                follow=bool(follow_symlinks),
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


class Listxattr(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = None, *, follow_symlinks: Any = True) -> Any:
        try:
            text = text_of(path)
            return reach(
                lambda path: self.real(path, follow_symlinks=follow_symlinks),
                "." if text is None else text,
                operations.list_attributes,
                ("os.listxattr", text),
                follow=bool(follow_symlinks),
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


class Pathconf(Replacement):
    __slots__ = ()

    def __call__(self, path: Any, name: Any) -> Any:
        try:
            text = text_of(path)
            place = locate(text)
            if type(place) in (Failed, Location) and self._is_constant(name):
                return self.real("/", name)
            return reach(
                lambda path: self.real(path, name),
                text,
                lambda place: operations.path_limit(_state.files, place, name),
                place=place,
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def _is_constant(self, name: Any) -> bool:
        """Whether the answer does not depend on the path, which the C library then does not look at."""
        try:
            self.real("/\x01/\x01", name)
        except OSError:
            return False
        return True
