"""Ours or foreign: the quick test that every replaced call makes first, and the way to an answer."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from vfsoverlay import _real
from vfsoverlay._vfs.file_system import FileSystem
from vfsoverlay._vfs.location import Foreign, Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vfsoverlay._vfs.mount_table import MountTable


class _Inside(threading.local):
    """Whether this thread is already within one of our answers, or was told to step aside."""

    active: bool = False


class State:
    """What the quick test needs, and the file system behind it; one a process."""

    __slots__ = ("files", "inside", "needle", "others", "quiet", "tails")

    def __init__(self) -> None:
        self.files = FileSystem()
        self.inside = _Inside()
        #: A component of the mount point: a path that leads there without links contains it.
        self.needle = "\0"
        #: The components of further mount points.
        self.others: tuple[str, ...] = ()
        #: The needle alone decides: one component is common to all mounts, and the working directory is real.
        self.quiet = True
        #: How a spelling of a directory above a mount point may end.
        self.tails: tuple[str, ...] = ()

    def update(self) -> None:
        """Work out the quick test again, after the mounts or the working directory changed."""
        table = self.files.table
        needles = _needles(table)
        self.needle, self.others = (needles[0], needles[1:]) if needles else ("\0", ())
        self.quiet = not self.others and self.files.cwd is None
        names = {path.rpartition("/")[2] for path in table.ancestors}
        self.tails = ("/", ".", *sorted(names - {""})) if table.ancestors else ()

    def foreign_text(self, path: str) -> bool:
        """The test for several needles; *path* does not contain the first one."""
        return self.files.cwd is None and not any(needle in path for needle in self.others)


def _needles(table: MountTable) -> tuple[str, ...]:
    """Components to look for, so that each root holds one of them; the fewest and the rarest."""
    choices = [_rare_components(point.roots) for point in table.points]
    if not choices:
        return ()
    common = set(choices[0]).intersection(*choices[1:])
    if common:
        return (next(name for name in choices[0] if name in common),)
    return tuple(dict.fromkeys(names[0] for names in choices))


def _rare_components(roots: Iterable[str]) -> list[str]:
    """The components that all *roots* share, the rarest first.

    Components of directories that are on disk come last: foreign paths go through them as well. A
    long name is rarer than a short one.
    """
    first, *rest = (root.split("/")[1:] for root in roots)
    shared = [name for name in first if all(name in other for other in rest)]

    def rank(name: str) -> tuple[bool, int]:
        return _real.exists("/" + "/".join(first[: first.index(name) + 1])), -len(name)

    return sorted(shared, key=rank)


STATE: Final = State()

_INSIDE: Final = STATE.inside


def text_of(path: Any) -> Any:
    """*path* after ``__fspath__``, once; itself where it has none or answers nonsense (the real call complains)."""
    convert = getattr(type(path), "__fspath__", None)
    if convert is None or isinstance(path, (str, bytes)):
        return path
    text = convert(path)
    return text if isinstance(text, (str, bytes)) else path


def locate(path: Any, dir_fd: Any = None, *, follow: bool = True) -> Location | Foreign | None:
    """What *path* is: a ``Location``, a ``Foreign`` to be reached by another spelling, or None for any other."""
    if _INSIDE.active:
        return None
    if isinstance(path, bytearray):
        path = bytes(path)
    if not isinstance(path, (str, bytes, int)) or not (dir_fd is None or isinstance(dir_fd, int)):
        return None
    place = STATE.files.resolve(path, dir_fd=dir_fd, follow=follow)
    return None if type(place) is Foreign and place.path is None else place


def found_after_all(path: Any, dir_fd: Any = None, *, follow: bool = True) -> Location | None:
    """Ours after all, where the kernel found nothing under *path*: through a link, or a parent of a mount point."""
    if _INSIDE.active or not isinstance(path, (str, bytes)) or not (dir_fd is None or isinstance(dir_fd, int)):
        return None
    return STATE.files.retry(path, dir_fd=dir_fd, follow=follow)


def answer(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run *call*, one of our operations; calls it makes itself (TLS, credentials, SQLite) are foreign."""
    _INSIDE.active = True
    try:
        return call(*args, **kwargs)
    finally:
        _INSIDE.active = False


def reach(
    call: Callable[[Any], Any],
    path: Any,
    operation: Callable[[Location], Any],
    *,
    dir_fd: Any = None,
    follow: bool = True,
    place: Location | None = None,
) -> Any:
    """Answer by *operation* if *path* is ours, else by the real *call*.

    Args:
        call: The real call, with everything but the path filled in.
        path: As the caller gave it.
        operation: Our answer.
        dir_fd: The directory descriptor of the call.
        follow: Whether the call follows a symbolic link at the end.
        place: What *path* is, where the quick test's real call failed and found it already.
    """
    text = text_of(path)
    found: Location | Foreign | None = place
    if found is None:
        found = locate(text, dir_fd, follow=follow)
    if found is None:
        try:
            return call(text)
        except FileNotFoundError:
            found = found_after_all(text, dir_fd, follow=follow)
            if found is None:
                raise
    if type(found) is Foreign:
        return _respelled(call, found, text)
    return answer(operation, found)


def _respelled(call: Callable[[Any], Any], place: Foreign, spelled: Any) -> Any:
    """Run the real *call* with a spelling the kernel understands; errors carry the caller's own."""
    assert place.path is not None  # locate() gives None where the caller's spelling will do
    try:
        return call(place.path if isinstance(spelled, str) else os.fsencode(place.path))
    except OSError as error:
        if error.filename is not None:
            error.filename = spelled
        raise
