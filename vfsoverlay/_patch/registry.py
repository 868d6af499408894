"""What was replaced where: installs the shim with the first mount and removes it, by identity, with the last."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch import slim
from vfsoverlay._patch.patched_names import PATCHED_NAMES
from vfsoverlay._patch.quick import dispatched
from vfsoverlay._patch.references import put, references
from vfsoverlay._patch.replacement import Likeness

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        for holder, name, value in list(references(self._replacements)):
            put(holder, name, self._replacements[id(value)])

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
        for holder, name, value in list(references(ours)):
            put(holder, name, ours[id(value)])
        self._replacements, self._watchers = {}, []


def _modules(row: PatchedName) -> Iterable[Any]:
    """The modules of *row*; of a late one those that the program has imported."""
    if row.late:
        return [sys.modules[name] for name in row.modules if name in sys.modules]
    return map(importlib.import_module, row.modules)


def is_ours(value: Any) -> bool:
    """Whether *value* is one of our replacements (its ``__class__`` says it is a builtin)."""
    return issubclass(type(value), Likeness)
