"""The calls of ``os`` on descriptors: what they are, and copies of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfsoverlay._patch import quick
from vfsoverlay._patch.dispatch import STATE, answer, trimmed
from vfsoverlay._patch.replacement import Replacement, told_as
from vfsoverlay._vfs import operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfsoverlay._vfs.location import Location

_state = STATE


class Fstat(Replacement):
    __slots__ = ()
    rule = quick.DESCRIPTOR

    @told_as("fstat")
    def __call__(self, fd: Any) -> Any:
        descriptors = _state.files.descriptors
        place = descriptors.get(fd) if fd in descriptors else None
        return self.real(fd) if place is None else answer(operations.status, place)


class OfDescriptor(Replacement):
    # One descriptor, the first argument; *operation* answers for ours.
    __slots__ = ("operation",)
    rule = quick.DESCRIPTOR

    def __init__(self, real: Any, home: str, *, operation: Callable[[Location], Any]) -> None:
        super().__init__(real, home)
        self.operation = operation

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fd = args[0] if args else kwargs.get("fd")
        place = _state.files.descriptors.get(fd) if fd.__class__ is int else None
        if place is None:
            return self.real(*args, **kwargs)
        try:
            return answer(self.operation, place, *args[1:])
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames


class Dup(Replacement):
    __slots__ = ()

    @told_as("dup")
    def __call__(self, fd: Any, /) -> Any:
        new = self.real(fd)
        if _state.files.descriptors:
            _state.files.descriptors.copy(fd, new)
        return new


class Dup2(Replacement):
    __slots__ = ()

    @told_as("dup2")
    def __call__(self, fd: Any, fd2: Any, inheritable: Any = True) -> Any:
        new = self.real(fd, fd2, inheritable)
        if _state.files.descriptors:
            _state.files.descriptors.copy(fd, new)
        return new
