"""The calls of ``os`` that move and ask the working directory, and those that copy descriptors."""

from __future__ import annotations

import os
import sys
from typing import Any

from vfsoverlay._patch.dispatch import STATE, reach
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs.location import Location

_state = STATE


class Chdir(Replacement):
    __slots__ = ()

    def __call__(self, path: Any) -> Any:
        def ours(place: Location) -> None:
            sys.audit("os.chdir", path)
            place.existing_directory()
            _state.files.change_directory(place)

        try:
            virtual = _state.files.cwd
            reach(self.real, path, ours)
            if virtual is not None and _state.files.cwd is virtual:
                _state.files.cwd = _state.files.current_directory()
            _state.update()
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - the same exception, without our inner frames


class Fchdir(Replacement):
    __slots__ = ()

    def __call__(self, fd: Any) -> Any:
        place = _state.files.descriptors.get(fd) if isinstance(fd, int) else None
        if place is None:
            self.real(fd)
            _state.files.current_directory()
        else:
            sys.audit("os.chdir", fd)
            place.existing_directory()
            _state.files.change_directory(place)
        _state.update()


class Getcwd(Replacement):
    __slots__ = ()

    def __call__(self) -> Any:
        if _state.files.cwd is not None:
            place = _state.files.current_directory()
            if place is not None:
                return place.absolute
            _state.update()
        return self.real()


class Getcwdb(Replacement):
    __slots__ = ()

    def __call__(self) -> Any:
        if _state.files.cwd is not None:
            place = _state.files.current_directory()
            if place is not None:
                return os.fsencode(place.absolute)
            _state.update()
        return self.real()


class Dup(Replacement):
    __slots__ = ()

    def __call__(self, fd: Any, /) -> Any:
        new = self.real(fd)
        if _state.files.descriptors:
            _state.files.descriptors.copy(fd, new)
        return new


class Dup2(Replacement):
    __slots__ = ()

    def __call__(self, fd: Any, fd2: Any, inheritable: Any = True) -> Any:
        new = self.real(fd, fd2, inheritable)
        if _state.files.descriptors:
            _state.files.descriptors.copy(fd, new)
        return new
