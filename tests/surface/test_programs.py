"""Programs that are started with paths below a mount are given complete local copies."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.surface.conftest import ROOT, Mounted
from vfsoverlay import _real
from vfsoverlay._vfs import script_start
from vfsoverlay._vfs.local_tree import MAX_NAMES
from vfsoverlay.testing import S3Server

FILES = {
    "text.txt": b"content\n",
    "dir/a.txt": b"in a directory\n",
    "dir/deep/b.txt": b"deep\n",
    "tool.sh": b"#!/bin/sh\nprintf 'tool:%s' \"$1\"\n",
}


def output(*words: Any, **options: Any) -> str:
    return str(subprocess.run(words, capture_output=True, text=True, check=True, **options).stdout)


@pytest.mark.parametrize("convert", [str, os.fsencode, Path])
@pytest.mark.parametrize("close_fds", [True, False])
def test_arguments(convert: Callable[[str], Any], close_fds: bool, mounted: Mounted) -> None:
    """A program reads what it is told by the path below a mount, whatever type it has and however it is started."""
    mounted(FILES)
    assert output("/bin/cat", convert(f"{ROOT}/text.txt"), close_fds=close_fds) == "content\n"


def test_names_keep_their_end(mounted: Mounted) -> None:
    """The copy has the file's own name, since programs look at extensions."""
    mounted(FILES)
    assert output("basename", f"{ROOT}/text.txt") == "text.txt\n"


def test_other_arguments_are_left_alone(mounted: Mounted) -> None:
    """Arguments that are no file of a mount reach the program as they are."""
    mounted(FILES)
    words = ["-x", f"{ROOT}", f"{ROOT}/missing", f"{ROOT}/text.txt/", f"--file={ROOT}/text.txt", "text.txt", "", "é"]
    assert output("printf", "%s\\n", *words).splitlines() == words
    with pytest.raises(TypeError):
        subprocess.run(["true", 1], check=False)  # type: ignore[list-item]


