"""New Python processes have the mounts of the process that starts them."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from tests.processes.conftest import FILES, ROOT, Child, run
from vfsoverlay.testing import S3Server

# The test server runs in threads of this process.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

READ = f"print(open('{ROOT}/day/1.txt').readline())"


def read_all(directory: str) -> dict[str, bytes]:
    """All files below *directory*; runs in children."""
    found = {}
    for path in sorted(Path(directory).rglob("*.txt")):
        found[str(path.relative_to(directory))] = path.read_bytes()
    return found


def test_a_child_has_the_mounts_before_its_main_module_runs(point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """A Python process started by ``subprocess`` has the same mounts before its main module is imported."""
    child = run(f"import os; print(sorted(os.listdir('{ROOT}/day')))")
    assert child.status == 0, child
    assert child.out == str([f"{number}.txt" for number in range(6)])


def test_a_child_neither_lists_nor_fetches_again(point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """A child reads the listing of its parent and shares its cache: no second listing, no second download."""
    assert read_all(ROOT) == FILES
    mark = len(server.requests)
    child = run(f"import vfsoverlay, pathlib; print(len(list(pathlib.Path('{ROOT}').rglob('*.txt')))); {READ}")
    assert child.out.splitlines() == ["6", "line of 1"], child
    assert server.requests.since(mark) == []


def test_children_of_children_have_the_mounts(point: vfsoverlay.MountPoint) -> None:
    """A child that never touched a mount hands it on to its own children."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {READ!r}], check=True)"
    assert run(code).out == "line of 1"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """Processes of ``multiprocessing`` have the mounts with each start method, without another listing."""
    mark = len(server.requests)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(read_all, (ROOT,)) == FILES
        pool.close()
        pool.join()
    assert [request for request in server.requests.since(mark) if request.purpose == "list"] == []
    assert server.requests.count("get") == len(FILES)


def test_an_executor_of_processes(point: vfsoverlay.MountPoint) -> None:
    """Workers of ``concurrent.futures`` have the mounts."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(read_all, ROOT).result() == FILES


def test_loky(point: vfsoverlay.MountPoint) -> None:
    """Workers of joblib have the mounts."""
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    externals = pytest.importorskip("joblib.externals.loky")
    try:
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(read_all)(ROOT) for _ in range(2))
        assert found == [FILES, FILES]
    finally:
        externals.get_reusable_executor().shutdown(wait=True)


OLDER_SERVER = """
import multiprocessing, os, sys
import vfsoverlay

def look(path):
    return os.listdir(path) if os.path.isdir(path) else None

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    with context.Pool(1) as pool:
        assert pool.apply(look, ("/content/data",)) is None
    point = vfsoverlay.mount("s3://data/", "/content/data", anon=True, endpoint_url=sys.argv[1], region="us-east-1")
    with context.Pool(1) as pool:
        print(pool.apply(look, ("/content/data",)))
    point.unmount()
    with context.Pool(1) as pool:
        print(pool.apply(look, ("/content/data",)))
"""


def test_a_fork_server_that_is_older_than_the_mount(server: S3Server, tmp_path: Path) -> None:
    """A fork server that was started before ``mount()`` gives its new processes the mount all the same."""
    script = tmp_path / "main.py"
    script.write_text(OLDER_SERVER)
    child = run_script(script, server.url)
    assert child.status == 0, child
    assert child.out.splitlines() == ["['day']", "None"]


def run_script(script: Path, *arguments: str, options: tuple[str, ...] = ()) -> Child:
    import subprocess

    command = [sys.executable, *options, str(script), *arguments]
    return Child(subprocess.run(command, capture_output=True, text=True, check=False, timeout=50))


MOUNTING_MAIN = """
import multiprocessing, sys
import vfsoverlay

point = vfsoverlay.mount("s3://data/", "/content/data", anon=True, endpoint_url=sys.argv[1], region="us-east-1")

