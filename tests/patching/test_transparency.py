"""What stands in for the builtins cannot be told from them, outside the mount, and leaves no trace behind."""

# ruff: noqa: E501 - tables read better in long lines

from __future__ import annotations

import builtins
import copy
import functools
import inspect
import io
import os
import pickle
import posix
import subprocess
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay import _real
from vfsoverlay._patch.patched_names import PATCHED_NAMES
from vfsoverlay.testing import S3Server

ORIGINALS = {
    (module, row.name): getattr(sys.modules[module], row.name)
    for row in PATCHED_NAMES
    for module in row.modules
    if hasattr(sys.modules.get(module), row.name)  # some are replaced only where a program has imported them
}
SETS = {
    name: getattr(os, name)
    for name in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks", "supports_effective_ids")
}
MEMBERS = {
    name: [getattr(os, row.name) in members for row in PATCHED_NAMES if hasattr(os, row.name)]
    for name, members in SETS.items()
}
early_stat = os.stat


class Holder:
    """Has builtins as class attributes, as old pathlib and tempfile do."""

    stat = os.stat
    open = io.open


@contextmanager
def a_mount(cache: Path) -> Iterator[str]:
    with S3Server() as server:
        server.create_bucket("data", public=True)
        server.put("data", "dir/file.txt", b"content")
        with vfsoverlay.mount("s3://data/", "/content/data", cache_dir=str(cache), **server.mount_options()):
            yield "/content/data"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[str]:
    with a_mount(tmp_path / "cache") as root:
        yield root


@pytest.fixture(scope="class")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_mount(tmp_path_factory.mktemp("cache")) as root:
        yield root


ERRORS: list[tuple[Any, ...]] = [
    ("stat", "missing"), ("lstat", "missing"), ("listdir", "missing"), ("scandir", "missing"), ("open", "missing", os.O_RDONLY),
    ("readlink", "dir/file.txt"), ("mkdir", "dir"), ("unlink", "dir/file.txt"), ("chmod", "dir", 0), ("truncate", "dir/file.txt", 0),
    ("chdir", "missing"), ("statvfs", "missing"), ("getxattr", "dir", "user.x"), ("rename", "dir", "/content/data/x"),
]  # fmt: skip

EVENTS: list[tuple[Any, ...]] = [
    ("listdir", "dir"), ("scandir", "dir"), ("open", "dir/file.txt", os.O_RDONLY), ("mkdir", "dir"), ("rmdir", "dir"), ("remove", "dir"),
    ("chmod", "dir", 0o600), ("truncate", "dir/file.txt", 0), ("rename", "dir", "/content/data/x"), ("listxattr", "dir"),
    ("getxattr", "dir", "user.x"), ("utime", "dir"), ("chown", "dir", 0, 0), ("listdir", "missing/x"), ("symlink", "x", "/content/data/y"),
]  # fmt: skip
_seen: list[tuple[Any, ...]] | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _seen is not None and event.startswith(("os.", "open")) and any("/content/data" in str(arg) for arg in args):
        _seen.append((event, *args))


@functools.cache
def _add_hook() -> None:
    """Only where it is needed, since an audit hook is never removed."""
    sys.addaudithook(_hook)


class TestOneMount:
    """What leaves a mount as it is: one serves them all, since to patch a process with many modules takes its time."""

    @pytest.mark.parametrize("place", ORIGINALS, ids=":".join)
    def test_a_replacement_looks_like_the_original(self, place: tuple[str, str], shared: str) -> None:
        """Signature, name, documentation, repr, equality, hash, pickles and copies are those of the original."""
        original = ORIGINALS[place]
        ours = getattr(sys.modules[place[0]], place[1])
        assert ours is not original
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__text_signature__", "__self__"):
            assert getattr(ours, attribute) == getattr(original, attribute)
        assert inspect.isbuiltin(ours)
        assert isinstance(ours, types.BuiltinFunctionType)
        assert callable(ours)
        assert repr(ours) == repr(original)
        assert ours == original
        assert hash(ours) == hash(original)
        assert pickle.loads(pickle.dumps(ours)) is getattr(sys.modules[place[0]], place[1])
        assert copy.copy(ours) is ours
        assert copy.deepcopy(ours) is ours
        try:
            signature = inspect.signature(original)
        except ValueError:
            return
        assert inspect.signature(ours) == signature

    @pytest.mark.parametrize("name", SETS)
    def test_membership_in_supports_sets_stays(self, name: str, shared: str) -> None:
        """``os.stat in os.supports_dir_fd`` and its like stay what they were."""
        now = [getattr(os, row.name) in getattr(os, name) for row in PATCHED_NAMES if hasattr(os, row.name)]
        assert now == MEMBERS[name]

    @pytest.mark.parametrize("call", ERRORS, ids=lambda call: call[0])
    def test_errors_show_one_frame_of_ours(self, call: tuple[Any, ...], shared: str) -> None:
        """An exception has at most one frame of ours in its traceback, no cause, and the caller's context."""
        name, path, *rest = call
        context = KeyError("the caller's")
        with pytest.raises(OSError) as caught:
            try:
                raise context
            except KeyError:
                getattr(os, name)(f"{shared}/{path}", *rest)
        frames = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert sum("vfsoverlay/_" in filename for filename in frames) <= 1
        assert caught.value.__context__ is context
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize("call", EVENTS, ids=lambda call: f"{call[0]} {call[1]}")
    def test_one_audit_event_a_call(self, call: tuple[Any, ...], shared: str) -> None:
        """Each call raises the audit event of the original once, with the caller's own arguments, also when it fails."""
        global _seen
        _add_hook()
        name, path, *rest = call
        arguments = (f"{shared}/{path}", *rest)
        answers = []
        for function in (getattr(os, name), ORIGINALS["posix", name]):
            _seen = []
            try:
                result = function(*arguments)
                if name == "open":
                    os.close(result)
                if name == "scandir":
                    result.close()
            except OSError:
                pass
            answers.append(_seen)
            _seen = None
        assert answers[0] == answers[1]
        assert len(answers[0]) == 1


