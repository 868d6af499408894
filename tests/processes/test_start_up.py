"""A child that has not touched a mount carries no more than a watch for mount points."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import vfsoverlay
from tests.processes.conftest import ROOT, run
from tests.test_architecture import HEAVY
from vfsoverlay._patch.patched_names import PATCHED_NAMES
from vfsoverlay._patch.slim import SLIM_NAMES
from vfsoverlay.testing import S3Server

#: Each begins in a forked child in which nothing was touched yet; the last line must print "seen".
TOUCHES = {
    "open": f"print('seen' if open('{ROOT}/day/1.txt').read() else '')",
    "open by name of argument": f"print('seen' if open(file='{ROOT}/day/1.txt', mode='rb').read() else '')",
    "os.open": f"print('seen' if os.open('{ROOT}/day/1.txt', os.O_RDONLY) else '')",
    "stat": f"print('seen' if os.stat('{ROOT}/day/1.txt').st_size == 20 else '')",
    "stat of bytes": f"print('seen' if os.stat(b'{ROOT}/day/1.txt').st_size == 20 else '')",
    "stat of PathLike": f"import pathlib; print('seen' if pathlib.Path('{ROOT}/day/1.txt').is_file() else '')",
    "access": f"print('seen' if os.access('{ROOT}/day', os.R_OK) else '')",
    "access of a parent": "print('seen' if os.access('/content', os.R_OK) else '')",
    "listdir": f"print('seen' if os.listdir('{ROOT}') == ['day'] else '')",
    "listdir of a parent": "print('seen' if os.listdir('/content') == ['data'] else '')",
    "listdir of the root": "print('seen' if 'content' in os.listdir('/') else '')",
    "listdir by descriptor": "print('seen' if 'content' in os.listdir(os.open('/', os.O_RDONLY)) else '')",
    "listdir of here": "os.chdir('/'); print('seen' if 'content' in os.listdir() else '')",
    "scandir of the root": "print('seen' if 'content' in [e.name for e in os.scandir('/')] else '')",
    "relative": f"os.chdir('/'); print('seen' if os.path.isdir('{ROOT[1:]}') else '')",
    "dots": "print('seen' if os.path.isdir('/usr/../content/./data') else '')",
    "double slash": "print('seen' if os.path.isdir('//content//data') else '')",
    "dir_fd": f"print('seen' if os.stat('{ROOT[1:]}', dir_fd=os.open('/', os.O_RDONLY)) else '')",
    "a symbolic link": "print('seen' if open(LINK + '/day/1.txt').read() else '')",
    "a symbolic link itself": "print('seen' if os.listdir(LINK) == ['day'] else '')",
    "chdir": f"os.chdir('{ROOT}'); print('seen' if os.getcwd() == '{ROOT}' else '')",
    "chdir to a parent": "os.chdir('/content'); print('seen' if os.listdir() == ['data'] else '')",
    "mkdir": "\ntry: os.mkdir('/content/data/new')\nexcept OSError as e: print('seen' if e.errno == 30 else e)",
    "mkdir of a parent": "\ntry: os.mkdir('/content')\nexcept FileExistsError: print('seen')",
    "rename out": f"\ntry: os.rename('{ROOT}/day', '/x')\nexcept OSError as e: print('seen' if e.errno == 18 else e)",
    "glob": f"import glob; print('seen' if len(glob.glob('{ROOT}/*/*.txt')) == 6 else '')",
    "import": f"sys.path.insert(0, '{ROOT}'); import day; print('seen')",
    "the interface": "import vfsoverlay; print('seen' if len(vfsoverlay.mounts()) == 1 else '')",
    "unmount": f"import vfsoverlay; vfsoverlay.unmount('{ROOT}'); print('' if os.path.exists('{ROOT}') else 'seen')",
    "an early copy": f"from os import stat; print('seen' if stat('{ROOT}/day').st_nlink and stat is os.stat else '')",
}

#: Those that end with the right answer are run to the end; the others only until they wake the shim.
TO_THE_END = {"listdir of the root", "a symbolic link", "the interface", "unmount", "an early copy"}

ZYGOTE = """
import errno, os, sys
from vfsoverlay._patch import slim
LINK = sys.argv[1]
TO_THE_END = %r
assert slim.is_slim(os.stat)

