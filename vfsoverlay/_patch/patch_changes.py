"""The changing calls of ``os``: on a mount each is refused with the errno of a read-only kernel mount."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch.dispatch import STATE, answer, found_after_all, locate, text_of
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs import refusals
from vfsoverlay._vfs.location import Foreign, Location

if TYPE_CHECKING:
    from collections.abc import Callable

_state = STATE


class Change(Replacement):
    # One path, the first argument; *refuse* raises what the kernel raises there.
    __slots__ = ("audit", "follows", "parameter", "refuse")

    def __init__(
        self, real: Any, home: str, *, parameter: str, refuse: Callable[[Location], Any], audit: str, follows: bool
    ) -> None:
        super().__init__(real, home)
        self.parameter = parameter
        self.refuse = refuse
        #: The name of the call's audit event; empty where CPython has none.
        self.audit = audit
        #: Whether a symbolic link as last component is followed.
        self.follows = follows

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        path = args[0] if args else kwargs.get(self.parameter)
        if (
            path.__class__ is str
            and _state.needle not in path
            and "dir_fd" not in kwargs
            and (_state.quiet or _state.foreign_text(path))
            and not path.endswith(_state.tails)
        ):
            try:
                return self.real(*args, **kwargs)
            except FileNotFoundError:
                place = found_after_all(path, follow=self.follows)
                if place is None:
                    raise
        else:
            place = None
        try:
            return self._reach(path, args, kwargs, place)
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - the same exception, without our inner frames

    def _reach(self, path: Any, args: tuple[Any, ...], kwargs: dict[str, Any], place: Location | None) -> Any:
        follow = bool(kwargs.get("follow_symlinks", self.follows))
        dir_fd = kwargs.get("dir_fd")
        text = text_of(path)
        found = locate(text, dir_fd, follow=follow) if place is None else place
        if found is None:
            _protect_parents(self, path, dir_fd)
            if text is not path:
                args, kwargs = self._with_path(text, args, kwargs)
            try:
                return self.real(*args, **kwargs)
            except FileNotFoundError:
                found = found_after_all(text, dir_fd, follow=follow)
                if found is None:
                    raise
        if isinstance(found, Foreign):
            args, kwargs = self._with_path(found.path, args, kwargs)
            return self.real(*args, **kwargs)
        if self.audit:
            sys.audit(self.audit, *(args or (path,)))
        return answer(self.refuse, found)

    def _with_path(self, path: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (path, *args[1:]), kwargs
        return args, {**kwargs, self.parameter: path}


def _protect_parents(call: Change, path: Any, dir_fd: Any) -> None:
    """A real directory that holds a mount point is not empty, whatever the kernel thinks."""
    if call.refuse is refusals.rmdir and dir_fd is None and _state.files.leading(path):
        import errno
        import os

        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
