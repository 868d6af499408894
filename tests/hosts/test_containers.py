"""Mounts in containers as platforms run them: no user name, no capability, nothing writable but a small /tmp."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vfsoverlay import errors
from vfsoverlay._children import STARTUP
from vfsoverlay.testing import S3Server
from vfsoverlay.testing.sample import sample_server

HERE = Path(__file__).parent
SCRIPT = str(HERE / "container.sh")
PROGRAM = str(HERE / "contained_program.py")
PACKAGE = Path(errors.__file__).parent

#: What a program needs in its root; those of them that are there.
DIRECTORIES = ("/bin", "/etc", "/lib", "/lib64", "/usr", sys.base_prefix, sys.prefix, str(PACKAGE), str(HERE))

Run = Callable[..., subprocess.CompletedProcess[str]]

MIB = 1024**2


def _container(root: Path, *words: str, tmp: str = "mode=1777,size=16m", **variables: str) -> list[str]:
    directories = [directory for directory in DIRECTORIES if Path(directory).is_dir()]
    environment = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
    return ["unshare", "--mount", "sh", SCRIPT, str(root), tmp, *directories, "--", *environment, *words]


@pytest.fixture(scope="module")
def _needs_containers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where this machine cannot make one."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        pytest.skip("a container is made by root, with unshare, setpriv and chroot")
    if any(f"{directory}/".startswith("/tmp/") for directory in DIRECTORIES):
        pytest.skip("the package or the interpreter lies below /tmp, where the container has a disk of its own")
    words = _container(tmp_path_factory.mktemp("root"), sys.executable, "-c", "import vfsoverlay")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip(f"this machine makes no containers: {done.stderr.strip()}")


@pytest.fixture
def server() -> Iterator[S3Server]:
    """A server with the sample bucket."""
    with sample_server() as server:
        yield server


@pytest.fixture
def run(_needs_containers: None, server: S3Server, tmp_path: Path) -> Run:
    """Runs Python code, or the words of a command, in a container."""

    def run_inside(*words: str, tmp: str = "mode=1777,size=16m", **variables: str) -> subprocess.CompletedProcess[str]:
        arguments = ("-W", "error", "-c", *words) if len(words) == 1 else words
        variables = {"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin", **server.environment(), **variables}
        command = _container(tmp_path, sys.executable, *arguments, tmp=tmp, **variables)
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run_inside


BEGINNING = '{"date": "2012-01-01"'


def test_everything_works_in_a_restricted_container(run: Run) -> None:
    """A user without name, home and capabilities, on a read-only root with a small /tmp, has mounts like others."""
    done = run("-u", "-W", "error", PROGRAM)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "user 65533 cannot write to /: Read-only file system",
        "cache: /tmp/vfsoverlay-65533",
        "['esRedditJson', 'weather'] of user 65533",
        f"program reads {BEGINNING}",
        "mapped: True",
        "local copy: True",
        "warm: 6",
        "relative: True",
        f"child reads {BEGINNING}",
        f"fork reads {BEGINNING}",
        f"spawn reads {BEGINNING}",
    ]


@pytest.mark.parametrize(
    ("variables", "cache"),
    [
        ({"HOME": "/nowhere"}, "/tmp/vfsoverlay-65533"),
        ({"HOME": "/"}, "/tmp/vfsoverlay-65533"),
        ({"HOME": "/tmp"}, "/tmp/.cache/vfsoverlay"),
        ({"XDG_CACHE_HOME": "/etc"}, "/tmp/vfsoverlay-65533"),
        ({"TMPDIR": "/nowhere"}, "/tmp/vfsoverlay-65533"),
        ({"VFSOVERLAY_CACHE_DIR": "/tmp/mine"}, "/tmp/mine"),
    ],
    ids=["no home", "home is not mine", "home", "no XDG cache home", "no TMPDIR", "told"],
)
def test_the_cache_lies_where_it_can_be_written(variables: dict[str, str], cache: str, run: Run) -> None:
    """The cache directory is the one that is told, else the first of the usual ones that can be written."""
    done = run("from vfsoverlay._vfs.cache_directory import choose; print(choose(None))", **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{cache}\n", "")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "no writable cache directory: tried /tmp/vfsoverlay-65533 (the cache directory cannot be used: "),
        ({"VFSOVERLAY_CACHE_DIR": "/etc/mine"}, "set cache_dir= or $VFSOVERLAY_CACHE_DIR to a directory that can be"),
    ],
    ids=["nothing is writable", "told a wrong one"],
)
def test_without_a_cache_directory_the_error_says_what_to_set(
    variables: dict[str, str], message: str, run: Run
) -> None:
    """Where no cache directory can be written, mount() names those it tried and the variable to set."""
    code = "import vfsoverlay; vfsoverlay.mount('s3://ryft-public-sample-data/', '/data')"
    done = run(code, tmp="mode=755", **variables)
    assert done.returncode == 1
    assert message in done.stderr
    assert "$VFSOVERLAY_CACHE_DIR" in done.stderr


def test_an_object_larger_than_tmp_is_read(server: S3Server, run: Run) -> None:
    """A small /tmp bounds the cache, not what can be read: a larger object is read through, with one warning."""
    server.put("ryft-public-sample-data", "large", bytes(range(256)) * (24 * MIB // 256))
    code = """if True:
        import hashlib, os, vfsoverlay
        vfsoverlay.mount("s3://ryft-public-sample-data/", "/data")
        size, digest = 0, hashlib.md5()
        with open("/data/large", "rb") as file:
            while piece := file.read(1 << 20):
                size += len(piece)
                digest.update(piece)
        print(size >> 20, digest.hexdigest() == hashlib.md5(bytes(range(256)) * (size // 256)).hexdigest())
        try:
            os.open("/data/large", os.O_RDONLY)
        except OSError as error:
            print(error.errno, error.filename)
    """
    done = run(code)
    assert done.returncode == 0
    # A warning says so, once.
    assert [line.partition(" /")[0] for line in done.stderr.splitlines()] == ["no room in the cache"]
    assert done.stdout == f"24 True\n{errno.ENOSPC} /data/large\n"


def test_the_command_line_is_an_entry_point(run: Run) -> None:
    """The command run mounts and becomes the program, in a container as anywhere."""
    mount = "s3://ryft-public-sample-data/:/data"
    done = run("-m", "vfsoverlay", "run", "--mount", mount, "--", "-c", "import os; print(os.listdir('/data'))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "['esRedditJson', 'weather']\n", "")


def test_the_environment_is_enough(run: Run) -> None:
    """With the command run as entry point, $VFSOVERLAY_MOUNTS says what is mounted, for a program and its children."""
    mounts = json.dumps([{"source": "s3://ryft-public-sample-data/weather/", "root_dir": "/data"}])
    code = (
        "import os, subprocess, sys; print(os.listdir('/data'), flush=True); "
        "sys.exit(subprocess.call([sys.executable, '-c', 'import os; print(len(os.listdir(\"/data\")))']))"
    )
    done = run("-m", "vfsoverlay", "run", "--", "-c", code, VFSOVERLAY_MOUNTS=mounts)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['san-francisco-2010.csv', 'seattle-2010.csv']\n2\n"


#: What is wrong with a VFSOVERLAY_MOUNTS written by hand, and what is said about it.
WRONG = {
    "[{": "$VFSOVERLAY_MOUNTS is no JSON (",
    '{"source": "s3://bucket/"}': "$VFSOVERLAY_MOUNTS is no JSON list of mounts; write a list such as [{",
    '["s3://bucket/"]': "$VFSOVERLAY_MOUNTS is no JSON list of mounts",
    '[{"source": "s3://bucket"}]': "$VFSOVERLAY_MOUNTS, entry 1: S3 mounts must end in a trailing slash",
    '[{"source": "s3://bucket/"}, {"source": "s3://bucket/", "rootdir": "/x"}]': "$VFSOVERLAY_MOUNTS, entry 2: mount()",
}


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_environment_is_told(value: str) -> None:
    """A VFSOVERLAY_MOUNTS that is no list of mounts ends the command run with exit code 2 and says what is wrong."""
    words = [sys.executable, "-m", "vfsoverlay", "run", "--", "-c", "print('ran')"]
    environment = {**os.environ, "VFSOVERLAY_MOUNTS": value}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert WRONG[value] in done.stderr


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_environment_is_told_at_the_start(value: str) -> None:
    """Where only the start-up hook reads a wrong VFSOVERLAY_MOUNTS, one line says so, and the program goes on."""
    environment = {**os.environ, "VFSOVERLAY_MOUNTS": value, "PYTHONPATH": STARTUP}
    words = [sys.executable, "-c", "import sys; print('ran'); sys.exit(5)"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "ran\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vfsoverlay: {WRONG[value]}")
    assert line.endswith("; nothing is mounted in this process")