def wake():
    print("seen", flush=True)
    os._exit(0)

for name, code in %r.items():
    sys.stdout.flush()
    child = os.fork()
    if not child:
        if name not in TO_THE_END:
            slim.WATCH.begin(["/content/data"], wake)
        try:
            exec(code)
            sys.stdout.flush()
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert "vfsoverlay._api" not in sys.modules
"""


def test_the_watch_knows_the_names_that_the_shim_replaces() -> None:
    """The names that a fresh child watches are those that the whole shim replaces."""
    slim = {(modules, name) for modules, name, _ in SLIM_NAMES}
    assert slim == {(row.modules, row.name) for row in PATCHED_NAMES}


def test_every_way_to_a_mount_is_recognised(point: vfsoverlay.MountPoint, tmp_path: Path) -> None:
    """However a path to a mount is spelled, the first call with it already sees the mount."""
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    child = run(f"import sys; sys.argv[1:] = [{str(link)!r}]\n" + ZYGOTE % (TO_THE_END, TOUCHES))
    assert child.status == 0, child
    assert dict(zip(TOUCHES, child.out.split("\n"), strict=True)) == dict.fromkeys(TOUCHES, "seen")


def test_an_untouched_child_loads_nothing_heavy(point: vfsoverlay.MountPoint) -> None:
    """A child that touches no mount loads five small modules, none of them heavy, and does nothing else."""
    code = (
        "import sys, os; os.stat('/'); os.path.exists('/nothing/here'); open('/dev/null').close(); print(*sys.modules)"
    )
    bare = run(code, env={"PYTHONPATH": os.environ["PYTHONPATH"].partition(os.pathsep)[2], "PATH": os.environ["PATH"]})
    names = ("VFSOVERLAY_MOUNTS", "VFSOVERLAY_CHILD", "PYTHONPATH", "PATH")
    child = run(code, env={name: os.environ[name] for name in names})
    added = set(child.out.split()) - set(bare.out.split())
    assert not added & set(HEAVY)
    assert {name for name in added if "vfsoverlay" not in name} <= {"__future__", "sitecustomize"}
    # A .pth file that imports more than the interpreter does has to be searched for copies.
    searched = {"vfsoverlay._patch.references"} if "coverage" in bare.out.split() else set()
    assert {name for name in added if "vfsoverlay" in name} - searched == {
        "vfsoverlay", "vfsoverlay._child", "vfsoverlay._patch", "vfsoverlay._patch.replacement",
        "vfsoverlay._patch.slim", "vfsoverlay._real",
    }  # fmt: skip


def test_a_child_that_fetches_nothing_loads_no_client(point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """A child that reads what is cached loads neither botocore nor another client of stores; one that fetches does."""
    Path(f"{ROOT}/day/1.txt").read_bytes()
    code = "import os, sys; os.listdir({0!r}); open({0!r} + {1!r}).read(); print(sorted({2!r} & set(sys.modules)))"
    clients = {"botocore", "fsspec", "s3fs", "http.client", "ssl", "asyncio"}
    assert run(code.format(ROOT, "/day/1.txt", clients)).out == "[]"
    assert "botocore" in run(code.format(ROOT, "/day/2.txt", clients)).out
    assert server.requests.count("list") == 1


EARLY = """
import pathlib, sqlite3, os
from os import listdir

class Holder:
    stat = staticmethod(os.stat)

def size(path, ask=os.stat):
    return ask(path).st_size
"""


@pytest.mark.parametrize(
    "touch",
    [
        "pathlib.Path('{0}/day/1.txt').stat()",
        "sqlite3.connect('{0}/a.db').execute('select * from t').fetchall()",
        "early.listdir('{0}')",
        "early.Holder.stat('{0}/day/1.txt')",
        "early.size('{0}/day/1.txt')",
    ],
)
def test_modules_that_came_before_us_see_mounts(touch: str, server: S3Server, tmp_path: Path) -> None:
    """What a ``.pth`` file imports before a child watches for mounts meets them at its first touch all the same."""
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("create table t (n)")
        database.commit()
    server.put("data", "a.db", (tmp_path / "a.db").read_bytes())
    (tmp_path / "early.py").write_text(EARLY)
    # Without -S, site would come first; with it, the program can be what a .pth file is.
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import early, pathlib, sqlite3, site; site.main(); "
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        child = run(f"{code}{touch.format(ROOT)}; print('vfsoverlay._api' in sys.modules)", "-S")
    assert (child.out, child.err) == ("True", "")


TOUCHED_BY_AN_IMPORT = f"""
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "runpy":  # which multiprocessing.spawn imports at its beginning
            os.stat("{ROOT}/day/1.txt")
