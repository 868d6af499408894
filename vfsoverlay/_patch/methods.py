"""The replaced methods of Python classes: put into each class that is there, and taken out again."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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

    def arrived(self, module: str) -> None:
        """The C module *module* was just imported, for a Python module whose classes are still to be defined."""
        for row in PATCHED_METHODS:
            waiting = sys.modules.get(row.module)
            if row.comes_with == module and type(waiting) is ModuleType:
                _AWAITED[row.module] = row.owner, self.install
                waiting.__class__ = _Awaited

    def remove(self) -> None:
        """Give every class its own method back, unless somebody has put another over ours."""
        for name in list(_AWAITED):
            _arrive(sys.modules.get(name), name)
        for owner, name, ours, own in self._placed:
            if vars(owner).get(name) is not ours:
                continue
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
        self._placed = []


#: Modules that are being imported: the class that is waited for, and what is to be done then.
_AWAITED: Final[dict[str, tuple[str, Callable[[], None]]]] = {}


class _Awaited(ModuleType):
    """The class of a module from the middle of its import until somebody first asks it for anything.

    Nothing of ours runs when a Python module is complete. But who wants something of it must ask.
    """

    def __getattribute__(self, name: str) -> Any:
        names = ModuleType.__getattribute__(self, "__dict__")
        own = names["__name__"]
        if own not in _AWAITED or _AWAITED[own][0] in names:
            install = _arrive(self, own)
            if install is not None:
                install()
        return ModuleType.__getattribute__(self, name)


def _arrive(module: Any, name: str) -> Callable[[], None] | None:
    """Make *module* an ordinary one again; what is to be done, to the one thread that came first."""
    if type(module) is _Awaited:
        ModuleType.__setattr__(module, "__class__", ModuleType)
    return _AWAITED.pop(name, (None, None))[1]
