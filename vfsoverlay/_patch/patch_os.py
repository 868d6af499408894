"""The reading calls of ``os``: each replacement has the original's exact signature and no behaviour of its own."""

from __future__ import annotations

import errno
import os
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch import quick
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
from vfsoverlay._patch.on_path import OnPath, plainly_named
from vfsoverlay._patch.replacement import told_as
from vfsoverlay._vfs import operations
from vfsoverlay._vfs.location import Failed, Foreign, Location

_state = STATE
_inside = INSIDE
_needle = "\0"
STATE.watch(globals())

# Each call begins with the same test, written out because a function call would double its cost: a
# text without the needle is foreign. Where the kernel then finds nothing, a symbolic link may lead to
# us after all. The last raise drops our inner frames from the traceback, whatever it is.
#
# Calls that programs make most often are functions in a slot, which the interpreter reaches sooner
# than a method, and for which *real* is a variable of the function around them.


class Stat(OnPath):
    __slots__ = ("__call__",)
    __call__: Any

    def __init__(self, real: Any, home: str) -> None:
        super().__init__(real, home)
        ours = self.answer

        def stat(path: Any, *, dir_fd: Any = None, follow_symlinks: Any = True) -> Any:
            place: Any = None
            if path.__class__ is not str:
                path = text_of(path)
            if (
                dir_fd is None
                and path.__class__ is str
                and (_needle not in path or (not _needle and _state.is_foreign(path)))
            ):
                try:
                    status = real(path) if follow_symlinks else real(path, follow_symlinks=False)
                    if _needle or (status.st_dev, status.st_ino) not in _state.shadowed:
                        return status
                except FileNotFoundError:
                    place = found_after_all(path, follow=bool(follow_symlinks))
                    if place is None:
                        raise
            try:
                if place is None and path.__class__ is str and dir_fd is None and not _inside.active:
                    status = _state.files.known_status(path)
                    if status is not None:
                        return status
                return ours(place, path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
            except BaseException as error:  # noqa: BLE001 - raised again below
                raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

        self.__call__ = plainly_named(stat)

    def answer(self, place: Any, path: Any, *, dir_fd: Any = None, follow_symlinks: Any = True) -> Any:
        return reach(
            lambda path: self.real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks),
            path,
            operations.status,
            dir_fd=dir_fd,
            follow=bool(follow_symlinks),
            place=place,
        )


class Lstat(OnPath):
    __slots__ = ("__call__",)
    __call__: Any

    def __init__(self, real: Any, home: str) -> None:
        super().__init__(real, home)
        ours = self.answer

        def lstat(path: Any, *, dir_fd: Any = None) -> Any:
            place: Any = None
            if path.__class__ is not str:
                path = text_of(path)
            if (
                dir_fd is None
                and path.__class__ is str
                and (_needle not in path or (not _needle and _state.is_foreign(path)))
            ):
                try:
                    status = real(path)
                    if _needle or (status.st_dev, status.st_ino) not in _state.shadowed:
                        return status
                except FileNotFoundError:
                    place = found_after_all(path, follow=False)
                    if place is None:
                        raise
            try:
                if place is None and path.__class__ is str and dir_fd is None and not _inside.active:
                    status = _state.files.known_status(path)
                    if status is not None:
                        return status
                return ours(place, path, dir_fd=dir_fd)
            except BaseException as error:  # noqa: BLE001 - raised again below
                raise trimmed(error)  # noqa: B904 - as above

        self.__call__ = plainly_named(lstat)

    def seek(self, path: Any, *_: Any, **__: Any) -> Any:
        return found_after_all(path, follow=False)

    def answer(self, place: Any, path: Any, *, dir_fd: Any = None) -> Any:
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


class Access(OnPath):
    # Says False where the others raise.
    __slots__ = ()
    rule = quick.PATH | quick.FALSE

    @told_as("access")
    def __call__(
        self,
        path: Any,
        mode: Any,
        *,
        dir_fd: Any = None,
        effective_ids: Any = False,
        follow_symlinks: Any = True,
    ) -> Any:
        place = None
        if path.__class__ is str and _needle not in path and dir_fd is None and follow_symlinks and not effective_ids:
            if self.real(path, mode):
                return True
            place = found_after_all(path)
            if place is None:
                return False
        try:
            return self.answer(
                place, path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks
            )
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any, mode: Any, *, dir_fd: Any = None, **options: Any) -> Any:
        if isinstance(path, int):
            return self.real(path, mode, dir_fd=dir_fd, **options)
        text = text_of(path)
        follow = bool(options.get("follow_symlinks", True))
        place = place or locate(text, dir_fd, follow=follow)
        if place is None:
            if self.real(text, mode, dir_fd=dir_fd, **options):
                return True
            place = found_after_all(text, dir_fd, follow=follow)
        if type(place) is Foreign:
            return self.real(place.path, mode, dir_fd=dir_fd, **options)
        # The arguments are checked by the real call, which finds nothing under an empty name.
        self.real("", mode, dir_fd=dir_fd, **options)
        return type(place) is Location and answer(operations.access, place, mode)


