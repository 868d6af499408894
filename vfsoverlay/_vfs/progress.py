"""Progress of long work: a callable's business, or a bar once it takes longer than a second and somebody watches."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    #: None: a bar on a terminal or in a notebook; True, False: always, never; a callable is told (count, bytes).
    Wish = bool | Callable[[int, int], object] | None

_LOGGER = logging.getLogger("vfsoverlay")

#: Seconds: most work is over before anybody wonders.
_PATIENCE: Final = 1.0

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Shows how many of *what* there are so far, and how many bytes; call it with both totals.

    Args:
        title: What is being done.
        what: What is counted, in the plural.
        wish: Whether and to whom it shows.
        patience: Seconds before anything is shown.
    """

    def __init__(self, title: str, what: str, wish: Wish = None, *, patience: float = _PATIENCE) -> None:
        self._title = title
        self._what = what
        self._call = wish if callable(wish) else None
        self._shows = self._call is None and (_is_watched() if wish is None else bool(wish))
        self._due = time.monotonic() + patience
        self._bar: Any = None

    def __call__(self, count: int, size: int) -> None:
        if self._call is not None:
            self._call(count, size)
        elif self._shows and (self._bar is not None or time.monotonic() >= self._due):
            if self._bar is None:
                self._bar = _make_bar(self._title)
            self._bar.set_postfix_str(f"{count:,} {self._what}", refresh=False)
            self._bar.update(size - self._bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _make_bar(title: str) -> Any:
    # Only now: importing it costs more than most of what it would show. In a notebook without
    # ipywidgets it says so by a warning, and draws a bar of text, which is all that is wanted.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

        return tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr)


def shown_size(size: int) -> str:
    """*size*, in bytes, rounded with a unit of 1024 bytes."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.1f} {_UNITS[power]}" if power else f"{size} B"


def _is_watched() -> bool:
    """Whether somebody sees what is shown, at a terminal or in a notebook, and has not silenced our warnings."""
    if not _LOGGER.isEnabledFor(logging.WARNING):
        return False
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def in_notebook() -> bool:
    """Whether this is the process of a notebook's kernel; its children have no cell to write to."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()
