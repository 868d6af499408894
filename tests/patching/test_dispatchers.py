"""The dispatchers in C: foreign calls go by without us, all others are answered as in Python, and nothing leaks."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay import _real
from vfsoverlay._patch import quick
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay.testing import S3Server

ROOT = "/content/dispatched"
#: All that is written in C.
MODULES = {
    "vfsoverlay._cache._pinned",
    "vfsoverlay._cache._small",
    "vfsoverlay._namespace._groups",
    "vfsoverlay._patch._dispatch",
    "vfsoverlay._store._entries",
    "vfsoverlay._untracked",
    "vfsoverlay._vfs._statuses",
}
compiled = pytest.mark.skipif(quick._COMPILED is None, reason="the dispatchers are not compiled, or not wanted")


@pytest.fixture(scope="module")
def mounted() -> Iterator[str]:
    with S3Server() as server:
        server.create_bucket("data", public=True)
        server.put("data", "dir/file.txt", b"content")
        with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
            yield ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mounted: str) -> str:
    """A directory on disk with a file, a directory, and a link that leads into the mount."""
    path = tmp_path_factory.mktemp("disk")
    (path / "file").write_text("here")
    (path / "sub").mkdir()
    (path / "link").symlink_to(f"{mounted}/dir")
    return str(path)


def frames_of_ours(call: Callable[[], Any]) -> int:
    """How many functions of this package *call* enters."""
    entered = 0

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal entered
        entered += event == "call" and "vfsoverlay/_" in frame.f_code.co_filename

    sys.setprofile(profile)
    try:
        call()
    except OSError:
        pass
    finally:
        sys.setprofile(None)
    return entered


class Spelled:
    """A path that counts how often it is asked."""

    def __init__(self, path: Any) -> None:
        self.path = path
        self.asked = 0

    def __fspath__(self) -> Any:
        self.asked += 1
        return self.path


FOREIGN: dict[str, Callable[[str], Any]] = {
    "stat": lambda folder: os.stat(f"{folder}/file"),
    "stat of bytes": lambda folder: os.stat(os.fsencode(f"{folder}/file")),
    "stat of an object": lambda folder: os.stat(Spelled(f"{folder}/file")),
    "stat of a link": lambda folder: os.stat(f"{folder}/link", follow_symlinks=False),
    "stat of a descriptor": lambda folder: os.stat(0),
    "stat of nothing": lambda folder: os.stat(f"{folder}/missing"),
    "lstat": lambda folder: os.lstat(f"{folder}/link"),
    "fstat": lambda folder: os.fstat(0),
    "access": lambda folder: os.access(f"{folder}/file", os.R_OK),
    "access to nothing": lambda folder: os.access(f"{folder}/missing", os.R_OK),
    "readlink": lambda folder: os.readlink(f"{folder}/link"),
    "open": lambda folder: open(f"{folder}/file").close(),
    "open by keywords": lambda folder: open(f"{folder}/file", mode="rb", buffering=0).close(),
    "open of nothing": lambda folder: open(f"{folder}/missing", encoding="utf-8"),
    "os.open": lambda folder: os.close(os.open(f"{folder}/file", os.O_RDONLY)),
    "listdir": lambda folder: os.listdir(f"{folder}/sub"),
    "scandir": lambda folder: os.scandir(f"{folder}/sub").close(),
    "mkdir of what is there": lambda folder: os.mkdir(f"{folder}/file"),
    "chmod": lambda folder: os.chmod(f"{folder}/file", 0o600),
    "unlink of nothing": lambda folder: os.unlink(f"{folder}/missing"),
    "getcwd": lambda folder: os.getcwd(),
}


@compiled
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_call_enters_no_function_of_ours(name: str, folder: str) -> None:
    """A call that no mount is meant by goes to the original without a step of ours in Python."""
    assert frames_of_ours(lambda: FOREIGN[name](folder)) == 0


DOUBTFUL: dict[str, tuple[Callable[[str], Any], Any]] = {
    "a path below the mount": (lambda folder: os.stat(f"{ROOT}/dir/file.txt").st_size, 7),
    "as bytes": (lambda folder: os.stat(os.fsencode(f"{ROOT}/dir/file.txt")).st_size, 7),
    "as an object": (lambda folder: os.stat(Spelled(f"{ROOT}/dir/file.txt")).st_size, 7),
    "by keyword": (lambda folder: os.stat(path=f"{ROOT}/dir/file.txt").st_size, 7),
    "through a link": (lambda folder: os.stat(f"{folder}/link/file.txt").st_size, 7),
    "through a link, as bytes": (lambda folder: os.stat(os.fsencode(f"{folder}/link/file.txt")).st_size, 7),
    "through a link, as an object": (lambda folder: os.stat(Spelled(f"{folder}/link/file.txt")).st_size, 7),
    "a link itself": (lambda folder: os.stat(f"{folder}/link").st_nlink, 2),
    "access through a link": (lambda folder: os.access(f"{folder}/link/file.txt", os.R_OK), True),
    "listing through a link": (lambda folder: os.listdir(f"{folder}/link"), ["file.txt"]),
    "reading through a link": (lambda folder: Path(f"{folder}/link/file.txt").read_text(), "content"),
    "a parent of the mount": (lambda folder: "dispatched" in os.listdir("/content"), True),
    "the root": (lambda folder: "content" in os.listdir("/"), True),
    "a directory that leads there": (lambda folder: os.access("/content", os.X_OK), True),
    "back from there": (lambda folder: os.stat(f"/content/..{folder}/file").st_size, 4),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_may_be_meant_is_asked_for(name: str, folder: str) -> None:
    """However a call spells what lies on a mount, it is answered."""
    call, answer = DOUBTFUL[name]
    assert call(folder) == answer


@pytest.mark.parametrize("path", ["file", "link/file.txt"])
def test_an_object_is_asked_for_its_path_once(path: str, folder: str) -> None:
    """``__fspath__`` of an argument runs once, as with the original, wherever it leads."""
    spelled = Spelled(f"{folder}/{path}")
    os.stat(spelled)
    assert spelled.asked == 1
    within = Spelled(f"{ROOT}/dir/file.txt")
    open(within).close()
    assert within.asked == 1


def test_a_type_error_of_a_path_is_its_own() -> None:
    """What the ``__fspath__`` of an argument raises is no sign that there is none: it arrives, after one call."""

    class Broken(Spelled):
        def __fspath__(self) -> Any:
            return super().__fspath__() + 1

    for call in (os.stat, os.listdir, open):
        broken = Broken("text")
        with pytest.raises(TypeError, match="concatenate"):
            call(broken)
        assert broken.asked == 1


class Without:
    """What takes back that it is a path."""

    __fspath__ = None


@pytest.mark.parametrize("name", ["stat", "open", "listdir", "scandir", "access", "readlink", "unlink"])
def test_an_object_without_a_path_is_the_originals_to_refuse(name: str) -> None:
    """An object that has no path, or says None for it, is refused in the interpreter's own words."""
    arguments = {"open": (os.O_RDONLY,), "access": (os.R_OK,)}.get(name, ())
    for thing in (Without(), object(), Spelled(1.5)):
        said = []
        for function in (getattr(os, name), getattr(_real, name)):
            with pytest.raises(TypeError) as error:
                function(thing, *arguments)
            said.append(str(error.value))
        assert said[0] == said[1]