class Readlink(OnPath):
    __slots__ = ()

    @told_as("readlink")
    def __call__(self, path: Any, *, dir_fd: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and dir_fd is None
            and (_needle not in path or (not _needle and _state.is_foreign(path)))
        ):
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
            return self.answer(place, path, dir_fd=dir_fd)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def seek(self, path: Any, *_: Any, **__: Any) -> Any:
        return found_after_all(path, follow=False)

    def answer(self, place: Any, path: Any, *, dir_fd: Any = None) -> Any:
        return reach(
            lambda path: self.real(path, dir_fd=dir_fd),
            text_of(path),
            operations.readlink,
            dir_fd=dir_fd,
            takes_fd=False,
            follow=False,
            place=place,
        )


class Open(OnPath):
    __slots__ = ()
    rule = quick.PATH | quick.FLAGS

    @told_as("open")
    def __call__(self, path: Any, flags: Any, mode: Any = 0o777, *, dir_fd: Any = None) -> Any:
        place = None
        if (
            path.__class__ is str
            and dir_fd is None
            and (_needle not in path or (not _needle and _state.is_foreign(path) and _state.foreign_text(path)))
            and not (flags.__class__ is int and flags & os.O_CREAT and creates_elsewhere(path))
        ):
            try:
                return self.real(path, flags, mode)
            except FileNotFoundError:
                place = found_after_all(path, follow=not does_not_follow(flags))
                if place is None:
                    raise
        try:
            return self.answer(place, path, flags, mode, dir_fd=dir_fd)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def seek(self, path: Any, flags: Any, *_: Any, **__: Any) -> Any:
        return found_after_all(path, follow=not does_not_follow(flags))

    def answer(self, place: Any, path: Any, flags: Any, mode: Any = 0o777, *, dir_fd: Any = None) -> Any:
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


class Statvfs(OnPath):
    __slots__ = ()

    @told_as("statvfs")
    def __call__(self, path: Any) -> Any:
        try:
            return self.answer(None, path)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any) -> Any:
        event = ("os.statvfs", path)
        return reach(self.real, text_of(path), operations.file_system_status, event, place=place)


class Getxattr(OnPath):
    __slots__ = ()

    @told_as("getxattr")
    def __call__(self, path: Any, attribute: Any, *, follow_symlinks: Any = True) -> Any:
        try:
            return self.answer(None, path, attribute, follow_symlinks=follow_symlinks)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any, attribute: Any, *, follow_symlinks: Any = True) -> Any:
        text = text_of(path)
        return reach(
            lambda path: self.real(path, attribute, follow_symlinks=follow_symlinks),
            text,
            operations.get_attribute,
            ("os.getxattr", text, attribute),
            follow=bool(follow_symlinks),
            place=place,
        )


class Listxattr(OnPath):
    __slots__ = ()

    @told_as("listxattr")
    def __call__(self, path: Any = None, *, follow_symlinks: Any = True) -> Any:
        try:
            return self.answer(None, path, follow_symlinks=follow_symlinks)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any = None, *, follow_symlinks: Any = True) -> Any:
        text = text_of(path)
        return reach(
            lambda path: self.real(path, follow_symlinks=follow_symlinks),
            "." if text is None else text,
            operations.list_attributes,
            ("os.listxattr", text),
            follow=bool(follow_symlinks),
            place=place,
        )


class Pathconf(OnPath):
    __slots__ = ()

    @told_as("pathconf")
    def __call__(self, path: Any, name: Any) -> Any:
        try:
            return self.answer(None, path, name)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any, name: Any) -> Any:
        text = text_of(path)
        place = place or locate(text)
        if type(place) in (Failed, Location) and self._is_constant(name):
            return self.real("/", name)
        return reach(
            lambda path: self.real(path, name),
            text,
            lambda place: operations.path_limit(_state.files, place, name),
            place=place,
        )

    def _is_constant(self, name: Any) -> bool:
        """Whether the answer does not depend on the path, which the C library then does not look at."""
        try:
            self.real("/\x01/\x01", name)
        except OSError:
            return False
        return True
