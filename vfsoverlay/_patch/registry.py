"""What was replaced where: installs the shim with the first mount and removes it, by identity, with the last."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch import slim
from vfsoverlay._patch.patched_names import PATCHED_NAMES
from vfsoverlay._patch.replacement import Replacement

if TYPE_CHECKING:
    from collections.abc import Iterator


class Registry:
    """The replaced names of this process."""

    def __init__(self) -> None:
        #: id of an original -> its replacement; the replacement keeps the original alive.
        self._replacements: dict[int, Replacement] = {}
        #: Keeps the ids of what has given way from being used again.
        self._watchers: list[Replacement] = []

    @property
    def installed(self) -> bool:
        """Whether the shim is in place."""
        return bool(self._replacements)

    def install(self) -> None:
        """Put a replacement into every place that holds an original: by name, then wherever it was copied to."""
        if self._replacements:
            return
        for row in PATCHED_NAMES:
            for module in map(importlib.import_module, row.modules):
                # By identity: os.stat and posix.stat are one object unless somebody wrapped one of them.
                original = getattr(module, row.name, None)
                if slim.is_slim(original) and id(original) not in self._replacements:
                    self._succeed(original, row)
                if original is None or is_ours(original):
                    continue
                replacement = self._replacements.get(id(original))
                if replacement is None:
                    replacement = row.replacement(original, f"{row.modules[0]}:{row.name}")
                    self._replacements[id(original)] = replacement
                setattr(module, row.name, replacement)
        for holder, name, value in _references():
            known = self._replacements.get(id(value))
            if known is not None:
                _put(holder, name, known)

    def _succeed(self, watcher: Any, row: PatchedName) -> None:
        """What only watched for mounts, in a child, becomes the real thing or gives way to it."""
        real = watcher.real
        replacement = slim.become(watcher, row.replacement(real, watcher.home))
        self._replacements[id(real)] = self._replacements[id(watcher)] = replacement
        self._watchers.append(watcher)

    def remove(self) -> None:
        """Give every name that still holds one of our objects its original back.

        A wrapper that somebody put over ours is left alone; what it calls is a plain pass-through
        from now on, because no path is ours any more.
        """
        ours = {id(replacement): replacement.real for replacement in self._replacements.values()}
        for holder, name, value in _references():
            if id(value) in ours:
                _put(holder, name, ours[id(value)])
        self._replacements, self._watchers = {}, []


def is_ours(value: Any) -> bool:
    """Whether *value* is one of our replacements (its ``__class__`` says it is a builtin)."""
    return issubclass(type(value), Replacement)


def _put(holder: Any, name: Any, value: Any) -> None:
    """Store *value* where ``_references`` found another; a static method keeps being one."""
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


def _references() -> Iterator[tuple[Any, Any, Any]]:
    """Every place in loaded modules that may hold a replaced function: globals, class attributes, defaults.

    Our own modules keep the originals: ``_real`` is how the floors below reach the disk.
    """
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "vfsoverlay":
            continue
        try:
            names = vars(module)
        except TypeError:
            # Something that is no module sits in sys.modules.
            continue
        for name, value in list(names.items()):
            kind = type(value)
            yield names, name, value
            if kind is type or (isinstance(value, type) and value.__module__ == module_name):
                yield from _class_references(value)
            elif kind is _FUNCTION:
                yield from _defaults(value)


_FUNCTION = type(lambda: None)


def _class_references(owner: type) -> Iterator[tuple[Any, Any, Any]]:
    for name, value in list(vars(owner).items()):
        kind = type(value)
        if kind is staticmethod:
            yield owner, name, value.__func__
        elif kind is _FUNCTION:
            yield from _defaults(value)
        elif name[:2] != "__":
            yield owner, name, value


def _defaults(function: Any) -> Iterator[tuple[Any, Any, Any]]:
    for position, value in enumerate(function.__defaults__ or ()):
        yield function, position, value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield function.__kwdefaults__, name, value
