"""Ctrl-C at any moment of mount() and unmount()."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from vfsoverlay.testing import S3Server

PROGRAM = os.path.join(os.path.dirname(__file__), "interrupted_calls.py")

Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def interrupted(server: S3Server) -> Run:
    """Interrupts a call at many moments, in a process of its own; mounts lazily, which is few lines."""
    server.put("data", "a", b"hello")
    options = json.dumps({**server.mount_options(), "listing": "lazy"})

    def run(call: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-W", "error", PROGRAM, call, options]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    return run


def test_an_interrupt_of_unmount(interrupted: Run) -> None:
    """Whenever Ctrl-C comes into unmount(), the mount ends as a whole, or is there as a whole and can be ended."""
    done = interrupted("unmount")
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def test_an_interrupt_of_mount(interrupted: Run) -> None:
    """Whenever Ctrl-C comes into mount(), nothing is mounted, or all is and can be ended; nothing stays patched."""
    done = interrupted("mount")
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
