"""The calls of ``os`` that list directories: ``listdir`` and ``scandir``."""

from __future__ import annotations

import os
from typing import Any

from vfsoverlay._patch.dispatch import STATE, found_after_all, reach, text_of, trimmed
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs import operations
from vfsoverlay._vfs.location import Location
from vfsoverlay._vfs.scandir import EntryIterator, Respelled

_state = STATE
_needle = "\0"
STATE.watch(globals())


class Listdir(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = None) -> Any:
        place = None
        if path.__class__ is not str:
            path = text_of(path)
        if (
            path.__class__ is str
            and (_needle not in path or (_state.is_foreign(path) and _state.foreign_text(path)))
            and (not path.endswith(_state.edges) or _state.foreign_directory(path))
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        try:
            text = path

            def ours(place: Location) -> Any:
                found = operations.names(place, _state.files.table)
                return list(map(os.fsencode, found)) if isinstance(text, (bytes, bytearray)) else found

            return reach(self._foreign, "." if text is None else text, ours, ("os.listdir", text), place=place)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

    def _foreign(self, path: Any) -> Any:
        """A real directory, and the names in it that lead to mount points but are not on disk."""
        found = self.real(path)
        leading = _state.files.leading(path)
        if not leading:
            return found
        known = set(map(os.fsdecode, found))
        extra = sorted(leading - known)
        return found + (list(map(os.fsencode, extra)) if isinstance(path, (bytes, bytearray)) else extra)


class Scandir(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = None) -> Any:
        place = None
        if path.__class__ is not str:
            path = text_of(path)
        if (
            path.__class__ is str
            and (_needle not in path or (_state.is_foreign(path) and _state.foreign_text(path)))
            and (not path.endswith(_state.edges) or _state.foreign_directory(path))
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        try:
            text = path

            def ours(place: Location) -> Any:
                return EntryIterator(operations.scan(place, _state.files.table, "." if text is None else text))

            spelled = "." if text is None else text
            return reach(lambda path: self._foreign(path, spelled), spelled, ours, ("os.scandir", text), place=place)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def _foreign(self, path: Any, spelled: Any) -> Any:
        source = self.real(path)
        leading = _state.files.leading(path)
        if leading:
            return EntryIterator(_with_leading(source, path, spelled, leading), source)
        if path == spelled:
            return source
        return EntryIterator((Respelled(entry, spelled) for entry in source), source)


def _with_leading(source: Any, path: Any, spelled: Any, leading: frozenset[str]) -> Any:
    """What the kernel's iterator gives, then the entries of *leading* that are not on disk."""
    table = _state.files.table
    directory = _state.files.real_directory(path)
    missing = set(leading)
    for entry in source:
        name = os.fsdecode(entry.name)
        missing.discard(name)
        # A mount point on disk is shadowed: its attributes are the mount's.
        is_root = table.at(f"{directory.rstrip('/')}/{name}") is not None
        if is_root:
            yield from operations.leading_entries(table, directory, [name], spelled)
        else:
            yield entry if path == spelled else Respelled(entry, spelled)
    yield from operations.leading_entries(table, directory, missing, spelled)