def run_exec(call: str, *arguments: Any) -> str:
    """The output of a child of ours that becomes another program."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.dup2(writer, 1)
            getattr(os, call)(*arguments)
        finally:
            os._exit(9)
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:
        text = stream.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


@pytest.mark.parametrize("call", ["execv", "execve", "execl", "execvp"])
def test_becoming_a_program(call: str, mounted: Mounted) -> None:
    """``os.exec*`` replaces arguments below a mount as well."""
    mounted(FILES)
    words = ["cat", f"{ROOT}/text.txt"]
    arguments: Any = {"execl": ("/bin/cat", *words), "execve": ("/bin/cat", words, {})}.get(call, ("/bin/cat", words))
    assert run_exec(call, *arguments) == "content\n"


@pytest.mark.parametrize("call", ["posix_spawn", "posix_spawnp"])
def test_spawning(call: str, mounted: Mounted) -> None:
    """``os.posix_spawn`` replaces arguments below a mount."""
    mounted(FILES)
    reader, writer = os.pipe()
    pid = getattr(os, call)(
        "/bin/cat", ("cat", f"{ROOT}/text.txt"), {}, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)]
    )
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:
        assert stream.read() == "content\n"
    assert os.waitpid(pid, 0)[1] == 0


def test_a_program_on_the_mount(mounted: Mounted) -> None:
    """A program below a mount is run, if its mode says that it may be."""
    mounted(FILES, file_mode=0o555)
    assert output(f"{ROOT}/tool.sh", "x") == "tool:x"
    assert output(f"{ROOT}/tool.sh", "again") == "tool:again"
    assert output("name", "x", executable=f"{ROOT}/tool.sh") == "tool:x"


REFUSED = [("tool.sh", errno.EACCES), ("dir", errno.EACCES), ("missing", errno.ENOENT)]


@pytest.mark.parametrize(("path", "code"), REFUSED)
def test_a_program_that_cannot_be_run(path: str, code: int, mounted: Mounted) -> None:
    """What has no permission to run, or is no program, is refused under the caller's name."""
    mounted(FILES)
    program = f"{ROOT}/{path}"
    for call in (
        lambda: subprocess.run([program], check=False),
        lambda: os.posix_spawn(program, [program], {}),
        lambda: os.execve(path=program, argv=[program], env={}),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert (caught.value.errno, caught.value.filename) == (code, program)


def test_a_script_of_python(mounted: Mounted) -> None:
    """A script below a mount is run by the interpreter."""
    mounted({"script.py": b"import sys; print(sys.argv[1:])\n"})
    assert output(sys.executable, f"{ROOT}/script.py", "a") == "['a']\n"


SCRIPT = b"""
import os, sys
import neighbour
print(__name__, __file__, sys.argv, sys.path[0], neighbour.__file__)
with open(os.path.join(os.path.dirname(__file__), "data.txt")) as file:
    print(file.read())
def fail():
    raise ValueError("on purpose")
fail()
"""


@pytest.mark.parametrize("options", [(), ("-B", "-W", "error", "-Xdev"), ("-Werror",)])
def test_a_script_beside_its_neighbours(options: tuple[str, ...], mounted: Mounted) -> None:
    """A script of Python below a mount finds itself, its modules and its data there, and no traceback shows a copy."""
    mounted({"code/run.py": SCRIPT, "code/neighbour.py": b"", "code/data.txt": b"data"})
    path = f"{ROOT}/code/run.py"
    done = subprocess.run([sys.executable, *options, path, "-x"], capture_output=True, text=True, check=False)
    told = f"__main__ {path} {[path, '-x']} {ROOT}/code {ROOT}/code/neighbour.py\ndata\n"
    assert (done.returncode, done.stdout) == (1, told)
    assert [line.split(",")[0] for line in done.stderr.splitlines() if "File" in line] == [f'  File "{path}"'] * 2


def test_a_script_named_from_its_directory(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that is named from a working directory below a mount finds its neighbours as well."""
    mounted({"code/run.py": b"import neighbour; print(__file__)", "code/neighbour.py": b""})
    told = f"{ROOT}/code/run.py\n"
    assert output(sys.executable, "run.py", cwd=f"{ROOT}/code") == told
    monkeypatch.chdir(f"{ROOT}/code")
    assert output(sys.executable, "-B", "run.py") == told
    assert output(sys.executable, "../code/run.py", cwd=os.fsencode(ROOT) + b"/code").endswith("run.py\n")
    with pytest.raises(subprocess.CalledProcessError):
        output(sys.executable, "missing.py")


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_a_script_without_mounts(option: str, mounted: Mounted) -> None:
    """Where the interpreter is told to keep mounts away, the script itself is run all the same."""
    mounted({"run.py": b"import sys; print(__name__, sys.argv[1:])"})
    assert output(sys.executable, option, f"{ROOT}/run.py", "x") == "__main__ ['x']\n"


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["python", "a.py"], 1),
        (["/usr/bin/python3.11", "-u", "-X", "dev", "-Wignore", "a.py", "b.py"], 5),
        (["python3", "--check-hash-based-pycs", "never", "a.py"], 3),
        (["python", "-m", "a.py"], None),
        (["python", "-Bc", "a.py"], None),
        (["python", "-Xfaulthandler=m", "a.py"], 2),
        (["python", "-", "a.py"], None),
        (["python", "-V"], None),
        (["cat", "a.py"], None),
        (["python", 5], None),
        ([], None),
    ],
)
def test_the_script_among_the_arguments(words: list[Any], place: int | None) -> None:
    """The first argument of an interpreter that is no option is its script, unless it runs a module or code."""
    assert script_start.position(words) == place


@pytest.mark.parametrize(
    "spelling", [f"{ROOT}/dir", f"{ROOT}/dir/", f"{ROOT}/./dir/deep/..", os.fsencode(ROOT) + b"/dir"]
)
def test_working_directories(spelling: Any, mounted: Mounted) -> None:
    """A program starts in a directory below a mount and finds what is in it by relative names."""
    mounted(FILES)
    assert output("sh", "-c", "cat a.txt deep/b.txt; ls", cwd=spelling) == "in a directory\ndeep\na.txt\ndeep\n"


def test_the_mount_point_as_working_directory(mounted: Mounted) -> None:
    """A program starts in the mount point itself."""
    mounted(FILES)
    assert output("find", ".", "-name", "*.txt", cwd=ROOT).count("\n") == 3


def test_the_working_directory_of_the_parent(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is told nothing starts in the working directory of its parent, below a mount as well."""
    mounted(FILES)
    monkeypatch.chdir(f"{ROOT}/dir")
    assert output("cat", "a.txt") == "in a directory\n"


def test_workers_fetch_no_working_directory(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of multiprocessing are in the working directory of their parent, and nothing is fetched for that."""
    point = mounted(FILES)
    monkeypatch.chdir(f"{ROOT}/dir")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(os.getcwd) == f"{ROOT}/dir"
        assert pool.apply(os.listdir) == ["a.txt", "deep"]
    assert "requests.read" not in point.metrics()


@pytest.mark.parametrize(("path", "code"), [("missing", errno.ENOENT), ("text.txt", errno.ENOTDIR)])
def test_no_working_directory(path: str, code: int, mounted: Mounted) -> None:
    """What is no directory is refused as the kernel refuses it, under the caller's name."""
    mounted(FILES)
    with pytest.raises(OSError) as caught:
        subprocess.run(["true"], cwd=f"{ROOT}/{path}", check=False)
    assert (caught.value.errno, caught.value.filename) == (code, f"{ROOT}/{path}")


def test_a_large_working_directory(
    mounted: Mounted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory with too much below it is refused with the reason; where it is only inherited, that is logged."""
    mounted({f"many/{number}": b"x" for number in range(MAX_NAMES + 1)})
    with pytest.raises(OSError, match=f"more than {MAX_NAMES} names") as caught:
        subprocess.run(["true"], cwd=f"{ROOT}/many", check=False)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOTSUP, f"{ROOT}/many")
    monkeypatch.chdir(f"{ROOT}/many")
    with caplog.at_level(logging.WARNING, "vfsoverlay"):
        assert output("ls") == ""
    assert f"{ROOT}/many" in caplog.text


def test_a_directory_of_a_parent(mounted: Mounted, tmp_path: Path) -> None:
    """A directory that is not on disk, and only leads to a mount, is refused with the reason."""
    mounted(FILES, f"{tmp_path}/nowhere/data")
    with pytest.raises(OSError, match="only leads to mount points"):
        subprocess.run(["true"], cwd=f"{tmp_path}/nowhere", check=False)


def test_a_changed_file_is_given_anew(mounted: Mounted, server: S3Server) -> None:
    """After ``refresh()`` programs see the new content, in arguments and in working directories."""
    point = mounted(FILES)
    assert output("cat", "a.txt", cwd=f"{ROOT}/dir") == "in a directory\n"
    server.put("data", "dir/a.txt", b"changed\n")
    point.refresh()
    assert output("cat", f"{ROOT}/dir/a.txt") == "changed\n"
    assert output("cat", "a.txt", cwd=f"{ROOT}/dir") == "changed\n"


def test_a_program_that_replaces_its_argument(mounted: Mounted) -> None:
    """A program that puts a file in the place of its argument changes nothing for the next one."""
    mounted(FILES)
    assert output("sh", "-c", 'echo changed > "$0.new" && mv -f "$0.new" "$0"', f"{ROOT}/text.txt") == ""
    assert output("cat", f"{ROOT}/text.txt") == "content\n"
    assert Path(ROOT, "text.txt").read_bytes() == b"content\n"


def test_few_copies_stay_open(mounted: Mounted) -> None:
    """Many started programs do not use up the descriptors."""
    mounted({f"f{number}": b"%d" % number for number in range(300)})
    names = [f"{ROOT}/f{number}" for number in range(300)]
    before = open_objects()
    assert output("cat", *names) == "".join(str(number) for number in range(300))
    assert 0 < len(open_objects() - before) <= 256


def open_objects() -> set[str]:
    """The descriptors of cached objects that this process has; not those of sockets, which come and go."""
    links = {f"/proc/self/fd/{number}" for number in _real.listdir("/proc/self/fd")}
    return {link for link in links if os.path.lexists(link) and os.readlink(link).endswith(".data")}
