"""Ours or foreign: the quick test that every replaced call makes first, and the way to an answer."""

from __future__ import annotations

import errno
import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from vfsoverlay import _real
from vfsoverlay._patch import quick
from vfsoverlay._vfs.file_system import FileSystem
from vfsoverlay._vfs.location import Failed, Foreign, Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vfsoverlay._vfs.mount_table import MountTable

    Place = Location | Foreign | Failed


class _Inside(threading.local):
    """Whether this thread is already within one of our answers, or was told to step aside."""

    active: bool = False


class State:
    """What the quick test needs, and the file system behind it; one a process."""

    __slots__ = ("_watchers", "edges", "files", "inside", "needle", "others", "quiet", "shadowed")

    def __init__(self) -> None:
        self.files = FileSystem()
        self.inside = _Inside()
        #: A component of the mount point: a path that leads there without links contains it.
        self.needle = "\0"
        #: The components of further mount points.
        self.others: tuple[str, ...] = ()
        #: The needle alone decides: it is common to all mounts, the working directory is real, nothing is shadowed.
        self.quiet = True
        #: How a spelling of a mount point or of a directory above it may end.
        self.edges: tuple[str, ...] = ()
        #: See ``FileSystem``.
        self.shadowed: frozenset[tuple[int, int]] = frozenset()
        #: Module globals that hold the quick test as ``_needle``.
        self._watchers: list[dict[str, Any]] = []

    def watch(self, namespace: dict[str, Any]) -> None:
        """Keep ``_needle`` in *namespace*, a module's globals: what no foreign path contains.

        It is empty, and so in every path, where a needle does not decide alone. A global costs a
        call less than an attribute does, and with it the quick test is one comparison.
        """
        self._watchers.append(namespace)
        namespace["_needle"] = self.needle

    def update(self) -> None:
        """Work out the quick test again, after the mounts or the working directory changed."""
        files = self.files
        needles = _needles(files.table)
        self.needle, self.others = (needles[0], needles[1:]) if needles else ("\0", ())
        self.shadowed = files.shadowed
        self.quiet = not self.others and not self.shadowed and files.cwd is None
        self.edges = ("/", ".", *sorted(files.table.names)) if files.table.names else ()
        files.forget_located()
        needle = self.needle if self.quiet else ""
        for namespace in self._watchers:
            namespace["_needle"] = needle
        quick.look_for(needle, self.edges, tuple(files.table.names), files.descriptors.entries)

    def is_foreign(self, path: str) -> bool:
        """Whether *path* is foreign all the same, where ``_needle`` is empty."""
        return self.needle not in path and self.foreign_name(path)

    def foreign_name(self, path: str) -> bool:
        """The test where the needle, which *path* does not contain, does not decide alone."""
        return (self.files.cwd is None or path[:1] == "/") and not any(needle in path for needle in self.others)

    def foreign_text(self, path: str) -> bool:
        """As ``foreign_name``, for calls whose result does not show that a link led to something shadowed."""
        if not self.foreign_name(path):
            return False
        if self.shadowed:
            try:
                status = _real.stat(path)
            except (OSError, ValueError):
                return False
            return (status.st_dev, status.st_ino) not in self.shadowed
        return True

    def foreign_directory(self, path: str) -> bool:
        """Whether *path*, which ends as a directory above a mount point may end, is another one all the same."""
        name = path.rstrip("/").rpartition("/")[2]
        return name not in ("", ".", "..") and not name.endswith(self.edges[2:])


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

#: Thread-local: set while one of our answers is being worked out.
INSIDE: Final = STATE.inside


def text_of(path: Any) -> Any:
    """*path* after ``__fspath__``, once; itself where it has none or answers nonsense (the real call complains)."""
    try:
        return os.fspath(path)
    except TypeError as error:
        # Not kept in a variable: the trace has this frame, which would have the trace, and with it the caller's path.
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            # The path's own method raised it.
            raise
        return path


