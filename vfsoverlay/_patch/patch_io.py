"""The opening calls of ``io`` and ``builtins``: ``open`` and ``open_code``."""

from __future__ import annotations

from functools import partial
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch.dispatch import STATE, answer, found_after_all, locate, text_of
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs.file import open_stream
from vfsoverlay._vfs.location import Foreign

_state = STATE


class Open(Replacement):
    __slots__ = ()

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
        if (
            file.__class__ is str and _state.needle not in file and (_state.quiet or _state.foreign_text(file))
        ) or opener is not None:
            # An opener is called by the real open with the caller's path, and opens by calls of ours.
            try:
                return self.real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            except FileNotFoundError:
                place = None if opener is not None else found_after_all(file)
                if place is None:
                    raise
        else:
            place = None
        rest = (mode, buffering, encoding, errors, newline, closefd)
        try:
            return self._open(file, place, rest)
        except (OSError, ValueError, TypeError) as error:
            # One frame of ours in the traceback is enough.
            raise error.with_traceback(None)  # noqa: B904 - it is the same exception

    def _open(self, file: Any, place: Any, rest: tuple[Any, ...]) -> Any:
        path = file if type(file) is int else text_of(file)
        if place is None and not isinstance(path, int):
            place = locate(path)
        if place is None:
            try:
                return self.real(path, *rest)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        if type(place) is Foreign:
            return self.real(path, *rest, partial(_give, place))
        return answer(open_stream, _state.files, place, path, *rest)


def _give(place: Foreign, path: Any, flags: int) -> int:
    """The opener of a foreign file that the kernel finds under another spelling only."""
    try:
        return _real.open(place.path, flags, 0o666)  # type: ignore[arg-type]
    except OSError as error:
        error.filename = path
        raise


class OpenCode(Replacement):
    __slots__ = ()

    def __call__(self, path: Any) -> Any:
        if path.__class__ is not str or (_state.needle not in path and (_state.quiet or _state.foreign_text(path))):
            return self.real(path)
        try:
            place = locate(path)
            if place is None:
                return self.real(path)
            if type(place) is Foreign:
                return _real.io_open(path, "rb", opener=partial(_give, place))
            return answer(open_stream, _state.files, place, path, "rb")
        except OSError as error:
            raise error.with_traceback(None)  # noqa: B904 - it is the same exception
