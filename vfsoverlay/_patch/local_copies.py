"""Local copies of what lies below a mount, for C code that opens paths by itself."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._patch.dispatch import STATE, answer, found_after_all, locate, text_of
from vfsoverlay._vfs import materialize
from vfsoverlay._vfs.location import Failed, Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfsoverlay._vfs.materialize import LocalPath

#: So many copies that were handed to other programs stay pinned, the latest ones: nobody tells when a program is done.
_HANDED_OUT: Final = 256

_handed_out: deque[LocalPath] = deque()


def place_of(path: Any, *, through_links: bool = True) -> Location | None:
    """Where *path* (text, bytes or PathLike) lies, if something of ours is there; None for all others.

    Args:
        path: Any argument; what is no path is nowhere.
        through_links: Whether a link on disk that leads into a mount counts, which costs two system calls elsewhere.
    """
    path = text_of(path)
    if not isinstance(path, (str, bytes)):
        return None
    place = None if _is_elsewhere(path) else locate(path)
    if place is None and through_links:
        place = found_after_all(path)
    return place if isinstance(place, Location) and place.node is not None else None


def is_missing(path: Any) -> bool:
    """Whether *path* leads into a mount, where nothing is."""
    path = text_of(path)
    if not isinstance(path, (str, bytes)) or _is_elsewhere(path):
        return False
    place = locate(path)
    return isinstance(place, Failed) or (isinstance(place, Location) and place.node is None)


def _is_elsewhere(path: str | bytes) -> bool:
    """Whether a look at *path* tells that it is foreign, unless a link on disk leads to us."""
    text = os.fsdecode(path)
    return STATE.needle not in text and (STATE.quiet or STATE.foreign_text(text))


def copy_of(path: Any) -> LocalPath | None:
    """A complete local copy of the file at *path*, pinned until it is released; None where no file of ours is.

    Raises:
        OSError: What fetching raised.
    """
    place = place_of(path)
    if place is None or not isinstance(place.node, FileNode) or place.slash:
        return None
    return copy_at(place)


def copy_at(place: Location) -> LocalPath:
    """As ``copy_of``, for a location that is a file."""
    copy: LocalPath = answer(materialize.local_path, STATE.files, place)
    return copy


def handed_out(copy: LocalPath) -> str:
    """*copy* as text for another program; it stays pinned until many others were handed out."""
    _handed_out.append(copy)
    while len(_handed_out) > _HANDED_OUT:
        _handed_out.popleft().release()
    return str(copy)


def spelled_like(text: str, path: Any) -> Any:
    """*text* as bytes where *path* is bytes."""
    return os.fsencode(text) if isinstance(text_of(path), bytes) else text


def with_spelling(call: Callable[..., Any], copy: LocalPath, path: Any, /, *args: Any) -> Any:
    """Run the real *call* with *args*; its errors name *path*, as the caller spelled it, in the place of *copy*."""
    try:
        return call(*args)
    except (OSError, ImportError) as error:
        spelled = os.fsdecode(text_of(path))
        error.args = tuple(arg.replace(copy, spelled) if isinstance(arg, str) else arg for arg in error.args)
        if isinstance(error, ImportError):
            error.msg = str(error.msg).replace(copy, spelled)
            error.path = spelled
        raise
