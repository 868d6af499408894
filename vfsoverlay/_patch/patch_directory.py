"""The calls of ``os`` that move the working directory and ask for it."""

from __future__ import annotations

import os
import sys
from typing import Any

from vfsoverlay._patch import quick
from vfsoverlay._patch.dispatch import STATE, reach, text_of, trimmed
from vfsoverlay._patch.replacement import Replacement, told_as
from vfsoverlay._vfs.location import Location

_state = STATE


class Chdir(Replacement):
    __slots__ = ()

    @told_as("chdir")
    def __call__(self, path: Any) -> Any:
        def ours(place: Location) -> None:
            place.existing_directory()
            _state.files.change_directory(place)

        try:
            text = text_of(path)
            virtual = _state.files.cwd
            reach(self.real, text, ours, ("os.chdir", text))
            if virtual is not None and _state.files.cwd is virtual:
                _state.files.cwd = _state.files.current_directory()
            _state.update()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames


class Fchdir(Replacement):
    __slots__ = ()

    @told_as("fchdir")
    def __call__(self, fd: Any) -> Any:
        place = _state.files.descriptors.get(fd) if isinstance(fd, int) else None
        try:
            if place is None:
                self.real(fd)
                _state.files.current_directory()
            else:
                sys.audit("os.chdir", fd)
                place._replace(spelled=None).existing_directory()
                _state.files.change_directory(place)
            _state.update()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


class Getcwd(Replacement):
    __slots__ = ()
    rule = quick.BARE

    @told_as("getcwd")
    def __call__(self) -> Any:
        if _state.files.cwd is not None:
            place = _state.files.current_directory()
            if place is not None:
                return place.absolute
            _state.update()
        return self.real()


class Getcwdb(Replacement):
    __slots__ = ()
    rule = quick.BARE

    @told_as("getcwdb")
    def __call__(self) -> Any:
        if _state.files.cwd is not None:
            place = _state.files.current_directory()
            if place is not None:
                return os.fsencode(place.absolute)
            _state.update()
        return self.real()
