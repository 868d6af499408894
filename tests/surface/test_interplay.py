"""Other libraries that replace or watch the same functions go on working beside a mount, whoever came first."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from tests.surface.conftest import ROOT, Mounted

FILES = {"a.txt": b"content\n", "module.py": b"def f():\n    return 1\n"}


def content(path: Any) -> str:
    """What ``open`` gives, closed at once."""
    with open(path) as file:
        return file.read()


class Wrapped:
    """``open`` wrapped as tracing libraries do it, and the paths that came by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[Any] = []
        wrapt = pytest.importorskip("wrapt")
        monkeypatch.setattr(builtins, "open", wrapt.FunctionWrapper(builtins.open, self._call))

    def _call(self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        self.seen.append(args[0])
        return wrapped(*args, **kwargs)


def test_a_wrapper_below_ours(mounted: Mounted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrapper that was there before the mount sees calls on other paths, and is there again afterwards."""
    (tmp_path / "x").write_text("x")
    wrapped = Wrapped(monkeypatch)
    before = builtins.open
    point = mounted(FILES)
    assert content(f"{ROOT}/a.txt") == "content\n"
    assert builtins.open is not io.open
    assert Path(ROOT, "a.txt").read_text() == "content\n"
    wrapped.seen.clear()
    assert content(tmp_path / "x") == "x"
    assert wrapped.seen == [tmp_path / "x"] or wrapped.seen == [str(tmp_path / "x")]
    point.unmount()
    assert builtins.open is before


def test_a_wrapper_over_ours(mounted: Mounted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrapper that came after the mount sees all calls, also after the unmount, and is never taken away."""
    point = mounted(FILES)
    wrapped = Wrapped(monkeypatch)
    assert content(f"{ROOT}/a.txt") == "content\n"
    assert wrapped.seen == [f"{ROOT}/a.txt"]
    ours = builtins.open
    point.unmount()
    assert builtins.open is ours
    with pytest.raises(FileNotFoundError):
        open(f"{ROOT}/a.txt")
    (tmp_path / "x").write_text("x")
    assert content(tmp_path / "x") == "x"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pyfakefs(mounted: Mounted, tmp_path: Path) -> None:
    """A fake file system hides the mount, as it hides the disk, and the mount is there again afterwards."""
    fake = pytest.importorskip("pyfakefs.fake_filesystem_unittest")
    point = mounted(FILES)
    with fake.Patcher(additional_skip_names=[vfsoverlay]) as patcher:
        patcher.fs.create_file("/fake/file", contents="fake")
        assert content("/fake/file") == "fake"
        assert os.listdir("/fake") == ["file"]
        assert not os.path.exists(f"{ROOT}/a.txt")
    assert content(f"{ROOT}/a.txt") == "content\n"
    assert not os.path.exists("/fake")
    point.unmount()
    assert not os.path.exists(ROOT)


PROGRAM = """
import os, sys
sys.path.insert(0, "/content/data")
import module
print(module.f(), len(open("/content/data/a.txt").read()), os.listdir("/content/data"))
"""
ANSWER = "1 8 ['a.txt', 'module.py']\n"

WATCHERS = {
    "coverage": ["-m", "coverage", "run", "--data-file=coverage.data", "program.py"],
    "trace": ["-m", "trace", "--count", "--coverdir=.", "program.py"],
    "cProfile": ["-m", "cProfile", "-o", "profile.data", "program.py"],
    "memray": ["-m", "memray", "run", "--quiet", "--output", "memray.data", "program.py"],
}


@pytest.mark.parametrize("watcher", WATCHERS)
def test_programs_that_watch_others(watcher: str, mounted: Mounted, tmp_path: Path) -> None:
    """A program reads from a mount under coverage, trace, a profiler of time and one of memory."""
    pytest.importorskip(watcher)
    mounted(FILES)
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, *WATCHERS[watcher]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ANSWER), done


def test_coverage_reads_source_from_the_mount(mounted: Mounted, tmp_path: Path) -> None:
    """Coverage reports the lines of a module that lies on a mount."""
    pytest.importorskip("coverage")
    mounted(FILES)
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment["COVERAGE_FILE"] = "found"
    for words in (["run", f"--include={ROOT}/*", "program.py"], ["report", "--show-missing"]):
        command = [sys.executable, "-m", "coverage", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"{ROOT}/module.py" in done.stdout, done
    assert "100%" in done.stdout
