"""Notebooks: real cells in IPython's shell, and in a kernel as Jupyter starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import vfsoverlay
from vfsoverlay.testing import S3Server
from vfsoverlay.testing.sample import sample_server

MOUNT = "vfsoverlay.mount('s3://ryft-public-sample-data/esRedditJson/', '/content/data')"

Cells = Callable[..., list[str]]

#: Runs each argument as a cell, and prints what the cell printed, or how it failed.
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor", history_length=0)
for cell in sys.argv[1:]:
    print("cell")
    shell.run_cell(cell, store_history=True)
"""


#: Runs a notebook in a kernel of its own, and prints the outputs of its cells as JSON.
KERNEL = """
import json, sys, nbformat
from nbclient import NotebookClient

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in sys.argv[1:]])
NotebookClient(notebook, kernel_name="python3", timeout=100).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.fixture
def server() -> Iterator[S3Server]:
    """A server with the sample bucket."""
    with sample_server() as server:
        yield server


def _needs(*packages: str) -> None:
    """Skips without them; only children import them: each mount in this process would look into their modules."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture
def run_cells(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    """Runs cells in one shell and returns the output of each."""
    _needs("IPython")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

    def run(*cells: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-u", "-c", SHELL, *cells],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        return [output.strip() for output in done.stdout.split("cell\n")[1:]]

    return run


@pytest.fixture
def run_notebook(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    """Runs cells in a kernel and returns the outputs of each as JSON."""
    _needs("nbclient", "ipykernel")
    for name, value in {
        **server.environment(),
        "IPYTHONDIR": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)

    def run(*cells: str) -> list[str]:
        done = subprocess.run([sys.executable, "-c", KERNEL, *cells], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.dumps(outputs, ensure_ascii=False) for outputs in json.loads(done.stdout)]

    return run


def test_names_that_a_notebook_has_bound_are_served(run_cells: Cells) -> None:
    """The open that IPython puts into a notebook, and functions that earlier cells imported, see the mount."""
    outputs = run_cells(
        "from os import listdir as my_listdir; my_open = open; import vfsoverlay",
        f"point = {MOUNT}",
        "print(my_listdir('/content/data'))",
        "with open('/content/data/esRedditJson1') as file: print(file.read(7))",
        "with my_open('/content/data/esRedditJson2') as file: print(file.read(7))",
        "point.unmount()",
        "import os; print(my_listdir is os.listdir, my_open is open, os.path.exists('/content/data'))",
    )
    assert outputs == [
        "",
        "",
        "['esRedditJson1', 'esRedditJson2', 'esRedditJson3', 'esRedditJson4']",
        '{"date"',
        '{"date"',
        "",
        "True True False",
    ]


def test_a_cell_may_run_again(run_cells: Cells) -> None:
    """The cell that mounts may run again: it gives the same mount and lists nothing."""
    outputs = run_cells(
        f"import vfsoverlay; first = {MOUNT}",
        f"print({MOUNT} is first)",
        "print(first.metrics()['requests.list'])",
    )
    assert outputs[1:] == ["True", "1"]


def test_magic_commands_work_below_a_mount(run_cells: Cells) -> None:
    """%cd enters a mount, and what IPython reads of a file below it is right."""
    outputs = run_cells(
        # IPython of Python 3.10 warns that it has nowhere to keep the directories it was in.
        f"import vfsoverlay, warnings; warnings.simplefilter('ignore'); point = {MOUNT}",
        "%cd /content/data",
        "import glob; print(sorted(glob.glob('*2')))",
        "%cd -q /",
        "print(len(get_ipython().find_user_code('/content/data/esRedditJson1', py_only=False)))",
    )
    assert outputs[1:] == ["/content/data", "['esRedditJson2']", "", "41045"]


def test_an_error_in_a_cell_names_the_path(run_cells: Cells) -> None:
    """A traceback in a cell ends with the error that a local directory would give, for the path as it was written."""
    outputs = run_cells(f"import vfsoverlay; point = {MOUNT}", "open('/content/data/none')")
    assert outputs[1].endswith("FileNotFoundError: [Errno 2] No such file or directory: '/content/data/none'")


def test_a_mount_is_shown_as_a_table(server: S3Server) -> None:
    """In a notebook a mount is a table: source, place, objects, size, and the share that is cached."""
    with vfsoverlay.mount("s3://ryft-public-sample-data/", "/content/all", **server.mount_options()) as point:
        before = point._repr_html_()
        point.warm()
        after = point._repr_html_()
        requests = server.requests.count()
        assert point._repr_html_() == after
        assert server.requests.count() == requests
    for text in ("s3://ryft-public-sample-data/", "/content/all", "<td", ">6<", "KiB"):
        assert text in before
    assert "(0%)" in before
    assert "(100%)" in after
    assert "unmounted" in point._repr_html_()


def test_a_table_is_made_of_text(server: S3Server) -> None:
    """Names of a source cannot put markup into a notebook."""
    server.put("ryft-public-sample-data", "<b>/key", b"x")
    with vfsoverlay.mount("s3://ryft-public-sample-data/<b>/", "/content/b", **server.mount_options()) as point:
        assert "<b>" not in point._repr_html_()
        assert "&lt;b&gt;" in point._repr_html_()


def test_the_table_of_a_lazy_mount_lists_nothing(server: S3Server) -> None:
    """A lazy mount shows what was listed so far, and showing it makes no request."""
    options = {**server.mount_options(), "listing": "lazy"}
    with vfsoverlay.mount("s3://ryft-public-sample-data/", "/content/lazy", **options) as point:
        before = server.requests.count()
        assert "listed so far" in point._repr_html_()
        assert server.requests.count() == before


def test_the_table_of_a_local_directory_says_so(tmp_path: Path) -> None:
    """Where if_exists="local" left a directory in place, the table says so."""
    point = vfsoverlay.mount("s3://bucket/", str(tmp_path), if_exists="local")
    assert "a directory on disk is used instead" in point._repr_html_()


@pytest.mark.slow
def test_a_kernel_shows_tables_and_progress(run_notebook: Cells) -> None:
    """In Jupyter's kernel, whose event loop runs, any transport works; mounts are tables, and progress shows."""
    table, listing, bar = run_notebook(
        f"import vfsoverlay; {MOUNT}",
        "import os\n"
        "with vfsoverlay.mount('s3://ryft-public-sample-data/weather/', '/content/w', transport='s3fs') as point:\n"
        "    print(os.listdir('/content/w'), len(open('/content/w/seattle-2010.csv').read()) > 1000)",
        "from vfsoverlay._vfs.progress import Progress\n"
        "with Progress('list', 'objects', patience=0) as show:\n"
        "    show(1234, 2048)",
    )
    assert "<table>" in table
    assert "['san-francisco-2010.csv', 'seattle-2010.csv'] True" in listing
    assert "1,234 objects" in bar
