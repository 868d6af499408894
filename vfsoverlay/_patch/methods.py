"""The replaced methods of Python classes: put into each class that is there, and taken out again."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from vfsoverlay._patch.patched_names import PATCHED_METHODS

if TYPE_CHECKING:
    from collections.abc import Callable


class _Placed(NamedTuple):
    owner: type
    name: str
    ours: Callable[..., Any]
    own: Callable[..., Any] | None
    """What the class itself had; None where it inherited the method."""


class Methods:
    """The replaced methods of this process."""

    def __init__(self) -> None:
        self._placed: list[_Placed] = []

    def install(self) -> None:
        """Replace in all classes that are there and not done yet; others wait for the next mount."""
        done = {(placed.owner, placed.name) for placed in self._placed}
        for row in PATCHED_METHODS:
            owner = getattr(sys.modules.get(row.module), row.owner, None)
            if owner is None or (owner, row.name) in done:
                continue
            original = getattr(owner, row.name)
            ours = functools.wraps(original)(row.replacement(original))
            self._placed.append(_Placed(owner, row.name, ours, vars(owner).get(row.name)))
            setattr(owner, row.name, ours)

    def remove(self) -> None:
        """Give every class its own method back, unless somebody has put another over ours."""
        for owner, name, ours, own in self._placed:
            if vars(owner).get(name) is not ours:
                continue
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
        self._placed = []
