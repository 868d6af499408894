"""What a child does at its start: it watches for the mount points of its parent, and builds them when touched."""

from __future__ import annotations

import os
import sys

from vfsoverlay._patch import slim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOUNTS = "VFSOVERLAY_MOUNTS"


def start(marker: str) -> None:
    """Watch for the mounts that the environment names.

    Args:
        marker: ``$VFSOVERLAY_CHILD``: the interpreter and the mount points, written by ``_children``;
            empty where somebody set ``$VFSOVERLAY_MOUNTS`` by hand.
    """
    roots = [_unquoted(line) for line in marker.split("\n")[1:]] if marker else _roots_by_hand()
    if roots:
        watch(roots, _build)


def watch(roots: list[str], build: Any) -> None:
    """Install the slim shim for *roots*; if modules are to be imported from one, build everything at once."""
    slim.install()
    slim.WATCH.begin(roots, lambda: build(whole=False))
    # An import that meets the mount first would have to import what builds it from within the import system.
    if any(map(slim.WATCH.concerns, sys.path)):
        slim.WATCH.begin(roots, lambda: build(whole=True))
        slim.WATCH.wake()


def receive(entries: list[dict[str, Any]]) -> None:
    """Take what multiprocessing brought from the parent; it is newer than the environment, and complete."""
    if "vfsoverlay._api" in sys.modules:
        _adopt(entries, whole=False)
    elif entries or slim.WATCH.on:
        watch([entry["root_dir"] for entry in entries], lambda whole: _adopt(entries, whole=whole))


def _build(*, whole: bool) -> None:
    import json

    text = os.environ.get(_MOUNTS, "[]")
    try:
        entries = json.loads(text)
    except ValueError as error:
        import errno

        msg = f"${_MOUNTS} is no JSON list of mounts: {error}"
        raise OSError(errno.EINVAL, msg) from error
    _adopt(entries, whole=whole)


def _adopt(entries: list[dict[str, Any]], *, whole: bool) -> None:
    try:
        from vfsoverlay import _api
    except ImportError as error:
        import errno

        where = ", ".join(str(entry.get("source")) for entry in entries)
        msg = f"{where}: cannot be mounted in this process, since a library is missing here: {error}"
        raise OSError(errno.EIO, msg) from error
    _api.adopt(entries, whole=whole)


def _roots_by_hand() -> list[str]:
    """The mount points that the environment names; none where it is wrong, which is said.

    The process goes on: whoever set the variable for a whole container or job would otherwise have
    no Python there to find out with, and a path below a mount point that is absent fails loudly.
    """
    from vfsoverlay._mount_text import parse_mounts

    try:
        return [mount.root_dir for mount in parse_mounts(os.environ[_MOUNTS])]
    except ValueError as error:
        if sys.stderr is not None:
            sys.stderr.write(f"vfsoverlay: {str(error).rstrip('.')}; nothing is mounted in this process\n")
        return []


def _unquoted(line: str) -> str:
    return line.replace("%0A", "\n").replace("%25", "%")
