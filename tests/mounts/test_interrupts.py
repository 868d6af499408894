"""Ctrl-C at any moment of mount() and unmount()."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import vfsoverlay
from tests.mounts.test_contract import patched_objects
from vfsoverlay.testing import S3Server

#: Moments that are tried of each call, spread over all of its lines.
_MOMENTS = 20
_HOME = os.path.dirname(vfsoverlay.__file__)
#: What changes the process. The search for copies of names is most of all lines, and changes nothing.
_CHANGING = tuple(f"{_HOME}/{part}" for part in ("_api.py", "_children.py", "_patch/", "_vfs/mount_point.py"))


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


def _moments(lines: int) -> list[int]:
    return sorted({1 + lines * i // _MOMENTS for i in range(_MOMENTS)})


@pytest.fixture
def lazily(server: S3Server) -> Callable[[], vfsoverlay.MountPoint]:
    """Mounts in few lines."""
    server.put("data", "a", b"hello")
    options = {**server.mount_options(), "listing": "lazy"}
    return lambda: vfsoverlay.mount("s3://data/", "/content/data", **options)


def _is_whole(mount: Callable[[], vfsoverlay.MountPoint]) -> None:
    with mount():
        assert os.listdir("/content/data") == ["a"]
        with open("/content/data/a") as file:
            assert file.read() == "hello"


def test_an_interrupt_of_unmount(lazily: Callable[[], vfsoverlay.MountPoint]) -> None:
    """Whenever Ctrl-C comes into unmount(), the mount ends as a whole, or is there as a whole and can be ended."""
    _is_whole(lazily)
    before, environment = patched_objects(), dict(os.environ)
    counting = _Interruption()
    counting.run(lazily().unmount)
    for at in _moments(counting.lines):
        point = lazily()
        with pytest.raises(KeyboardInterrupt):
            _Interruption(at).run(point.unmount)
        if vfsoverlay.mounts():
            assert os.listdir("/content/data") == ["a"]
            point.unmount()
        assert [name for name, value in patched_objects().items() if value is not before[name]] == []
        assert (vfsoverlay.mounts(), dict(os.environ)) == ((), environment)
        _is_whole(lazily)


def test_an_interrupt_of_mount(lazily: Callable[[], vfsoverlay.MountPoint]) -> None:
    """Whenever Ctrl-C comes into mount(), nothing is mounted, or all is and can be ended; nothing stays patched."""
    _is_whole(lazily)
    before, environment = patched_objects(), dict(os.environ)
    counting = _Interruption()
    counting.run(lazily).unmount()
    for at in _moments(counting.lines):
        with pytest.raises(KeyboardInterrupt):
            _Interruption(at).run(lazily)
        for point in vfsoverlay.mounts():  # it came after the last step
            assert os.listdir("/content/data") == ["a"]
            point.unmount()
        assert (vfsoverlay.mounts(), dict(os.environ)) == ((), environment)
        assert [name for name, value in patched_objects().items() if value is not before[name]] == []
        _is_whole(lazily)
