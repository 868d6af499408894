"""What was replaced where: installs the shim with the first mount and removes it, by identity, with the last."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch import slim
from vfsoverlay._patch.patched_names import PATCHED_NAMES
from vfsoverlay._patch.quick import dispatched
from vfsoverlay._patch.replacement import Likeness

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vfsoverlay._patch.patched_names import PatchedName


class Registry:
    """The replaced names of this process."""

    def __init__(self) -> None:
        #: id of an original -> its replacement; the replacement keeps the original alive.
        self._replacements: dict[int, Likeness] = {}
        #: Keeps the ids of what has given way from being used again.
        self._watchers: list[Likeness] = []

    @property
    def installed(self) -> bool:
        """Whether the shim is in place."""
        return bool(self._replacements)

    def install(self) -> None:
        """Put a replacement into every place that holds an original: by name, then wherever it was copied to."""
        if self._replacements:
            return
        for row in PATCHED_NAMES:
            self._replace(row)
        for holder, name, value in list(_references(self._replacements)):
            _put(holder, name, self._replacements[id(value)])

    def _replace(self, row: PatchedName) -> None:
        for module in _modules(row):
            # By identity: os.stat and posix.stat are one object unless somebody wrapped one of them.
            original = getattr(module, row.name, None)
            if slim.is_slim(original) and id(original) not in self._replacements:
                self._succeed(original, row)
            if original is None or any(original is known for known in self._replacements.values()):
                continue
            while is_ours(original):
                # Somebody kept ours over an unmount and put it back: the original lies below.
                original = original.real
            replacement = self._replacements.get(id(original))
            if replacement is None:
                replacement = dispatched(row.replacement(original, f"{row.modules[0]}:{row.name}"))
                self._replacements[id(original)] = replacement
            setattr(module, row.name, replacement)

    def arrived(self, module: str) -> None:
        """A C module was just imported, and nobody has copied its names yet."""
        for row in PATCHED_NAMES:
            if row.late and module in row.modules and self.installed:
                self._replace(row)

    def _succeed(self, watcher: Any, row: PatchedName) -> None:
        """What only watched for mounts, in a child, becomes the real thing or gives way to it."""
        real = watcher.real
        replacement = slim.become(watcher, dispatched(row.replacement(real, watcher.home)))
        self._replacements[id(real)] = self._replacements[id(watcher)] = replacement
        self._watchers.append(watcher)

    def remove(self) -> None:
        """Give every name that still holds one of our objects its original back.

        A wrapper that somebody put over ours is left alone; what it calls is a plain pass-through
        from now on, because no path is ours any more.
        """
        if not self._replacements:
            return
        ours = {id(replacement): replacement.real for replacement in self._replacements.values()}
        for holder, name, value in list(_references(ours)):
            _put(holder, name, ours[id(value)])
        self._replacements, self._watchers = {}, []


def _modules(row: PatchedName) -> Iterable[Any]:
    """The modules of *row*; of a late one those that the program has imported."""
    if row.late:
        return [sys.modules[name] for name in row.modules if name in sys.modules]
    return map(importlib.import_module, row.modules)


def is_ours(value: Any) -> bool:
    """Whether *value* is one of our replacements (its ``__class__`` says it is a builtin)."""
    return issubclass(type(value), Likeness)


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


def _references(wanted: Mapping[int, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Every place in loaded modules that holds one of the *wanted* objects: globals, class attributes, defaults.

    Our own modules keep the originals: ``_real`` is how the floors below reach the disk.
    """
    # A class or function is in the globals of many modules.
    seen: set[int] = set()
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "vfsoverlay":
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