@pytest.mark.parametrize("path", ["/dev/null/x", "missing", "missing/x", "sub/../missing"])
@pytest.mark.parametrize("name", ["stat", "listdir", "scandir", "readlink", "unlink", "chdir"])
def test_foreign_errors_are_the_originals(name: str, path: str, folder: str) -> None:
    """An error of a foreign call has the original's class, arguments and filename, and the caller's context."""
    caught = []
    for function in (getattr(os, name), getattr(_real, name)):
        spelled = os.path.join(folder, path)
        with pytest.raises(OSError) as error:
            try:
                raise KeyError
            except KeyError:
                function(spelled)
        assert type(error.value.__context__) is KeyError
        caught.append((type(error.value), error.value.args, error.value.filename))
    assert caught[0] == caught[1]


@pytest.mark.parametrize(
    "arguments",
    [((), {}), ((1.5,), {}), (("x", 1), {}), (("x",), {"nonsense": 1}), ((None,), {}), (("a\0b",), {}), ((-1,), {})],
    ids=repr,
)
def test_wrong_arguments_are_refused(arguments: Any, mounted: str) -> None:
    """What the original refuses is refused with the same class of error."""
    kinds = []
    for function in (os.stat, _real.stat):
        with pytest.raises((TypeError, ValueError, OSError)) as error:
            function(*arguments[0], **arguments[1])
        kinds.append(type(error.value))
    assert kinds[0] is kinds[1]


