"""Long calls that make the event loop of their thread stand still are reported at the line that made them."""

from __future__ import annotations

import sys
import time
import warnings
from types import FrameType
from typing import Any, Final

from vfsoverlay._vfs.progress import in_notebook

#: How many times what asyncio itself calls a slow callback (``loop.slow_callback_duration``, 0.1 s) is worth a word.
_PATIENCE: Final = 10


class Blocking:
    """The time of a call of ours that may take long; warns behind it if that was the time of an event loop.

    In a notebook every cell runs inside the kernel's own loop, and that it waits is what is meant.

    Args:
        call: The call as ``asyncio.to_thread`` would take it.
    """

    def __init__(self, call: str) -> None:
        self._call = call
        self._loop: Any = None
        self._begun = 0.0

    def __enter__(self) -> None:
        self._loop = _running_loop()
        self._begun = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._loop is None or kind is not None:
            return
        seconds = time.monotonic() - self._begun
        caller = sys._getframe(1).f_back
        if caller is not None and seconds > _PATIENCE * self._loop.slow_callback_duration:
            _warn(self._call, seconds, caller)


def _running_loop() -> Any:
    """The event loop that runs in this thread; None: there is none, or it is the one of a notebook."""
    asyncio = sys.modules.get("asyncio")  # where it is not imported, no loop runs
    if asyncio is None or in_notebook():
        return None
    try:
        return asyncio.get_running_loop()
    except (RuntimeError, AttributeError):  # none runs; or asyncio is being imported just now
        return None


def _warn(call: str, seconds: float, caller: FrameType) -> None:
    message = (
        f"{call}() took {seconds:.1f} s, and the event loop of this thread stood still meanwhile; "
        f"in a coroutine, write: await asyncio.to_thread({call}, ...)"
    )
    # The caller's own line, however many frames of ours lie between.
    warnings.warn_explicit(
        message,
        RuntimeWarning,
        caller.f_code.co_filename,
        caller.f_lineno,
        module=caller.f_globals.get("__name__"),
        registry=caller.f_globals.setdefault("__warningregistry__", {}),
    )
