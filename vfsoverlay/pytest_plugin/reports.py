"""Reports that never meet a mount: the thread that writes them steps aside, and source in a mount is read before."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vfsoverlay._api import mounts
from vfsoverlay._patch.dispatch import INSIDE

if TYPE_CHECKING:
    from types import TracebackType

_CHAIN_LIMIT = 100


@contextmanager
def stepping_aside(error: BaseException | None = None) -> Iterator[None]:
    """Send the file calls of this thread to the real file system; those of other threads go on as they were.

    Source lines below a mount, which the traceback of *error* will show, are taken before.
    """
    lines = _remember_source(error)
    before = INSIDE.active
    INSIDE.active = True
    try:
        yield
    finally:
        INSIDE.active = before
        for filename in lines:
            linecache.cache.pop(filename, None)


def _remember_source(error: BaseException | None) -> list[str]:
    """Put the source of the frames of *error* that lie below a mount into linecache, as not to be checked again."""
    if error is None:
        return []
    roots = tuple(f"{point.root_dir}/" for point in mounts())
    remembered = []
    for filename in {name for name in _filenames(error) if name.startswith(roots)} if roots else ():
        lines = linecache.getlines(filename)
        if lines:
            # No time of modification: linecache then does not look at the file any more.
            linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
            remembered.append(filename)
    return remembered


def _filenames(error: BaseException) -> Iterator[str]:
    """The files of the frames of *error* and of what caused it."""
    current: BaseException | None = error
    for _ in range(_CHAIN_LIMIT):  # a chain may lead back to itself
        if current is None:
            return
        trace: TracebackType | None = current.__traceback__
        while trace is not None:
            yield trace.tb_frame.f_code.co_filename
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
