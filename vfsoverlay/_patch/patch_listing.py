"""The calls of ``os`` that list directories: ``listdir`` and ``scandir``."""

from __future__ import annotations

import os
import sys
from typing import Any

from vfsoverlay._patch import quick
from vfsoverlay._patch.dispatch import INSIDE, STATE, answer, found_after_all, reach, text_of, trimmed
from vfsoverlay._patch.on_path import OnPath, plainly_named
from vfsoverlay._patch.replacement import told_as
from vfsoverlay._vfs import operations
from vfsoverlay._vfs.location import Location
from vfsoverlay._vfs.scandir import EntryIterator, Respelled

_state = STATE
_needle = "\0"
STATE.watch(globals())


def known_directory(place: Any, path: Any) -> Location | None:
    """What *path* is, by the short way; None: the long one decides."""
    if place is None and path.__class__ is str and not INSIDE.active:
        return _state.files.located(path)
    return None


class Listdir(OnPath):
    __slots__ = ("__call__",)
    __call__: Any
    rule = quick.PATH | quick.EDGES

    def __init__(self, real: Any, home: str) -> None:
        super().__init__(real, home)
        ours = self.answer

        def listdir(path: Any = None) -> Any:
            place = None
            if path.__class__ is not str:
                path = text_of(path)
            if (
                path.__class__ is str
                and (_needle not in path or (not _needle and _state.is_foreign(path) and _state.foreign_text(path)))
                and (not path.endswith(_state.edges) or _state.foreign_directory(path))
            ):
                try:
                    return real(path)
                except FileNotFoundError:
                    place = found_after_all(path)
                    if place is None:
                        raise
            try:
                return ours(place, path)
            except BaseException as error:  # noqa: BLE001 - raised again below
                raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

        self.__call__ = plainly_named(listdir)

    def answer(self, place: Any, path: Any = None) -> Any:
        def ours(place: Location) -> Any:
            found = operations.names(place, _state.files.table)
            return list(map(os.fsencode, found)) if isinstance(path, (bytes, bytearray)) else found

        known = known_directory(place, path)
        if known is not None:
            sys.audit("os.listdir", path)
            return answer(ours, known)
        return reach(self._foreign, "." if path is None else path, ours, ("os.listdir", path), place=place)

    def _foreign(self, path: Any) -> Any:
        """A real directory, and the names in it that lead to mount points but are not on disk."""
        found = self.real(path)
        leading = _state.files.leading(path)
        if not leading:
            return found
        known = set(map(os.fsdecode, found))
        extra = sorted(leading - known)
        return found + (list(map(os.fsencode, extra)) if isinstance(path, (bytes, bytearray)) else extra)


class Scandir(OnPath):
    __slots__ = ()
    rule = quick.PATH | quick.EDGES

    @told_as("scandir")
    def __call__(self, path: Any = None) -> Any:
        place = None
        if path.__class__ is not str:
            path = text_of(path)
        if (
            path.__class__ is str
            and (_needle not in path or (not _needle and _state.is_foreign(path) and _state.foreign_text(path)))
            and (not path.endswith(_state.edges) or _state.foreign_directory(path))
        ):
            try:
                return self.real(path)
            except FileNotFoundError:
                place = found_after_all(path)
                if place is None:
                    raise
        try:
            return self.answer(place, path)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    def answer(self, place: Any, path: Any = None) -> Any:
        spelled = "." if path is None else path

        def ours(place: Location) -> Any:
            return EntryIterator(operations.scan(place, _state.files.table, spelled))

        known = known_directory(place, path)
        if known is not None:
            sys.audit("os.scandir", path)
            return answer(ours, known)
        return reach(lambda path: self._foreign(path, spelled), spelled, ours, ("os.scandir", path), place=place)

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