def test_class_attributes_do_not_bind(mounted: str) -> None:
    """A builtin kept as class attribute before the mount is served, and gets no ``self``."""
    # For mypy they would bind, as functions written in Python do.
    holder: Any = Holder()
    assert holder.stat(f"{mounted}/dir/file.txt").st_size == 7
    with holder.open(f"{mounted}/dir/file.txt") as file:
        assert file.read() == "content"


def test_early_bound_names_are_served(mounted: str) -> None:
    """A function imported by name before the mount sees it as well."""
    assert early_stat(f"{mounted}/dir/file.txt").st_size == 7


@pytest.mark.parametrize("order", [1, -1])
def test_everything_is_undone(order: int, tmp_path: Path) -> None:
    """After the last unmount, in any order, every name holds the very original again."""
    with S3Server() as server:
        server.create_bucket("data", public=True)
        points = [
            vfsoverlay.mount("s3://data/", f"{tmp_path}/{name}", **server.mount_options())
            for name in ("one", "two", "three")
        ]
        for point in points[::order]:
            point.unmount()
    for (module, name), original in ORIGINALS.items():
        assert getattr(sys.modules[module], name) is original
    assert Holder.__dict__["stat"] is ORIGINALS["os", "stat"]
    assert early_stat is ORIGINALS["os", "stat"]


def test_a_wrapper_over_ours_stays(mounted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody put over our replacement stays theirs after the unmount, and ours below passes all through."""
    ours = os.stat

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    monkeypatch.setattr(os, "stat", wrapper)
    vfsoverlay.unmount(mounted)
    assert os.stat is wrapper
    assert os.stat("/").st_ino == _real.stat("/").st_ino
    with pytest.raises(FileNotFoundError):
        os.stat(f"{mounted}/dir/file.txt")


def test_foreign_exceptions_keep_their_frames(mounted: str) -> None:
    """What a caller's own ``__fspath__`` raises arrives with the caller's frames and at most one of ours."""

    class Broken:
        def __fspath__(self) -> str:
            raise LookupError("mine")  # noqa: EM101 - the text is what is looked for

    with pytest.raises(LookupError, match="mine") as caught:
        open(Broken())
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "__fspath__"


def test_pathlib_and_builtins_agree(mounted: str) -> None:
    """``open`` is one object on all names that hold it."""
    assert builtins.open is io.open
    assert posix.stat is os.stat
    assert Path(mounted, "dir", "file.txt").read_text() == "content"


def test_encoding_warnings_point_at_the_caller(tmp_path: Path) -> None:
    """With ``-X warn_default_encoding``, open() warns about its caller's line, with a mount as without."""
    script = tmp_path / "script.py"
    script.write_text(
        "import vfsoverlay, warnings\n"
        "from vfsoverlay.testing import S3Server\n"
        "with S3Server() as server:\n"
        "    server.create_bucket('b', public=True)\n"
        "    server.put('b', 'x', b'text')\n"
        "    with vfsoverlay.mount('s3://b/', '/content/warned', **server.mount_options()):\n"
        "        with warnings.catch_warnings(record=True) as caught:\n"
        "            warnings.simplefilter('always')\n"
        "            for path in ('/content/warned/x', __file__):\n"
        "                open(path).close()\n"
        "            open(__file__, 'rb').close()\n"
        "        print([(w.category.__name__, w.filename == __file__, w.lineno) for w in caught])\n"
    )
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "ignore", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[('EncodingWarning', True, 10), ('EncodingWarning', True, 10)]\n"
