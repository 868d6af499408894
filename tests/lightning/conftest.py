"""Apps that run in a process of their own, as users run them, on a server with the sample bucket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from vfsoverlay.testing import S3Server
from vfsoverlay.testing.sample import sample_server

HERE = Path(__file__).parent

#: Runs the app of a module.
RUN_APP = str(HERE / "run_app.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Apps need the package lightning-app, which no other environment has."""
    if find_spec("lightning_app") is None:
        reason = "lightning-app is not installed; tox -e lightning installs it"
        for item in items:
            if item.path.parent == HERE and "run_app" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def server() -> Iterator[S3Server]:
    """A server with the sample bucket."""
    with sample_server() as server:
        yield server


@pytest.fixture
def run_app(server: S3Server, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call with the source of an app and the arguments of ``run_app.py``; *under* are words between it and python."""

    def run(source: str, *arguments: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        (tmp_path / "app_under_test.py").write_text(source)
        path = [str(tmp_path), str(HERE / "alias"), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            **server.environment(),
            "CHECK_ERROR_QUEUE_INTERVAL": "0.2",
            # Works are ended by a signal, which leaves in the buffer what is there.
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }
        words = [sys.executable, *under, RUN_APP, "app_under_test", *arguments]
        return subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
        )

    return run
