"""Where loaded modules hold given objects under names of their own, and how to put others there.

Nothing here may import what a bare interpreter has not loaded: a child does this at its start.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


def references(wanted: Mapping[int, Any], but: frozenset[str] = frozenset()) -> Iterator[tuple[Any, Any, Any]]:
    """Every place in loaded modules that holds one of the *wanted* objects: globals, class attributes, defaults.

    Args:
        wanted: By the id of each object; the values do not matter.
        but: Modules that need not be looked at.

    Our own modules keep the originals: ``_real`` is how the floors below reach the disk.
    """
    # A class or function is in the globals of many modules.
    seen: set[int] = set()
    for module_name, module in list(sys.modules.items()):
        if module_name in but or module_name.partition(".")[0] == "vfsoverlay":
            continue
        try:
            names = vars(module)
        except TypeError:
            # Something that is no module sits in sys.modules.
            continue
        for name, value in list(names.items()):
            identity = id(value)
            if identity in wanted:
                yield names, name, value
            elif identity not in seen:
                kind = type(value)
                if kind is _FUNCTION:
                    seen.add(identity)
                    yield from _defaults(value, wanted)
                elif kind is type or issubclass(kind, type):
                    seen.add(identity)
                    yield from _class_references(value, wanted)


_FUNCTION = type(lambda: None)


def _class_references(owner: type, wanted: Mapping[int, Any]) -> Iterator[tuple[Any, Any, Any]]:
    # A static type of an extension that was never made ready has no members.
    members = type.__dict__["__dict__"].__get__(owner) or {}
    for name, value in list(members.items()):
        kind = type(value)
        if kind is _FUNCTION:
            if value.__defaults__ or value.__kwdefaults__:
                yield from _defaults(value, wanted)
        elif id(value) in wanted:
            yield owner, name, value
        elif kind is staticmethod and id(value.__func__) in wanted:
            yield owner, name, value.__func__


def _defaults(function: Any, wanted: Mapping[int, Any]) -> Iterator[tuple[Any, Any, Any]]:
    for position, value in enumerate(function.__defaults__ or ()):
        if id(value) in wanted:
            yield function, position, value
    for name, value in (function.__kwdefaults__ or {}).items():
        if id(value) in wanted:
            yield function.__kwdefaults__, name, value


def put(holder: Any, name: Any, value: Any) -> None:
    """Store *value* where ``references`` found another; a static method keeps being one."""
    if isinstance(holder, dict):
        holder[name] = value
    elif isinstance(name, int):
        defaults = list(holder.__defaults__)
        defaults[name] = value
        holder.__defaults__ = tuple(defaults)
    else:
        if isinstance(vars(holder)[name], staticmethod):
            value = staticmethod(value)
        setattr(holder, name, value)
