"""A server with small files, a mount of them, and Python children that say what they see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay.testing import S3Server

ROOT = "/content/data"
FILES = {f"day/{number}.txt": f"line of {number}\n".encode() * (number + 1) for number in range(6)}


@pytest.fixture
def server() -> Iterator[S3Server]:
    """An S3 server in this process with ``FILES`` in its public bucket ``data``."""
    with S3Server() as server:
        server.create_bucket("data", public=True)
        for key, body in FILES.items():
            server.put("data", key, body)
        yield server


@pytest.fixture
def point(server: S3Server) -> Iterator[vfsoverlay.MountPoint]:
    """The bucket, mounted at ``ROOT``."""
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()) as point:
        yield point


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """No test leaves mounts or variables of ours behind."""
    before = _variables()
    yield
    left = vfsoverlay.mounts()
    for point in left:
        point.unmount()
    assert not left
    assert _variables() == before


def _variables() -> dict[str, str]:
    return {
        name: os.environ[name] for name in ("VFSOVERLAY_MOUNTS", "VFSOVERLAY_CHILD", "PYTHONPATH") if name in os.environ
    }


class Child:
    """What a Python child said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.out = done.stdout.strip()
        self.err = done.stderr.strip()

    def __repr__(self) -> str:
        return f"<exit {self.status}; {self.out!r}; {self.err}>"


def run(code: str, *options: str, env: Mapping[str, str] | None = None, **more: Any) -> Child:
    """Run *code* in a new Python process with the environment of this one, or with *env*."""
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=50, **more)
    return Child(done)
