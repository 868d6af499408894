"""The shim as a whole: put in place for the first mount, kept true while mounts come and go, removed after the last."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from vfsoverlay._patch.dispatch import STATE
from vfsoverlay._patch.methods import Methods
from vfsoverlay._patch.patch_imports import ARRIVALS
from vfsoverlay._patch.registry import Registry
from vfsoverlay._patch.slim import WATCH
from vfsoverlay._patch.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vfsoverlay._vfs.mount_point import MountPoint

#: More than anybody presses Ctrl-C within a moment, and few for a step that fails whenever it is run.
_TRIES: Final = 10

_REGISTRY: Final = Registry()
_METHODS: Final = Methods()
_STRICT: Final = Strict()


def points() -> tuple[MountPoint, ...]:
    """The mounts in force, in the order they were made; those of the parent are made now, if none was touched yet."""
    WATCH.wake()
    return STATE.files.table.points


def to_the_end(step: Callable[[], object]) -> None:
    """Run *step* again until it has come to its end; what a signal raised in the midst of it is raised then."""
    raised: BaseException | None = None
    for _ in range(_TRIES):
        try:
            step()
            break
        except BaseException as error:  # noqa: BLE001 - raised below, whatever it is
            raised = error
    if raised is not None:
        raise raised


def add(mounts: Sequence[MountPoint]) -> None:
    """Make *mounts* visible, all at once."""
    STATE.files.table = STATE.files.table.with_points(mounts)
    STATE.files.look_for_shadowed()
    STATE.update()
    _REGISTRY.install()
    _METHODS.install()
    _forget_finders(mounts)
    _STRICT.watch(STATE.files.table.points)


def remove(mounts: Sequence[MountPoint]) -> None:
    """Make *mounts* invisible, all at once; open files go on."""
    files = STATE.files
    if files.cwd is not None and any(files.cwd.point is point for point in mounts):
        files.leave_directory()
    files.table = files.table.without(mounts)
    files.look_for_shadowed()
    STATE.update()
    _STRICT.watch(files.table.points)
    _forget_finders(mounts)
    if not files.table.points:
        _REGISTRY.remove()
        _METHODS.remove()


def _forget_finders(mounts: Sequence[MountPoint]) -> None:
    """Let the import system look anew at *mounts*, and at all that it found to be no place to import from."""
    roots = tuple(f"{root}/" for point in mounts for root in point.roots)
    for path, finder in list(sys.path_importer_cache.items()):
        if finder is None or f"{path}/".startswith(roots):
            sys.path_importer_cache.pop(path, None)


def _arrived(module: str) -> None:
    _REGISTRY.arrived(module)
    if STATE.files.table.points:
        _METHODS.arrived(module)


ARRIVALS.tell = _arrived


def _after_fork() -> None:
    for point in STATE.files.table.points:
        point.after_fork()


os.register_at_fork(after_in_child=_after_fork)
