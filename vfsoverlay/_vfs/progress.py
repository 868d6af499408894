"""Progress of long work: a callable's business, or one line that changes once the work takes longer than a second."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    #: None: a line on a terminal or in a notebook; True, False: always, never; a callable is told (count, bytes).
    Wish = bool | Callable[[int, int], object] | None

#: Seconds: most work is over before anybody wonders.
_PATIENCE: Final = 1.0
#: Seconds between two changes: more cannot be read; in a log each change is a line that stays.
_INTERVAL: Final = 0.2
_INTERVAL_OF_LOGS: Final = 10.0
#: Columns: a line that the terminal breaks can be overwritten no more.
_WIDTH: Final = 79

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
        self._line: _Line | _Cell | None = None
        self._text = ""

    def __call__(self, count: int, size: int) -> None:
        if self._call is not None:
            self._call(count, size)
        elif self._shows:
            self._text = f"{count:,} {self._what}, {shown_size(size)}: {self._title}"
            now = time.monotonic()
            if now >= self._due:
                self._line = self._line or (_Cell() if _in_notebook() else _Line())
                self._line.show(self._text)
                self._due = now + self._line.interval

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._line.show(self._text)
            self._line.close()


class _Line:
    """The last line of standard error, written over; where that is no terminal, a line now and then."""

    def __init__(self) -> None:
        self._changes = sys.stderr.isatty()
        self.interval = _INTERVAL if self._changes else _INTERVAL_OF_LOGS

    def show(self, text: str) -> None:
        sys.stderr.write(f"\r{text[:_WIDTH]:{_WIDTH}}" if self._changes else f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        if self._changes:
            sys.stderr.write("\n")


class _Cell:
    """A line in the output of a notebook's cell."""

    interval = _INTERVAL

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        data = {"text/plain": text}
        if self._handle is None:
            from IPython.display import display  # it is there: this runs in its kernel

            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        """The line stays, as output does."""


def shown_size(size: int) -> str:
    """*size*, in bytes, rounded with a unit of 1024 bytes."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.1f} {_UNITS[power]}" if power else f"{size} B"


def _is_watched() -> bool:
    """Whether somebody sees what is shown: at a terminal, or in a notebook."""
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    """Whether this is the process of a notebook's kernel; its children have no cell to write to."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()
