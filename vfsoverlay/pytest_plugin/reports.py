"""Reports that never meet a mount: the thread that writes them steps aside, and source in a mount is read before."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from vfsoverlay._api import mounts
from vfsoverlay._patch.dispatch import INSIDE

if TYPE_CHECKING:
    from types import TracebackType

    import pluggy

_CHAIN_LIMIT = 100

#: Ends the fixtures that are left, which may use the mounts.
_TEARS_DOWN: Final = "_pytest.runner"


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


@contextmanager
def plugins_stepping_aside(hooks: Iterable[pluggy.HookImpl]) -> Iterator[None]:
    """Let each of *hooks* that belongs to a plugin step aside while it runs.

    Not those of a ``conftest.py``, which are part of the tests, nor the one that ends fixtures, nor ours.
    """
    changed = [(hook, hook.function) for hook in hooks if _belongs_to_plugin(hook)]
    for hook, function in changed:
        hook.function = _aside(function)  # type: ignore[misc, unused-ignore]  # pluggy has no other way
    try:
        yield
    finally:
        for hook, function in changed:
            hook.function = function  # type: ignore[misc, unused-ignore]


def _belongs_to_plugin(hook: pluggy.HookImpl) -> bool:
    plugin: Any = hook.plugin
    if isinstance(plugin, ModuleType):
        name, file = plugin.__name__, plugin.__file__ or ""
    else:
        name, file = type(plugin).__module__, ""
    is_wrapper = hook.hookwrapper or getattr(hook, "wrapper", False)  # around the others: it cannot step aside alone
    kept = name == _TEARS_DOWN or name.startswith("vfsoverlay.") or os.path.basename(file) == "conftest.py"
    return not (is_wrapper or kept)


def _aside(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        with stepping_aside():
            return function(*args)

    return call


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
