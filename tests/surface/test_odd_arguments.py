"""What hardly anybody gives or asks is answered below a mount as on a disk: found by CPython's own tests."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.surface.conftest import ROOT, Mounted


def takes_buffers() -> bool:
    """Whether this interpreter takes a bytearray as path, with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            os.stat(bytearray(b"/"))  # type: ignore[arg-type]
        except TypeError:
            return False
    return True


needs_buffers = pytest.mark.skipif(not takes_buffers(), reason="buffers are no paths any more")

CALLS: dict[str, Callable[[Any], Any]] = {
    "stat": lambda path: os.stat(path),  # noqa: PLW0108 - looked up when it is called
    "lstat": lambda path: os.lstat(path),  # noqa: PLW0108
    "listdir": lambda path: os.listdir(path),  # noqa: PLW0108
    "scandir": lambda path: os.scandir(path),  # noqa: PLW0108
    "open": lambda path: os.open(path, os.O_RDONLY),
    "chdir": lambda path: os.chdir(path),  # noqa: PLW0108
    "unlink": lambda path: os.unlink(path),  # noqa: PLW0108
    "truncate": lambda path: os.truncate(path, 0),
}


@needs_buffers
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_buffer_as_path(name: str, kind: Any, mounted: Mounted) -> None:
    """A buffer as path raises the warning of CPython at the caller's line, and errors hold that very object."""
    mounted({"a.txt": b"x"})
    path = kind(f"{ROOT}/missing".encode())
    with pytest.warns(DeprecationWarning, match=r"path should be string, bytes, os\.PathLike") as told:
        with pytest.raises(OSError) as caught:
            CALLS[name](path)
    assert caught.value.filename is path
    assert {warning.filename for warning in told} == {__file__}


@needs_buffers
@pytest.mark.filterwarnings("ignore:.*should be string:DeprecationWarning")
def test_a_buffer_is_moved_away(mounted: Mounted, tmp_path: Path) -> None:
    """Moving a buffer away from a mount fails as it does on a disk, when shutil looks at its type."""
    mounted({"d/a.txt": b"x"})
    with pytest.raises(TypeError, match=r"expected str, bytes or os\.PathLike object"):
        shutil.move(bytearray(f"{ROOT}/d".encode()), tmp_path)  # type: ignore[arg-type]


@pytest.mark.skipif(takes_buffers(), reason="buffers are paths")
def test_a_buffer_is_no_path_to_a_parent_either(mounted: Mounted) -> None:
    """A directory that holds a mount point is protected from rmdir, and a buffer with its name is refused as any."""
    mounted({"a.txt": b"x"})
    with pytest.raises(OSError, match="not empty"):
        os.rmdir("/content")
    with pytest.raises(TypeError, match="rmdir: path should be string, bytes"):
        os.rmdir(bytearray(b"/content"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "code"), [("n" * 256, errno.ENAMETOOLONG), ("n" * 255, errno.ENOENT)])
def test_a_name_too_long_is_moved_nowhere(name: str, code: int, mounted: Mounted, tmp_path: Path) -> None:
    """Moving an absent file onto the mount point tells a name that is too long from one that is not there."""
    # Both names are in directories on disk, so that it is the disk that looks for the old one.
    point = mounted({"a.txt": b"x"}, str(tmp_path / "point"))
    with pytest.raises(OSError) as caught:
        os.replace(f"{tmp_path}/{name}", point.root_dir)
    assert caught.value.errno == code


@pytest.mark.parametrize("read", [0, 1])
def test_an_iterator_that_nobody_closed(read: int, mounted: Mounted) -> None:
    """An iterator of scandir that is neither exhausted nor closed warns when it goes, and no other does."""
    mounted({"a": b"1", "b": b"2"})
    entries = os.scandir(ROOT)
    for _ in range(read):
        next(entries)
    with pytest.warns(ResourceWarning, match="unclosed scandir iterator"):
        del entries
    list(os.scandir(ROOT))
    with os.scandir(ROOT) as entries:
        next(entries)


def test_a_file_system_has_an_identity(mounted: Mounted) -> None:
    """``statvfs`` tells an identity of the file system, the same for all of a mount."""
    mounted({"d/a": b"1"})
    found = {os.statvfs(path).f_fsid for path in (ROOT, f"{ROOT}/d", f"{ROOT}/d/a")}
    assert {type(identity) for identity in found} == {int}
    assert len(found) == 1


def test_entries_have_the_methods_of_their_time(mounted: Mounted, tmp_path: Path) -> None:
    """Entries of scandir have the public attributes that the interpreter's own have, and no others."""
    mounted({"a": b"1"})
    (tmp_path / "a").touch()
    (ours,), (own,) = list(os.scandir(ROOT)), list(os.scandir(tmp_path))
    public = [{name for name in dir(type(entry)) if name[0] != "_"} for entry in (ours, own)]
    assert public[0] == public[1]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="since CPython 3.13")
def test_a_truth_value_as_descriptor(mounted: Mounted) -> None:
    """The warning about ``open(False)`` names the caller's line while something is mounted."""
    mounted({"a": b"1"})
    with pytest.warns(RuntimeWarning, match="bool is used as a file descriptor") as told:
        open(False, "rb", closefd=False).close()
    assert [warning.filename for warning in told] == [__file__]
