"""Real apps in Lightning's own runtime: the example of its page, both ways to start a work, and mounts that fail."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

# Importing Lightning takes several seconds in each process, on a busy machine half a minute.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILES = "esRedditJson1\nesRedditJson2\nesRedditJson3\nesRedditJson4\n"


def page() -> str:
    """The example of docs/lightning.md."""
    text = (Path(__file__).parents[2] / "docs" / "lightning.md").read_text("utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (example,) = (block for block in blocks if "class Flow" in block)
    return str(example)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_example_of_the_page_runs_as_it_stands(method: str, run_app: Run) -> None:
    """The page's app, to which only its missing last line was added, lists and reads its mount in a local run."""
    done = run_app(page(), method)
    assert done.returncode == 0, done.stderr
    assert FILES in done.stdout
    assert "status: succeeded" in done.stdout
    assert "mounted in the flow: ()" in done.stdout


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_app_needs_no_change_under_the_command_run(method: str, run_app: Run) -> None:
    """Under ``vfsoverlay run`` the page's app works without a call of install(), however its work is started."""
    done = run_app(page(), method, "null", under=("-m", "vfsoverlay", "run", "--"))
    assert done.returncode == 0, done.stderr
    assert FILES in done.stdout


def test_without_the_door_the_directory_does_not_exist(run_app: Run) -> None:
    """Without install() Lightning ignores the mount, and the work fails: the tests above prove what the door does."""
    done = run_app(MANY_WAYS, "fork", "null")
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stdout.partition("status: failed")[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('{"max_objects": 2}', r"vfsoverlay\.errors\.TooManyObjects: .* more than 2 objects \(max_objects\)"),
        ('{"endpoint_url": "http://127.0.0.1:9"}', r"vfsoverlay\.errors\.CannotAccessSource: .*127\.0\.0\.1:9"),
    ],
)
def test_a_mount_that_cannot_be_made_fails_the_work(options: str, message: str, run_app: Run) -> None:
    """Where a mount cannot be made, run() is not called, the work is FAILED with our error and reason, the app ends."""
    done = run_app(page(), "fork", options)
    assert done.returncode == 1
    assert "esRedditJson1" not in done.stdout
    status = done.stdout.partition("status: failed")[2]
    assert re.search(message, status), done.stdout + done.stderr


MANY_WAYS = """
import os
import subprocess
import sys

import lightning_app as L
from lightning_app.storage import Mount
from lightning_app.utilities.proxies import WorkRunExecutor


class OwnExecutor(WorkRunExecutor):
    def __call__(self, *args, **kwargs):
        print("own executor sees", len(os.listdir("/content/a")), "files")
        return super().__call__(*args, **kwargs)


class Work(L.LightningWork):
    _run_executor_cls = OwnExecutor

    def run(self):
        code = "import os; print('child sees', os.listdir('/data/weather'))"
        subprocess.run([sys.executable, "-c", code], check=True)


class Flow(L.LightningFlow):
    def __init__(self):
        super().__init__()
        mounts = [
            Mount("s3://ryft-public-sample-data/esRedditJson/", "/content/a"),
            Mount("s3://ryft-public-sample-data/weather/"),
        ]
        self.work = Work(cloud_compute=L.CloudCompute(mounts=mounts))

    def run(self):
        self.work.run()


app = L.LightningApp(Flow())
"""


def test_executors_and_children_of_works_see_the_mounts(run_app: Run) -> None:
    """A work with two mounts keeps its own executor, which sees them, and so do the Python processes it starts."""
    done = run_app(MANY_WAYS)
    assert done.returncode == 0, done.stderr
    assert "own executor sees 4 files" in done.stdout
    assert "child sees ['san-francisco-2010.csv', 'seattle-2010.csv']" in done.stdout
