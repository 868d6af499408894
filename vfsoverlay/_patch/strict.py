"""Strict mode: calls that reached a path below a mount behind our back are reported where they were made."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from vfsoverlay import _real
from vfsoverlay._patch.dispatch import STATE, text_of
from vfsoverlay.errors import BypassWarning

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from vfsoverlay._vfs.mount_point import MountPoint

#: The audit events that C code raises with a path as first argument, before it asks the system. ``stat`` and
#: its like raise none. Those that Python code raises (``glob.glob``, ``shutil.copyfile``) come before calls of ours.
_EVENTS: Final = frozenset(
    {
        "open", "os.listdir", "os.scandir", "os.chdir", "os.exec", "os.posix_spawn", "os.mkdir", "os.remove",
        "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime",
        "os.getxattr", "os.listxattr", "os.setxattr", "os.removexattr", "sqlite3.connect", "ctypes.dlopen",
    }
)  # fmt: skip

#: Where our own code lies.
_HOME: Final = __file__.rpartition("/")[0].rpartition("/")[0] + "/"


class Strict:
    """The audit hook, installed once, since a process never loses one again; quiet while no mount is strict."""

    def __init__(self) -> None:
        self._points: tuple[MountPoint, ...] = ()
        self._installed = False

    def watch(self, points: Iterable[MountPoint]) -> None:
        """Report for those of *points* that are strict, from now on, and for no others."""
        everywhere = os.environ.get("VFSOVERLAY_STRICT", "") not in ("", "0")
        self._points = tuple(point for point in points if everywhere or point.spec.option("strict"))
        if self._points and not self._installed:
            sys.addaudithook(self._hook)
            self._installed = True

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._points or event not in _EVENTS or not args or STATE.inside.active:
            return
        path = args[0]
        if isinstance(path, int) or not self._is_watched(path):
            return
        frame = sys._getframe(1)
        # A call of ours passes the caller's path on to the original, or raises its event.
        if not frame.f_code.co_filename.startswith(_HOME):
            self._report(event, path, frame)

    def _is_watched(self, path: Any) -> bool:
        """Whether *path*, as text without links, is below a strict mount."""
        text = text_of(path)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        if not isinstance(text, str) or not text or "\0" in text:
            return False
        if text.startswith("file:"):
            # As SQLite takes them.
            text = text[len("file:") :].partition("?")[0]
        try:
            found = STATE.files.table.find(_real.absolute(text))
        except OSError:
            # The working directory is gone.
            return False
        return found is not None and any(found[0] is point for point in self._points)

    def _report(self, event: str, path: Any, frame: FrameType) -> None:
        import warnings

        message = (
            f"{event}({path!r}) was called behind the back of the mount: the kernel sees no mount there, so it "
            "fails or finds something else; open it by open() or os.open(), or give it vfsoverlay.local_path()"
        )
        # Where the call was made: stacklevel would count the frames of the import system as well.
        warnings.warn_explicit(
            message,
            BypassWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            module=frame.f_globals.get("__name__"),
            registry=frame.f_globals.setdefault("__warningregistry__", {}),
        )
