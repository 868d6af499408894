"""Progress of long work: a callable's business, or a bar once it takes longer than a second on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    #: None: a bar on a terminal or in a notebook; True, False: always, never; a callable is told (count, bytes).
    Wish = bool | Callable[[int, int], object] | None

_PATIENCE = 1.0
"""Seconds: most work is over before anybody wonders."""


class Progress:
    """Shows how many of *what* there are so far, and how many bytes; call it with both totals."""

    def __init__(self, title: str, what: str, wish: Wish = None) -> None:
        self._title = title
        self._what = what
        self._call = wish if callable(wish) else None
        self._shows = self._call is None and (_is_watched() if wish is None else bool(wish))
        self._begun = time.monotonic()
        self._bar: Any = None

    def __call__(self, count: int, size: int) -> None:
        if self._call is not None:
            self._call(count, size)
        elif self._shows and (self._bar is not None or time.monotonic() - self._begun > _PATIENCE):
            self._show(count, size)

    def _show(self, count: int, size: int) -> None:
        if self._bar is None:
            # Only now: importing it costs more than most of what it would show.
            from tqdm.auto import tqdm

            self._bar = tqdm(desc=self._title, unit="B", unit_scale=True, unit_divisor=1024)
        self._bar.set_postfix_str(f"{count:,} {self._what}", refresh=False)
        self._bar.update(size - self._bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _is_watched() -> bool:
    """Whether somebody sees standard error: a terminal, or the kernel of a notebook."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
