"""The changing calls of ``os``: on a mount each is refused with the errno of a read-only kernel mount."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch import quick
from vfsoverlay._patch.dispatch import (
    STATE,
    TAKEN_BUFFERS,
    answer,
    found_after_all,
    locate,
    respelled,
    text_of,
    trimmed,
)
from vfsoverlay._patch.on_path import OnPath
from vfsoverlay._vfs import refusals
from vfsoverlay._vfs.location import Failed, Foreign, Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfsoverlay._patch.dispatch import Place

_state = STATE
_PATHS: tuple[type, ...] = (str, bytes, *TAKEN_BUFFERS)


class Change(OnPath):
    # One path, the first argument; *refuse* raises what the kernel raises there.
    rule = quick.PATH | quick.EDGES
    __slots__ = ("event", "follows", "is_entry", "parameter", "refuse", "says_filename", "takes_fd")

    def __init__(
        self,
        real: Any,
        home: str,
        *,
        parameter: str,
        refuse: Callable[[Location], Any],
        event: Callable[..., tuple[Any, ...]],
        follows: bool,
        is_entry: bool,
        says_filename: bool,
        takes_fd: bool,
    ) -> None:
        super().__init__(real, home)
        self.parameter = parameter
        self.refuse = refuse
        #: The audit event of the call with these arguments; empty where CPython has none.
        self.event = event
        #: Whether a symbolic link as last component is followed.
        self.follows = follows
        #: Whether the call is about the name in its directory.
        self.is_entry = is_entry
        #: Whether errors carry the filename.
        self.says_filename = says_filename
        #: Whether a descriptor may stand in place of the path, and the kernel would not refuse to change what it is.
        self.takes_fd = takes_fd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        path = args[0] if args else kwargs.get(self.parameter)
        place: Place | None = None
        if (
            path.__class__ is str
            and _state.needle not in path
            and "dir_fd" not in kwargs
            and (_state.quiet or _state.foreign_text(path))
            and not path.endswith(_state.edges)
        ):
            try:
                return self.real(*args, **kwargs)
            except FileNotFoundError:
                place = found_after_all(path, follow=self.follows, entry=self.is_entry)
                if place is None:
                    raise
        try:
            return self.answer(place, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

    def seek(self, path: Any, *_: Any, **__: Any) -> Any:
        return found_after_all(path, follow=self.follows, entry=self.is_entry)

    def answer(self, place: Place | None, *args: Any, **kwargs: Any) -> Any:
        if not args and self.parameter not in kwargs:
            return self.real(**kwargs)  # which says what is missing
        path = args[0] if args else kwargs[self.parameter]
        follow = bool(kwargs.get("follow_symlinks", self.follows))
        dir_fd = kwargs.get("dir_fd")
        text = text_of(path)
        if isinstance(text, int) and not self.takes_fd:
            return self.real(*args, **kwargs)
        found = locate(text, dir_fd, follow=follow, entry=self.is_entry) if place is None else place
        audited = place is not None

        def real(path: Any) -> Any:
            return self.real(*self._with_path(path, args), **self._with_keyword(path, args, kwargs))

        if found is None:
            self._protect_parents(text, dir_fd)
            try:
                return real(text)
            except FileNotFoundError:
                found = found_after_all(text, dir_fd, follow=follow, entry=self.is_entry)
                if found is None:
                    raise
            audited = True
        if isinstance(found, Foreign):
            return respelled(real, found, text)
        if not audited:
            event = self.event(*self._with_path(text, args), **self._with_keyword(text, args, kwargs))
            if event:
                sys.audit(*event)
        try:
            if isinstance(found, Failed):
                raise found.error
            return answer(self.refuse, found)
        except OSError as error:
            if not self.says_filename:
                raise OSError(error.errno, error.strerror) from None
            raise

    def _with_path(self, path: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (path, *args[1:]) if args else ()

    def _with_keyword(self, path: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return kwargs if args else {**kwargs, self.parameter: path}

    def _protect_parents(self, path: Any, dir_fd: Any) -> None:
        """A real directory that holds a mount point is not empty, whatever the kernel thinks."""
        if self.refuse is not refusals.rmdir or dir_fd is not None or not isinstance(path, _PATHS):
            return
        if _state.files.leading(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