sys.meta_path.insert(0, Finder())
sys.modules.pop("runpy", None)
import multiprocessing.spawn
if __name__ == "__main__":
    assert "vfsoverlay._api" in sys.modules
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(os.listdir, ["{ROOT}"]))
"""


def test_multiprocessing_may_be_halfway_imported(point: vfsoverlay.MountPoint, tmp_path: Path) -> None:
    """A child that meets its mounts while it imports ``multiprocessing`` goes on, and its own children have them."""
    (tmp_path / "program.py").write_text(TOUCHED_BY_AN_IMPORT)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['day']\n", "")


FORKS_MEANWHILE = f"""
import os, signal, sys, threading
reader = threading.Thread(target=lambda: open("{ROOT}/day/1.txt").close())
os.listdir("{ROOT}")
reader.start()
while "botocore" not in sys.modules:  # as soon as it is there in part
    pass
child = os.fork()
if not child:
    signal.alarm(30)  # ends a child that hangs
    print(open("{ROOT}/day/2.txt").readline(), end="", flush=True)
    os._exit(0)
reader.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_while_a_client_is_loaded(point: vfsoverlay.MountPoint) -> None:
    """A child forked while another thread loads what fetching needs finds it whole, and fetches."""
    child = run(FORKS_MEANWHILE, "-W", "ignore")
    assert (child.out, child.status) == ("line of 2\n0", 0), child


def test_a_client_is_not_looked_for_in_the_mount(server: S3Server, tmp_path: Path) -> None:
    """What a child loads in order to fetch comes from its own disk, whatever the mount on its path has by that name."""
    server.put("data", "botocore/__init__.py", b"raise SystemExit('of the mount')")
    server.put("data", "found.py", b"name = 'found'")
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        later = run(f"import sys; sys.path.insert(0, {ROOT!r}); import found; print(found.name)")
        path = f"{os.environ['PYTHONPATH']}{os.pathsep}{ROOT}"
        at_once = run("import found; print(found.name)", env={**os.environ, "PYTHONPATH": path})
    assert (later.out, at_once.out) == ("found", "found"), (later, at_once)


LOOKS = """
import copy, inspect, os, pickle, posix, types
assert os.stat is posix.stat and isinstance(os.stat, types.BuiltinFunctionType)
assert inspect.isbuiltin(os.mkdir) and os.stat in os.supports_dir_fd and os.listdir in os.supports_fd
assert pickle.loads(pickle.dumps(os.stat)) is os.stat and copy.deepcopy(open) is open
assert inspect.signature(os.stat).parameters["follow_symlinks"].default is True
class Holder:
    stat = os.stat
    size = os.path.getsize
early, mkdir = os.stat, os.mkdir
%s
assert os.stat is early is posix.stat is Holder.stat and os.mkdir == mkdir and os.stat in os.supports_dir_fd
try:
    mkdir("/content/data/x")
except OSError as error:
    print(error.errno)
"""


def test_watching_functions_look_like_the_originals(point: vfsoverlay.MountPoint) -> None:
    """Before and after the first touch, replaced functions are one object, and look and pickle as the originals do."""
    child = run(LOOKS % f"os.stat('{ROOT}')")
    assert (child.out, child.status) == ("30", 0), child


@pytest.mark.parametrize("path", ["/nothing/at/all", "relative/nothing", "/usr/lib/..", "/datafile", "/content-not"])
def test_foreign_paths_wake_nothing(path: str, point: vfsoverlay.MountPoint) -> None:
    """Paths that cannot lead to a mount are answered by the system alone."""
    child = run(f"import os, sys; os.path.exists({path!r}); print('vfsoverlay._api' in sys.modules)")
    assert child.out == "False", child