@compiled
def test_a_dispatcher_in_a_cycle_is_collected() -> None:
    """The garbage collector sees through a dispatcher, and one that it has cleared still calls the original."""

    class Handler(Replacement):
        __slots__ = ("own",)
        rule = quick.DESCRIPTOR

        def __call__(self, value: Any) -> Any:
            return value

    handler: Any = Handler(_real.fstat, "os:fstat")
    handler.own = made = quick.dispatched(handler)
    gone = weakref.ref(made)
    assert gone() is made
    del handler, made
    gc.collect()
    assert gone() is None


@compiled
def test_nothing_is_kept_by_a_hundred_thousand_calls(folder: str) -> None:
    """Calls of all kinds leave no reference behind: not to arguments, not to errors, not to answers."""
    paths: list[Any] = [f"{folder}/file", os.fsencode(f"{folder}/file"), Spelled(f"{folder}/file")]
    paths += [f"{folder}/missing", f"{folder}/missing/x", f"{folder}/link/file.txt", f"{ROOT}/dir/file.txt", 0, 1.5]
    keyword = {"follow_symlinks": True}

    def attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            call(*args, **kwargs)
        except (OSError, TypeError):
            pass

    def run(times: int) -> None:
        for _ in range(times):
            for path in paths:
                attempt(os.stat, path)
                attempt(os.stat, path, **keyword)
                attempt(os.access, path, os.R_OK)
                attempt(os.listdir, path)

    run(50)
    gc.collect()
    blocks, counts = sys.getallocatedblocks(), [sys.getrefcount(path) for path in paths[:7]]
    run(2800)
    gc.collect()
    assert [sys.getrefcount(path) for path in paths[:7]] == counts
    assert sys.getallocatedblocks() - blocks < 2000


def test_threads_call_while_mounts_come_and_go(folder: str) -> None:
    """Other threads' calls on disk are right at any moment at which a mount begins or ends."""
    done = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        try:
            while not done.is_set():
                if os.stat(f"{folder}/file").st_size != 4 or os.path.exists(f"{folder}/missing"):
                    wrong.append("an answer")
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    with S3Server() as server:
        server.create_bucket("other", public=True)
        server.put("other", "x", b"")
        for _ in range(4):
            for root in ("/content/other", f"{folder}/sub", "/elsewhere"):
                with vfsoverlay.mount("s3://other/", root, **server.mount_options()):
                    assert os.listdir(root) == ["x"]
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_pure_python_can_be_chosen() -> None:
    """With VFSOVERLAY_PURE nothing that is written in C is loaded."""
    script = (
        "import sys, vfsoverlay._patch.quick as q, vfsoverlay._store.list_parser, vfsoverlay._vfs.attributes as a; "
        f"print(q._COMPILED, a._COMPILED, *{MODULES}.intersection(sys.modules))"
    )
    environment = {**os.environ, "VFSOVERLAY_PURE": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "None None\n"


@pytest.mark.skipif("TESTS_ON_WHEEL" not in os.environ, reason="a checkout has no dispatchers unless one builds them")
def test_the_wheel_has_what_can_be_compiled() -> None:
    """Where there is a compiler and the headers of Python, the wheel has all that is written in C."""
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    script = f"import {','.join(MODULES)}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode == 0) == (headers and shutil.which("cc") is not None)