def look(_):
    return open("/content/data/day/1.txt").readline(), len(vfsoverlay.mounts())

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(look, [0]))
"""


@pytest.mark.parametrize("options", [(), ("-E",)], ids=["hook", "no environment"])
def test_a_spawned_child_that_mounts_the_same_again(options: tuple[str, ...], server: S3Server, tmp_path: Path) -> None:
    """A spawned child that runs the main module's ``mount()`` again gets the inherited mount, without listing.

    That holds where the environment is ignored, because multiprocessing carries the mounts as well.
    """
    script = tmp_path / "main.py"
    # With -E the package must be found by other means than PYTHONPATH.
    where = str(Path(vfsoverlay.__file__).parent.parent)
    script.write_text(f"import sys; sys.path.insert(0, {where!r})\n" + MOUNTING_MAIN)
    child = run_script(script, server.url, options=options)
    assert child.out == "[('line of 1\\n', 1)]", child
    assert server.requests.count("list") == 1


def test_children_false(server: S3Server) -> None:
    """``children=False`` keeps a mount to the process that made it."""
    before = dict(os.environ)
    with vfsoverlay.mount("s3://data/", ROOT, children=False, **server.mount_options()):
        assert dict(os.environ) == before
        child = run(READ)
    assert "FileNotFoundError" in child.err


@pytest.mark.parametrize("before", [None, "", "/somewhere", "/a::/b"], ids=repr)
def test_the_environment_is_restored(before: str | None, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """``unmount()`` takes back exactly what ``mount()`` put into the environment."""
    if before is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", before)
    environment = dict(os.environ)
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        entry, _, rest = os.environ["PYTHONPATH"].partition(os.pathsep)
        assert os.listdir(entry) == ["sitecustomize.py"] or set(os.listdir(entry)) == {
            "sitecustomize.py",
            "__pycache__",
        }
        assert rest == (before or "")
        with vfsoverlay.mount("s3://data/day/", "/content/day", **server.mount_options()):
            assert [entry["root_dir"] for entry in json.loads(os.environ["VFSOVERLAY_MOUNTS"])] == [
                ROOT,
                "/content/day",
            ]
        assert [entry["root_dir"] for entry in json.loads(os.environ["VFSOVERLAY_MOUNTS"])] == [ROOT]
    assert {**environment, "PYTHONPATH": before or ""} == {"PYTHONPATH": "", **os.environ}


def test_what_a_program_adds_meanwhile_stays(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """``unmount()`` removes only our entry of PYTHONPATH, whatever was added around it."""
    monkeypatch.setenv("PYTHONPATH", "/old")
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        os.environ["PYTHONPATH"] = f"/new:{os.environ['PYTHONPATH']}"
    assert os.environ["PYTHONPATH"] == "/new:/old"


def test_multiprocessing_is_restored(server: S3Server) -> None:
    """``unmount()`` gives multiprocessing its own function back."""
    import multiprocessing.spawn as module

    original = module.get_preparation_data
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        assert module.get_preparation_data is not original
    assert module.get_preparation_data is original


def test_a_mount_the_user_wrote_into_the_environment_stays(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounts that ``$VFSOVERLAY_MOUNTS`` named before are handed on beside ours, and stay when ours go."""
    text = json.dumps([{"source": "s3://data/day/", "root_dir": "/content/day", **server.mount_options()}])
    monkeypatch.setenv("VFSOVERLAY_MOUNTS", text)
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        child = run(f"{READ}; print(open('/content/day/2.txt').readline())")
        assert child.out.split("\n") == ["line of 1", "", "line of 2"], child
    assert os.environ["VFSOVERLAY_MOUNTS"] == text


def test_mounts_named_by_hand(server: S3Server) -> None:
    """``$VFSOVERLAY_MOUNTS`` and the start-up directory on PYTHONPATH are enough for a container's environment."""
    from vfsoverlay._children import STARTUP

    mounts = json.dumps([{"source": "s3://data/", "root_dir": ROOT, **server.mount_options()}])
    path = os.pathsep.join(filter(None, [STARTUP, os.environ.get("PYTHONPATH")]))
    child = run(READ, env={**os.environ, "VFSOVERLAY_MOUNTS": mounts, "PYTHONPATH": path})
    assert child.out == "line of 1", child


# --- failure


def test_a_mount_that_cannot_be_made_fails_where_it_is_touched(server: S3Server, tmp_path: Path) -> None:
    """A mount that a child cannot make raises an OSError that names the source where it is touched, and only there."""
    mounts = json.dumps([{"source": "s3://missing/", "root_dir": "/content/missing", **server.mount_options()}])
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        env = {**os.environ, "VFSOVERLAY_CHILD": os.environ["VFSOVERLAY_CHILD"] + "\n/content/missing"}
        env["VFSOVERLAY_MOUNTS"] = env["VFSOVERLAY_MOUNTS"][:-1] + ", " + mounts[1:]
        code = f"""
import os, sys
{READ}
for call in (os.stat, open, os.listdir):
    try:
        call("/content/missing/x")
    except OSError as error:
        print(type(error).__name__, error.errno, "s3://missing/" in str(error), error.filename)
"""
        child = run(code, env=env)
    lines = child.out.split("\n")
    assert lines[0] == "line of 1", child
    assert lines[2:] == ["MountError 2 True /content/missing/x"] * 3, child


