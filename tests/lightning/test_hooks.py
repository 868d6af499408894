"""The hooks of the Lightning door, on packages that look like Lightning's where the hooks look at them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROXIES = """
class WorkRunner:
    def __init__(self, work, run_executor_cls):
        self.work = work
        self.run_executor_cls = run_executor_cls
"""

MOUNT = """
class Mount:
    def __init__(self, source="", mount_path=""):
        self.source, self.mount_path = source, mount_path
"""

#: What each script begins with.
PREAMBLE = """
from importlib import import_module
from types import SimpleNamespace
from vfsoverlay.lightning import MountingExecutor, install

def work(mounts):
    return SimpleNamespace(cloud_compute=SimpleNamespace(mounts=mounts))

def proxies():
    return import_module(TREE + ".utilities.proxies")

def mount():
    return import_module(TREE + ".storage.mount")
"""


@pytest.fixture(params=["lightning_app", "lightning.app"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of a package with the two modules that the hooks look at."""
    package = tmp_path.joinpath(*request.param.split("."))
    for name, source in (("utilities/proxies.py", PROXIES), ("storage/mount.py", MOUNT)):
        file = package / name
        file.parent.mkdir(parents=True)
        file.write_text(source)
    for directory in (package.parent, package, package / "utilities", package / "storage"):
        if directory != tmp_path:
            (directory / "__init__.py").touch()
    return str(request.param)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            """
            install()
            runner = proxies().WorkRunner(work([object()]), "inner")
            assert isinstance(runner.run_executor_cls, MountingExecutor)
            assert runner.run_executor_cls.inner == "inner"
            """,
            id="before the import",
        ),
        pytest.param(
            """
            hooked = proxies().WorkRunner
            install()
            runner = hooked(work=work([object()]), run_executor_cls="inner")
            assert runner.run_executor_cls.inner == "inner"
            """,
            id="after the import",
        ),
        pytest.param(
            """
            install()
            install(options={"s3://b/": {"anon": True}}, max_objects=5)
            executor = proxies().WorkRunner(work([object()]), "inner").run_executor_cls
            assert executor.inner == "inner"
            assert executor.options == {"": {"max_objects": 5}, "s3://b/": {"anon": True}}
            """,
            id="again: the last options count, and nothing is wrapped twice",
        ),
        pytest.param(
            """
            install()
            for mounts in (None, [], ()):
                assert proxies().WorkRunner(work(mounts), "inner").run_executor_cls == "inner"
            """,
            id="a work without mounts is left alone",
        ),
        pytest.param(
            """
            install(compat=True)
            install(compat=True)
            Mount = mount().Mount
            assert Mount("s3://b/", root_dir="/a").mount_path == "/a"
            assert Mount("s3://b/", root_dir="/a", mount_path="/a").mount_path == "/a"
            assert Mount("s3://b/", "/a").mount_path == "/a"
            try:
                Mount("s3://b/", root_dir="/a", mount_path="/b")
            except TypeError as error:
                assert "'/a', '/b'" in str(error)
            else:
                raise AssertionError
            """,
            id="compat accepts root_dir",
        ),
        pytest.param(
            """
            install()
            try:
                mount().Mount("s3://b/", root_dir="/a")
            except TypeError:
                pass
            else:
                raise AssertionError
            """,
            id="without compat Mount is as it was",
        ),
    ],
)
def test_hooks_find_lightning_under_both_names(tree: str, script: str, tmp_path: Path) -> None:
    """install() works before and after the import, again, for either name of the package, and only where needed."""
    lines = "\n".join(line.removeprefix(" " * 12) for line in script.splitlines())
    code = f"TREE = {tree!r}\n{PREAMBLE}\n{lines}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
