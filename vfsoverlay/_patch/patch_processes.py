"""Starting programs: what they are given that lies exactly at a path below a mount becomes a local copy of it."""

from __future__ import annotations

import logging
import os
from typing import Any

from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._patch.dispatch import STATE, answer, text_of, trimmed
from vfsoverlay._patch.local_copies import copy_at, handed_out, place_of, spelled_like
from vfsoverlay._patch.replacement import Replacement, told_as
from vfsoverlay._vfs import local_tree, operations, script_start
from vfsoverlay._vfs.location import Location

_LOGGER = logging.getLogger("vfsoverlay")

_state = STATE


def _argument(value: Any, *, is_script: bool) -> Any:
    """An element of argv; a file of ours becomes a local copy, and a script of Python a file that starts it."""
    if not _may_be_ours(value):
        return value
    place = place_of(value, through_links=False)
    if place is None or not isinstance(place.node, FileNode) or place.slash:
        return value
    local = handed_out(copy_at(place))
    if is_script and place.last.endswith((".py", ".pyw")):
        local = script_start.starter(os.fsdecode(text_of(value)), local)
    return spelled_like(local, value)


def _may_be_ours(value: Any) -> bool:
    """Whether *value* is text that may be an absolute path below a mount, as far as a look tells."""
    value = text_of(value)
    text = value if isinstance(value, str) else os.fsdecode(value) if isinstance(value, bytes) else ""
    return text[:1] == "/" and (_state.needle in text or not (_state.quiet or _state.foreign_name(text)))


def _arguments(argv: Any, cwd: Any = None) -> Any:
    """*argv* for a program that starts in *cwd*; None: where we are."""
    if not isinstance(argv, (list, tuple)):
        return argv
    script = None
    if cwd is not None or _state.files.cwd is not None or any(map(_may_be_ours, argv)):
        script = script_start.position(argv)
        argv = _with_absolute(argv, script, cwd)
    if not any(map(_may_be_ours, argv)):
        return argv
    return [_argument(value, is_script=number == script) for number, value in enumerate(argv)]


def _with_absolute(argv: Any, script: int | None, cwd: Any) -> Any:
    """*argv* with the whole path of a *script* that is named from a *cwd* below a mount."""
    if script is None or os.fsdecode(text_of(argv[script]))[:1] == "/":
        return argv
    place = place_of(cwd) if cwd is not None else _state.files.current_directory()
    if place is None:
        return argv
    path = f"{place.absolute}/{os.fsdecode(text_of(argv[script]))}"
    return [*argv[:script], spelled_like(path, argv[script]), *argv[script + 1 :]]


def _program(path: Any) -> Any:
    """A program to be run; one of ours becomes a copy that can be executed, if its mode allows that."""
    if not _may_be_ours(path):
        return path
    place = place_of(path, through_links=False)
    if place is None or place.slash:
        return path
    if not isinstance(place.node, FileNode) or not answer(operations.access, place, os.X_OK):
        return spelled_like(_NO_PROGRAM, path)
    with copy_at(place) as copy:
        return spelled_like(answer(local_tree.executable, place, copy), path)


#: Exists and cannot be run, not even by root: the kernel itself refuses it when its turn comes.
_NO_PROGRAM = "/dev/null"


def _directory(cwd: Any) -> Any:
    """The working directory of a program; one of ours becomes a local tree of the files in it."""
    place = place_of(cwd)
    if place is None:
        return cwd
    place.existing_directory()
    return spelled_like(_tree(place), cwd)


def _is_helper(argv: Any) -> bool:
    """Whether multiprocessing starts one of its own: those are told the directory, and fetch nothing for it."""
    return any("multiprocessing" in word for word in map(str, argv))


def _inherited_directory() -> Any:
    """For a program started while our working directory is below a mount, where the kernel sees an empty one."""
    place = _state.files.current_directory() if _state.files.cwd is not None else None
    if place is None:
        return None
    try:
        return _tree(place._replace(spelled=place.absolute))
    except OSError as error:
        _LOGGER.warning("a program is started in an empty directory, since here is %s: %s", place.absolute, error)
        return None


def _tree(place: Location) -> str:
    tree: str
    tree, copies = answer(local_tree.directory, _state.files, place)
    for copy in copies:
        handed_out(copy)
    return tree


class ForkExec(Replacement):
    # What subprocess and multiprocessing start programs by:
    # argv, candidates for the program, close_fds, pass_fds, cwd, ...
    __slots__ = ()

    @told_as("fork_exec")
    def __call__(self, argv: Any, programs: Any, close_fds: Any, pass_fds: Any, cwd: Any, /, *rest: Any) -> Any:
        if _state.inside.active:
            # A program that tells our own credentials, perhaps.
            return self.real(argv, programs, close_fds, pass_fds, cwd, *rest)
        try:
            candidates = programs
            if isinstance(programs, (list, tuple)) and any(map(_may_be_ours, programs)):
                candidates = tuple(map(_program, programs))
            arguments = _arguments(argv, cwd)
            if cwd is not None:
                cwd = _directory(cwd)
            elif _state.files.cwd is not None and not _is_helper(argv):
                cwd = _inherited_directory()
            return self.real(arguments, candidates, close_fds, pass_fds, cwd, *rest)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames


class Run(Replacement):
    # path, argv, and more: execv, execve, posix_spawn, posix_spawnp
    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            given = {**dict(zip(_CONVERSIONS, args, strict=False)), **kwargs}
            ours = {name: convert(given[name]) for name, convert in _CONVERSIONS.items() if name in given}
            args = (*list(ours.values())[: len(args)], *args[len(_CONVERSIONS) :])
            kwargs = {name: ours.get(name, value) for name, value in kwargs.items()}
            try:
                return self.real(*args, **kwargs)
            except OSError as error:
                if error.filename is not None:
                    error.filename = given["path"]
                raise
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


_CONVERSIONS: dict[str, Any] = {"path": _program, "argv": _arguments}