def test_an_environment_that_is_no_list_of_mounts_is_named(point: vfsoverlay.MountPoint) -> None:
    """A damaged variable breaks no child that does not touch a mount, and is named to one that does."""
    env = {**os.environ, "VFSOVERLAY_MOUNTS": "[oops"}
    assert run("print(1)", env=env).out == "1"
    child = run(READ, env=env)
    assert "OSError: [Errno 22] $VFSOVERLAY_MOUNTS is no JSON list of mounts" in child.err


SECRETS = """
import multiprocessing, subprocess, sys
import vfsoverlay

OPTIONS = {options!r}
READ = "print(open('/content/data/day/1.txt').readline())"

def look(_):
    return open("/content/data/day/1.txt").readline()

if __name__ == "__main__":
    point = vfsoverlay.mount("s3://private/", "/content/data", **OPTIONS)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(look, [0]))
    again = "import vfsoverlay; vfsoverlay.mount('s3://private/', '/content/data', **%r); " % OPTIONS
    for code in (READ, again + READ):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        print((done.stdout.strip() or done.stderr.strip().splitlines()[-1]))
"""


@pytest.mark.parametrize("children", [True, "secrets"])
def test_secrets_stay_out_of_the_environment(children: Any, server: S3Server, tmp_path: Path) -> None:
    """Keys given to ``mount()`` reach children through multiprocessing's pipe, and the environment only if asked to."""
    server.create_bucket("private")
    server.put("private", "day/1.txt", FILES["day/1.txt"])
    script = tmp_path / "main.py"
    options = {**server.mount_options(anon=False), "children": children}
    script.write_text(SECRETS.format(options=options))
    child = run_script(script)
    spawned, plain, with_keys = child.out.splitlines()
    assert spawned == "['line of 1\\n']", child
    if children == "secrets":
        assert plain == "line of 1", child
    else:
        assert "MountError: [Errno 13]" in plain, child
        assert "storage_options" in plain, child
    assert with_keys == "line of 1", child
    assert server.requests.count("list") == 1


# --- the hook


@pytest.mark.parametrize("options", ["-I", "-E", "-S"])
def test_children_that_ignore_the_environment(options: str, point: vfsoverlay.MountPoint) -> None:
    """``-I``, ``-E`` and ``-S`` keep the mounts away: such a child finds no file, and never an empty directory."""
    child = run(f"import os\ntry:\n    os.listdir('{ROOT}')\nexcept FileNotFoundError:\n    print('absent')", options)
    assert child.out == "absent", child


def test_another_interpreter_is_left_alone(point: vfsoverlay.MountPoint) -> None:
    """The hook is silent, loads nothing and leaves no trace where the interpreter or its environment differs."""
    other = os.environ["VFSOVERLAY_CHILD"].replace(sys.prefix, "/another/environment")
    code = "import sys; print([m for m in sys.modules if 'vfsoverlay' in m], [p for p in sys.path if '_startup' in p])"
    child = run(code, env={**os.environ, "VFSOVERLAY_CHILD": other})
    assert (child.out, child.err) == ("[] []", "")


@pytest.mark.parametrize("body", ["print('theirs', __name__)", "raise ImportError('broken', name='x')", None])
def test_a_sitecustomize_that_is_there_runs_as_before(
    body: str | None, point: vfsoverlay.MountPoint, tmp_path: Path
) -> None:
    """A ``sitecustomize`` of the user runs as it does without us, also where it fails."""
    if body is not None:
        (tmp_path / "sitecustomize.py").write_text(body)
    code = "import sys; print(sys.modules.get('sitecustomize').__file__ if 'sitecustomize' in sys.modules else None)"
    without = {
        name: value for name, value in os.environ.items() if name not in {"VFSOVERLAY_MOUNTS", "VFSOVERLAY_CHILD"}
    }
    without["PYTHONPATH"] = os.environ["PYTHONPATH"].partition(os.pathsep)[2]
    bare = run(code, env={**without, "PYTHONPATH": f"{tmp_path}{os.pathsep}{without['PYTHONPATH']}"})
    ours, _, rest = os.environ["PYTHONPATH"].partition(os.pathsep)
    child = run(code, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ours, str(tmp_path), rest]))})
    assert child.err == bare.err
    if body is None:
        assert child.out.endswith("_startup/sitecustomize.py")
    else:
        assert child.out == bare.out
