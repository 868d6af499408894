"""The opening calls of ``io`` and ``builtins``: ``open`` and ``open_code``."""

from __future__ import annotations

import io
import sys
from functools import partial
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch import quick
from vfsoverlay._patch.dispatch import INSIDE, STATE, answer, found_after_all, locate, text_of, trimmed
from vfsoverlay._patch.on_path import OnPath, plainly_named
from vfsoverlay._patch.patch_os import creates_elsewhere
from vfsoverlay._patch.replacement import told_as
from vfsoverlay._vfs.file import Streams
from vfsoverlay._vfs.location import Failed, Foreign, Location

_state = STATE
_inside = INSIDE
_needle = "\0"
_READING = quick.READING
STATE.watch(globals())
_STREAMS = Streams(answer, STATE.files)


class Open(OnPath):
    __slots__ = ("__call__",)
    __call__: Any
    rule = quick.PATH | quick.MODE

    def __init__(self, real: Any, home: str) -> None:
        super().__init__(real, home)
        ours = self.answer

        def open(
            file: Any,
            mode: Any = "r",
            buffering: Any = -1,
            encoding: Any = None,
            errors: Any = None,
            newline: Any = None,
            closefd: Any = True,
            opener: Any = None,
        ) -> Any:
            place: Any = None
            if opener is not None:
                # An opener is called by the real open with the caller's path, and opens by calls of ours.
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if (
                file.__class__ is str
                and (_needle not in file or (not _needle and _state.is_foreign(file) and _state.foreign_text(file)))
                and (mode in _READING or not creates_elsewhere(file))
            ):
                try:
                    return real(file, mode, buffering, encoding, errors, newline, closefd)
                except FileNotFoundError:
                    place = found_after_all(file, follow="x" not in mode)
                    if place is None:
                        raise
            try:
                if file.__class__ is not str:
                    file = _descriptor(file) if file.__class__ is bool else text_of(file)
                if place is None and file.__class__ is str and mode in _READING and not _inside.active:
                    place = _state.files.located(file)
                    if place is not None:
                        return _STREAMS.open(place, file, mode, buffering, encoding, errors, newline, closefd)
                return ours(place, file, mode, buffering, encoding, errors, newline, closefd)
            except BaseException as error:  # noqa: BLE001 - raised again below
                raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

        self.__call__ = plainly_named(open)

    def answer(
        self,
        place: Any,
        file: Any,
        mode: Any = "r",
        buffering: Any = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        closefd: Any = True,
    ) -> Any:
        if place is None and not isinstance(file, int):
            follow = not isinstance(mode, str) or "x" not in mode
            place = locate(file, follow=follow, creates=mode not in _READING)
        if place is None:
            return self._foreign(file, mode, buffering, encoding, errors, newline, closefd)
        return _open_place(self.real, place, file, mode, buffering, encoding, errors, newline, closefd)

    def _foreign(self, path: Any, mode: Any, *rest: Any) -> Any:
        try:
            return self.real(path, mode, *rest)
        except FileNotFoundError:
            place = found_after_all(path, follow="x" not in mode)
            if place is None:
                raise
        return _open_place(self.real, place, path, mode, *rest)


def _descriptor(file: bool) -> int:
    """*file* as a number: the real open warns, since 3.13, of the line that called it, which would be ours."""
    if sys.version_info >= (3, 13):
        import warnings

        warnings.warn("bool is used as a file descriptor", RuntimeWarning, stacklevel=3)
    return int(file)


class WarningOpen(Open):
    # With ``-X warn_default_encoding`` the real open warns about the line that called it, which
    # would be ours; so we warn, about our caller's, and say outright what the default is.
    __slots__ = ()

    def __init__(self, real: Any, home: str) -> None:
        super().__init__(real, home)
        quiet = self.__call__

        def open(
            file: Any,
            mode: Any = "r",
            buffering: Any = -1,
            encoding: Any = None,
            errors: Any = None,
            newline: Any = None,
            closefd: Any = True,
            opener: Any = None,
        ) -> Any:
            if encoding is None and isinstance(mode, str) and "b" not in mode:
                encoding = io.text_encoding(None, 2)  # type: ignore[attr-defined]  # missing in typeshed for 3.10
            return quiet(file, mode, buffering, encoding, errors, newline, closefd, opener)

        self.__call__ = plainly_named(open)


def open_replacement(real: Any, home: str) -> Open:
    """What stands in for ``open`` in an interpreter started as this one was."""
    return (WarningOpen if sys.flags.warn_default_encoding else Open)(real, home)


def _open_place(real: Any, place: Any, path: Any, *arguments: Any) -> Any:
    """Open what lies at *place*: CPython does the most of it, so types, names and modes are the real ones."""
    if type(place) is Location:
        # Not by the opener below: a large file is fetched as it is read, by a raw file of our own.
        return _STREAMS.open(place, path, *arguments)
    return real(path, *arguments, partial(_give, place))


def _give(place: Failed | Foreign, path: Any, flags: int) -> int:
    """The opener of a path that crosses a mount: the kernel finds it under another spelling, or nobody does."""
    if isinstance(place, Failed):
        raise place.error
    try:
        return _real.open(place.path, flags, 0o666)  # type: ignore[arg-type]
    except OSError as error:
        error.filename = path
        raise


class OpenCode(OnPath):
    __slots__ = ()
    rule = 0  # the original does not ask an object for its path

    @told_as("open_code")
    def __call__(self, path: Any) -> Any:
        if path.__class__ is not str:
            return self.real(path)
        place: Any = None
        if _needle not in path or (not _needle and _state.is_foreign(path) and _state.foreign_text(path)):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        try:
            return self.answer(place, path)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any) -> Any:
        if place is None:
            place = locate(path)
        if place is None:
            return self.real(path)
        return _open_place(_real.io_open, place, path, "rb", -1, None, None, None, True)