def _taken_buffers() -> tuple[type[Any], ...]:
    """The buffers that this interpreter takes as paths, with a warning, as all did before CPython 3.13."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _real.stat(bytearray(b"/"))  # type: ignore[arg-type]
        except TypeError:
            return ()
    return bytearray, memoryview


TAKEN_BUFFERS: Final = _taken_buffers()


def locate(
    path: Any, dir_fd: Any = None, *, follow: bool = True, entry: bool = False, creates: bool = False
) -> Place | None:
    """What *path* is: a ``Location``, a ``Foreign`` to be spelled otherwise, ``Failed``, or None for any other."""
    if isinstance(path, TAKEN_BUFFERS):
        place = locate(bytes(path), dir_fd, follow=follow, entry=entry, creates=creates)
        if type(place) in (Location, Failed):
            _warn_of_buffer(path)
        return _spelled(place, path)
    if INSIDE.active or not isinstance(path, (str, bytes, int)) or not (dir_fd is None or isinstance(dir_fd, int)):
        return None
    table = STATE.files.table
    try:
        place = answer(STATE.files.resolve, path, dir_fd=dir_fd, follow=follow, entry=entry, creates=creates)
    except OSError as error:
        if error.errno == errno.ENODEV and STATE.files.table is not table:
            # The mount ended while we looked: now the path is whatever it is without.
            return locate(path, dir_fd, follow=follow, entry=entry, creates=creates)
        return _failed(error, path)
    return None if type(place) is Foreign and place.path is None else place


def found_after_all(path: Any, dir_fd: Any = None, *, follow: bool = True, entry: bool = False) -> Place | None:
    """Ours after all, where the kernel found nothing under *path*: through a link, or a parent of a mount point."""
    if path.__class__ is str and dir_fd is None and STATE.files.plainly_missing(path):
        return None
    if isinstance(path, TAKEN_BUFFERS):
        # The real call, which came before, has warned of it.
        return _spelled(found_after_all(bytes(path), dir_fd, follow=follow, entry=entry), path)
    if INSIDE.active or not isinstance(path, (str, bytes)) or not (dir_fd is None or isinstance(dir_fd, int)):
        return None
    try:
        place: Place | None = answer(STATE.files.retry, path, dir_fd=dir_fd, follow=follow, entry=entry)
    except OSError as error:
        return _failed(error, path)
    return place


def _spelled(place: Place | None, path: Any) -> Place | None:
    """*place*, whose errors will name *path*."""
    if type(place) is Failed:
        place.error.filename = path
    return place._replace(spelled=path) if type(place) is Location else place


def _warn_of_buffer(path: Any) -> None:
    """What the real call says to our caller about a path of this type."""
    import warnings

    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HOME):
        frame, level = frame.f_back, level + 1
    message = f"path should be string, bytes, os.PathLike or integer, not {type(path).__name__}"
    warnings.warn(message, DeprecationWarning, stacklevel=level)


def _failed(error: OSError, path: Any) -> Failed:
    """*error* of a look-up, which names the path as the caller spelled it."""
    if error.filename is None:
        error.filename = path
    return Failed(error)


def answer(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run *call*, one of our operations; calls it makes itself (TLS, credentials, SQLite) are foreign."""
    INSIDE.active = True
    try:
        return call(*args, **kwargs)
    finally:
        INSIDE.active = False


def aside(call: Callable[[], Any]) -> Any:
    """As ``answer``, from wherever it is called: also by a thread of ours, and within an answer."""
    before, INSIDE.active = INSIDE.active, True
    try:
        return call()
    finally:
        INSIDE.active = before


def reach(
    call: Callable[[Any], Any],
    path: Any,
    operation: Callable[[Location], Any],
    event: tuple[Any, ...] = (),
    *,
    dir_fd: Any = None,
    follow: bool = True,
    creates: bool = False,
    takes_fd: bool = True,
    place: Place | None = None,
) -> Any:
    """Answer by *operation* if *path* is ours, else by the real *call*.

    Args:
        call: The real call, with everything but the path filled in.
        path: After ``text_of``.
        operation: Our answer.
        event: The audit event that the real call raises, with its arguments; empty for none.
        dir_fd: The directory descriptor of the call.
        follow: Whether the call follows a symbolic link at the end.
        takes_fd: Whether the call takes a descriptor in place of a path.
        creates: Whether the call may create what it does not find.
        place: What *path* is, where the quick test's real call failed and found it already.
    """
    if isinstance(path, int) and not takes_fd:
        return call(path)
    audited = place is not None
    found = locate(path, dir_fd, follow=follow, creates=creates) if place is None else place
    if found is None:
        try:
            return call(path)
        except FileNotFoundError:
            found = found_after_all(path, dir_fd, follow=follow)
            if found is None:
                raise
        audited = True
    if type(found) is Foreign:
        return respelled(call, found, path)
    if event and not audited:
        # The real call raises it before it looks at the disk; where it ran already, it has.
        sys.audit(*event)
    if type(found) is Failed:
        raise found.error
    return answer(operation, found)


def respelled(call: Callable[[Any], Any], place: Foreign, spelled: Any) -> Any:
    """Run the real *call* with a spelling the kernel understands; errors carry the caller's own."""
    try:
        path = place.path or ""  # locate() gives None where the caller's spelling will do
        return call(path if isinstance(spelled, str) else os.fsencode(path))
    except OSError as error:
        if error.filename is not None:
            error.filename = spelled
        raise


def trimmed(error: BaseException) -> BaseException:
    """*error* as if our inner frames had never been: its traceback keeps those of foreign code below us."""
    foreign = []
    trace = error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_HOME):
            foreign.append(trace)
        trace = trace.tb_next
    below = None
    for trace in reversed(foreign):
        below = TracebackType(below, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
    return error.with_traceback(below)


#: Where our own code lies.
_HOME: Final = __file__.rpartition("/")[0].rpartition("/")[0] + "/"
