"""Interrupts mount() or unmount() at moments that are spread over all of its lines, and looks each time what is left.

    python tests/mounts/interrupted_calls.py mount|unmount OPTIONS

OPTIONS are those of a mount of the bucket ``data`` with the object ``a``, as JSON. Ends with an
AssertionError where something is left that must not be. A process of its own, with few modules:
most of the work of a mount is to look into each of them, and under ``sys.settrace`` that takes long.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any

import vfsoverlay
from vfsoverlay._patch.patched_names import PATCHED_NAMES

#: Moments that are tried of each call, spread over all of its lines.
_MOMENTS = 20
_HOME = os.path.dirname(vfsoverlay.__file__)
#: What changes the process. The search for copies of names is most of all lines, and changes nothing.
_CHANGING = tuple(f"{_HOME}/{part}" for part in ("_api.py", "_children.py", "_patch/", "_vfs/mount_point.py"))

Mount = Callable[[], vfsoverlay.MountPoint]


def patched_objects() -> dict[str, Any]:
    """What each name of the table holds now."""
    return {
        f"{module}.{row.name}": getattr(import_module(module), row.name, None)
        for row in PATCHED_NAMES
        for module in row.modules
    }


class _Interruption:
    """Raises KeyboardInterrupt at the line of ours number *at* that *call* comes to; 0: counts the lines."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.lines = 0

    def run(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return call()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(_CHANGING) or file.endswith("references.py"):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self._trace

    def comes_into(self, call: Callable[[], Any]) -> None:
        """Run *call*, which must be interrupted."""
        try:
            self.run(call)
        except KeyboardInterrupt:
            return
        message = f"line {self.at} was not come to"
        raise AssertionError(message)


def _moments(lines: int) -> list[int]:
    assert lines > _MOMENTS
    return sorted({1 + lines * i // _MOMENTS for i in range(_MOMENTS)})


def _is_whole(mount: Mount) -> None:
    with mount():
        assert os.listdir("/content/data") == ["a"]
        with open("/content/data/a") as file:
            assert file.read() == "hello"


def interrupt_unmount(mount: Mount) -> None:
    """Afterwards the mount has ended as a whole, or is there as a whole and can be ended."""
    _is_whole(mount)
    before, environment = patched_objects(), dict(os.environ)
    counting = _Interruption()
    counting.run(mount().unmount)
    for at in _moments(counting.lines):
        point = mount()
        _Interruption(at).comes_into(point.unmount)
        if vfsoverlay.mounts():
            assert os.listdir("/content/data") == ["a"]
            point.unmount()
        assert [name for name, value in patched_objects().items() if value is not before[name]] == []
        assert (vfsoverlay.mounts(), dict(os.environ)) == ((), environment)
        _is_whole(mount)


def interrupt_mount(mount: Mount) -> None:
    """Afterwards nothing is mounted, or all is and can be ended; nothing stays patched."""
    _is_whole(mount)
    before, environment = patched_objects(), dict(os.environ)
    counting = _Interruption()
    counting.run(mount).unmount()
    for at in _moments(counting.lines):
        _Interruption(at).comes_into(mount)
        for point in vfsoverlay.mounts():  # it came after the last step
            assert os.listdir("/content/data") == ["a"]
            point.unmount()
        assert (vfsoverlay.mounts(), dict(os.environ)) == ((), environment)
        assert [name for name, value in patched_objects().items() if value is not before[name]] == []
        _is_whole(mount)


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    {"mount": interrupt_mount, "unmount": interrupt_unmount}[sys.argv[1]](
        lambda: vfsoverlay.mount("s3://data/", "/content/data", **options)
    )
    print("whole")
