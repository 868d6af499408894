"""A replaced call whose first argument is a path, and what it does where the kernel did not find that."""

from __future__ import annotations

from typing import Any

from vfsoverlay._patch import quick
from vfsoverlay._patch.dispatch import found_after_all, trimmed
from vfsoverlay._patch.replacement import Replacement


def plainly_named(call: Any) -> Any:
    """*call*, a function within a method, under its own name alone: the interpreter's TypeErrors begin with that."""
    call.__qualname__ = call.__name__
    return call


class OnPath(Replacement):
    __slots__ = ()

    #: How the dispatcher in C may tell that a call is foreign; of a name with such a dispatcher, it makes the
    #: real call first, and comes here for all the rest.
    rule = quick.PATH

    def seek(self, path: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - as the call
        """What *path* of this call is, which the kernel did not find; None if it is not ours either."""
        return found_after_all(path, follow=bool(kwargs.get("follow_symlinks", True)))

    def answer(self, place: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        """The answer where no quick test decides; *place* is what the path is, if the kernel did not find it."""
        raise NotImplementedError

    def after_all(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """The answer where the real call was made and found nothing; NotImplemented: *path* is not ours either."""
        place = self.seek(path, *args, **kwargs)
        if place is None:
            return NotImplemented
        try:
            return self.answer(place, path, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames
