"""Strict mode reports calls that reach a mount behind our back, where they were made, and nothing else."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.surface.conftest import ROOT, Mounted
from vfsoverlay import _real
from vfsoverlay.errors import BypassWarning

FILES = {"a.txt": b"content\n", "dir/b.txt": b"below\n", "large.bin": bytes(3_000_000)}


@pytest.fixture(autouse=True)
def _always() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


BYPASSES: dict[str, Callable[[str], Any]] = {
    "open": lambda path: io.FileIO(path),  # noqa: PLW0108 - its line is to be reported
    "os.listdir": lambda path: _real.listdir(path),  # noqa: PLW0108 - as above
    "sqlite3.connect": lambda path: sqlite3.Connection(path),  # noqa: PLW0108 - as above
    "os.mkdir": lambda path: _real.mkdir(os.fsencode(path)),
}


@pytest.mark.parametrize("event", BYPASSES)
def test_a_bypass_is_reported(event: str, mounted: Mounted) -> None:
    """A call that went past us is reported with its event, its path and the line of the caller."""
    mounted(FILES, strict=True)
    with pytest.warns(BypassWarning) as caught, pytest.raises((OSError, sqlite3.Error)):  # noqa: PT031
        warnings.simplefilter("always")
        BYPASSES[event](f"{ROOT}/a.txt")
    (warning,) = caught
    assert str(warning.message).startswith(event)
    assert f"{ROOT}/a.txt" in str(warning.message)
    assert warning.filename == __file__


def test_calls_of_ours_are_not_reported(mounted: Mounted, tmp_path: Path) -> None:
    """Whatever is served, from the cache or the source, is not reported, nor are failures that we raise ourselves."""
    mounted(FILES, strict=True)
    for _ in range(2):
        assert Path(ROOT, "a.txt").read_text() == "content\n"
        assert len(Path(ROOT, "large.bin").read_bytes()) == 3_000_000
        assert sorted(os.listdir(ROOT)) == ["a.txt", "dir", "large.bin"]
        assert [entry.name for entry in os.scandir(f"{ROOT}/dir")] == ["b.txt"]
    os.close(os.open(f"{ROOT}/a.txt", os.O_RDONLY))
    shutil.copytree(ROOT, tmp_path / "copy")
    subprocess.run(["cat", f"{ROOT}/a.txt"], cwd=f"{ROOT}/dir", check=True, capture_output=True)
    for call in (open, os.listdir, os.mkdir, os.remove, os.chdir):
        with pytest.raises(OSError):
            call(f"{ROOT}/missing/x")
    with pytest.raises(sqlite3.Error):
        sqlite3.connect(f"{ROOT}/missing.db")


def test_only_strict_mounts_are_watched(mounted: Mounted, tmp_path: Path) -> None:
    """A mount that is not strict, and one that has ended, is not watched."""
    strict = mounted(FILES, f"{tmp_path}/strict", strict=True)
    mounted({}, f"{tmp_path}/other")
    with pytest.raises(FileNotFoundError):
        io.FileIO(f"{tmp_path}/other/a.txt")
    with pytest.raises(BypassWarning):
        io.FileIO(f"{tmp_path}/strict/a.txt")
    strict.unmount()
    with pytest.raises(FileNotFoundError):
        io.FileIO(f"{tmp_path}/strict/a.txt")


PROGRAM = """
import io
try:
    io.FileIO("/content/data/a.txt")
except OSError:
    print(len(open("/content/data/a.txt").read()))
"""


@pytest.mark.parametrize(("value", "reports"), [("1", 1), ("0", 0), ("", 0)])
def test_the_variable(value: str, reports: int, mounted: Mounted) -> None:
    """``VFSOVERLAY_STRICT=1`` makes every mount strict."""
    mounted(FILES)
    program = "import vfsoverlay; vfsoverlay.mounts()" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "VFSOVERLAY_STRICT": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "8\n", done
    assert done.stderr.count("BypassWarning: open('/content/data/a.txt')") == reports


def test_a_raw_file_is_not_served(mounted: Mounted) -> None:
    """``io.FileIO`` stays the original type, and called with a path below a mount it finds nothing."""
    mounted(FILES)
    with open(f"{ROOT}/a.txt", "rb", buffering=0) as raw:
        assert type(raw) is io.FileIO
    with pytest.raises(FileNotFoundError):
        io.FileIO(f"{ROOT}/a.txt")
    with io.FileIO(f"{ROOT}/a.txt", opener=os.open) as served:
        assert served.read() == b"content\n"
