"""Calls of ours in a thread that runs an event loop, and what mount() shows of itself when it fails."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay.testing import S3Server

ROOT = "/content/data"
PACKAGE = str(Path(vfsoverlay.errors.__file__).parent)


def in_loop(call: Callable[[], Any], *, slow: float) -> list[warnings.WarningMessage]:
    """The warnings of *call* in a coroutine, on a loop to which anything beyond *slow* seconds is slow."""

    async def work() -> None:
        asyncio.get_running_loop().slow_callback_duration = slow
        call()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(work())
    return caught


@pytest.fixture
def calls(mount: Any, server: S3Server) -> dict[str, Callable[[], Any]]:
    """The calls of ours that may take long."""
    server.put("data", "file", b"x")
    point = mount()
    return {
        "vfsoverlay.mount": lambda: mount(root_dir="/content/other"),
        "vfsoverlay.warm": lambda: vfsoverlay.warm(ROOT),
        "vfsoverlay.local_path": lambda: vfsoverlay.local_path(f"{ROOT}/file").release(),
        "point.warm": point.warm,
        "point.refresh": point.refresh,
    }


@pytest.mark.parametrize(
    "name", ["vfsoverlay.mount", "vfsoverlay.warm", "vfsoverlay.local_path", "point.warm", "point.refresh"]
)
def test_a_loop_that_stood_still_is_told(calls: dict[str, Callable[[], Any]], name: str) -> None:
    """Where a call kept an event loop waiting, a RuntimeWarning names asyncio.to_thread and the caller's line."""
    (warning,) = in_loop(calls[name], slow=0)
    assert warning.category is RuntimeWarning
    assert f"await asyncio.to_thread({name}, ...)" in str(warning.message)
    # The mounts fixture calls mount() for the test.
    assert Path(warning.filename).parent == Path(__file__).parent
    assert in_loop(calls[name], slow=60) == []


def test_other_threads_and_programs_without_a_loop_hear_nothing(calls: dict[str, Callable[[], Any]]) -> None:
    """What asyncio.to_thread calls, and a call where no loop runs, gives no warning."""

    async def work() -> None:
        asyncio.get_running_loop().slow_callback_duration = 0
        await asyncio.to_thread(calls["vfsoverlay.warm"])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calls["vfsoverlay.warm"]()
        # Its own queue and selector take longer than nothing, which only asyncio's debug mode would tell.
        asyncio.run(work())


def _frames_of_ours(error: BaseException | None) -> list[str]:
    found: list[str] = []
    while error is not None:
        found += [
            frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(PACKAGE)
        ]
        error = error.__cause__
    return found


@pytest.mark.parametrize("source", ["s3://missing/", "s3://data", "nope://data/"])
def test_a_failed_mount_shows_the_callers_line(server: S3Server, source: str) -> None:
    """The traceback of a mount() that fails has one frame of ours, the causes none; with details logged, all."""
    with pytest.raises((OSError, ValueError)) as caught:
        vfsoverlay.mount(source, ROOT, **server.mount_options())
    assert _frames_of_ours(caught.value) == ["mount"]
    if isinstance(caught.value, vfsoverlay.errors.MountError):  # nothing of other libraries below it either
        assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "mount"
    logger = logging.getLogger("vfsoverlay")
    logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises((OSError, ValueError)) as caught:
            vfsoverlay.mount(source, ROOT, **server.mount_options())
    finally:
        logger.setLevel(logging.NOTSET)
    assert len(_frames_of_ours(caught.value)) > 2


IN_MEMORY = """
import multiprocessing, os
import fsspec, vfsoverlay

def read():
    try:
        open("/content/data/file").read()
    except OSError as error:
        print(type(error).__name__, error)

if __name__ == "__main__":
    fsspec.filesystem("memory").pipe("/files/file", b"x")
    vfsoverlay.mount("memory://files/", "/content/data")
    process = multiprocessing.get_context("spawn").Process(target=read)
    process.start()
    process.join()
"""


def test_the_memory_of_another_process_is_told(tmp_path: Path) -> None:
    """A child that is no fork, and reads memory:// of its parent, hears that no other process has that."""
    (tmp_path / "program.py").write_text(IN_MEMORY)
    words = [sys.executable, "program.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.startswith("StaleObject [Errno 116] file is not in this process: memory:// holds what"), done
