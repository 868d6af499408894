"""Names, paths, attributes, openings and refusals of a mount are those of a read-only directory on disk."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay

ROOT = "/content/data"
MTIME = 1_600_000_000


@pytest.fixture
def point(mount: Any, server: Any) -> Any:
    """A mount of two files at ``ROOT``."""
    server.put("data", "a.txt", b"one\ntwo\n", last_modified=MTIME)
    server.put("data", "sub/b.bin", bytes(range(256)), last_modified=MTIME)
    return mount("", ROOT)


def failure(call: Callable[[], Any]) -> tuple[int | None, Any]:
    """The errno and filename that *call* raises."""
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno, caught.value.filename


# ------------------------------------------------------------------------------- names


def test_long_names(mount: Any, server: Any) -> None:
    """An existing name may have up to 1,024 bytes; an absent one over 255 is ENAMETOOLONG, as on a disk."""
    names = ["n" * 1024, "é" * 200, "n" * 255]
    for name in names:
        server.put("data", name, name.encode())
    mount("", ROOT)
    assert sorted(os.listdir(ROOT)) == sorted(names)
    for name in names:
        assert os.stat(f"{ROOT}/{name}").st_size == len(name.encode())
        assert Path(ROOT, name).read_bytes() == name.encode()
    assert failure(lambda: os.stat(f"{ROOT}/{'m' * 256}"))[0] == errno.ENAMETOOLONG
    assert failure(lambda: os.stat(f"{ROOT}/{'m' * 255}"))[0] == errno.ENOENT


def test_names_are_taken_as_they_are(mount: Any, server: Any) -> None:
    """Names differ by case and by the form of their accents: nothing is normalised."""
    names = ["A", "a", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]
    for number, name in enumerate(names):
        server.put("data", name, str(number).encode())
    mount("", ROOT)
    assert [Path(ROOT, name).read_text() for name in names] == ["0", "1", "2", "3"]


# ------------------------------------------------------------------------------- paths


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("a.txt/../sub", errno.ENOTDIR), ("missing/../a.txt", errno.ENOENT), ("a.txt/", errno.ENOTDIR),
        ("a.txt/x", errno.ENOTDIR), ("sub/" + "x/" * 2100, errno.ENAMETOOLONG),
    ],
)  # fmt: skip
def test_paths_are_walked(path: str, code: int) -> None:
    """A path is walked component by component: file/.. is ENOTDIR and missing/.. is ENOENT, whatever follows."""
    assert failure(lambda: os.stat(f"{ROOT}/{path}")) == (code, f"{ROOT}/{path}")
    assert os.stat(f"{ROOT}/sub/../a.txt").st_size == 8


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_filenames_of_errors(kind: Callable[[str], Any]) -> None:
    """Errors carry errno, message and the filename as the caller spelled it."""
    path = kind(f"{ROOT}/sub/../missing")
    with pytest.raises(FileNotFoundError, match="No such file or directory") as caught:
        open(path)
    assert caught.value.filename == path


def test_working_directory(point: Any) -> None:
    """A working directory may be below a mount; when that ends, it becomes the nearest directory above on disk."""
    before = os.getcwd()
    try:
        os.chdir(f"{ROOT}/sub")
        assert os.getcwd() == f"{ROOT}/sub"
        assert (os.listdir(), os.path.abspath("x"), Path("../a.txt").read_text()[:3]) == (
            ["b.bin"],
            f"{ROOT}/sub/x",
            "one",
        )
        point.unmount()
        assert ROOT.startswith(os.getcwd())
    finally:
        os.chdir(before)


@pytest.mark.usefixtures("point")
def test_directory_descriptors() -> None:
    """A descriptor of a directory serves as dir_fd, for fchdir(), listdir() and scandir()."""
    before = os.getcwd()
    fd = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.stat("sub/b.bin", dir_fd=fd).st_size == 256
        assert os.listdir(fd) == ["a.txt", "sub"]
        os.fchdir(fd)
        assert os.getcwd() == ROOT
    finally:
        os.chdir(before)
        os.close(fd)


# ------------------------------------------------------------------------------- attributes


def test_attributes(point: Any, server: Any) -> None:
    """Attributes are size and time of the listing, a stable inode, one device a mount, 0444 or 0555, and this user."""
    lists = len(server.requests.select())
    file, directory = os.stat(f"{ROOT}/a.txt"), os.stat(f"{ROOT}/sub")
    assert (file.st_size, file.st_mtime_ns) == (8, MTIME * 10**9)
    assert [stat.filemode(status.st_mode) for status in (file, directory)] == ["-r--r--r--", "dr-xr-xr-x"]
    assert {(status.st_uid, status.st_gid) for status in (file, directory)} == {(os.geteuid(), os.getegid())}
    assert file.st_dev == directory.st_dev != os.stat("/").st_dev
    assert file == os.lstat(f"{ROOT}/a.txt")
    point.refresh()
    assert os.stat(f"{ROOT}/a.txt").st_ino == file.st_ino != directory.st_ino
    assert len(server.requests.select()) == lists + 1


@pytest.mark.usefixtures("point")
def test_permissions() -> None:
    """Permission is granted to read, and to search directories; to write never, not even to root."""
    asked = (os.F_OK, os.R_OK, os.W_OK, os.X_OK)
    assert [os.access(f"{ROOT}/a.txt", mode) for mode in asked] == [True, True, False, False]
    assert [os.access(f"{ROOT}/sub", mode) for mode in asked] == [True, True, False, True]


@pytest.mark.usefixtures("point")
def test_attributes_of_descriptors() -> None:
    """An opened file has the attributes of its path, in copies of the descriptor too, and not in its successor."""
    wanted = os.stat(f"{ROOT}/a.txt")
    fd = os.open(f"{ROOT}/a.txt", os.O_RDONLY)
    copies = [os.dup(fd), os.dup(fd)]
    os.dup2(fd, copies[1])
    assert [os.fstat(number) for number in (fd, *copies)] == [wanted] * 3
    os.close(fd)
    with tempfile.TemporaryFile() as other:
        os.dup2(other.fileno(), copies[0])
        assert os.fstat(copies[0]).st_ino == os.fstat(other.fileno()).st_ino != wanted.st_ino
    for number in copies:
        os.close(number)


# ------------------------------------------------------------------------------- opening


@pytest.mark.usefixtures("point")
def test_opened_files() -> None:
    """Opened files have the types, name, mode and repr of real ones, and no path of the cache anywhere."""
    path = f"{ROOT}/a.txt"
    with open(path) as text, open(path, "rb") as binary, open(path, "rb", 0) as raw:
        assert (type(text), type(binary)) == (io.TextIOWrapper, io.BufferedReader)
        assert isinstance(raw, io.FileIO)
        assert [file.name for file in (text, binary, raw)] == [path] * 3
        assert [file.mode for file in (text, binary, raw)] == ["r", "rb", "rb"]
        assert repr(text) == f"<_io.TextIOWrapper name={path!r} mode='r' encoding={text.encoding!r}>"
        assert repr(binary) == f"<_io.BufferedReader name={path!r}>"
        assert repr(raw) == f"<_io.FileIO name={path!r} mode='rb' closefd=True>"


# ------------------------------------------------------------------------------- changes

CHANGES: dict[str, tuple[Callable[[], Any], int]] = {
    "create": (lambda: open(f"{ROOT}/new", "w"), errno.EROFS),
    "overwrite": (lambda: open(f"{ROOT}/a.txt", "w"), errno.EROFS),
    "append": (lambda: open(f"{ROOT}/a.txt", "a"), errno.EROFS),
    "update": (lambda: open(f"{ROOT}/a.txt", "r+"), errno.EROFS),
    "exclusive": (lambda: open(f"{ROOT}/a.txt", "x"), errno.EEXIST),
    "a directory": (lambda: open(f"{ROOT}/sub", "w"), errno.EISDIR),
    "mkdir": (lambda: os.mkdir(f"{ROOT}/new"), errno.EROFS),
    "mkdir again": (lambda: os.mkdir(f"{ROOT}/sub"), errno.EEXIST),
    "unlink": (lambda: os.unlink(f"{ROOT}/a.txt"), errno.EROFS),
    "rename": (lambda: os.rename(f"{ROOT}/a.txt", f"{ROOT}/b"), errno.EROFS),
    "rename out": (lambda: os.rename(f"{ROOT}/a.txt", "/tmp/a.txt"), errno.EXDEV),
    "link out": (lambda: os.link(f"{ROOT}/a.txt", "/tmp/a.txt"), errno.EXDEV),
    "chmod": (lambda: os.chmod(f"{ROOT}/a.txt", 0), errno.EROFS),
    "chmod missing": (lambda: os.chmod(f"{ROOT}/missing", 0), errno.ENOENT),
    "utime": (lambda: os.utime(f"{ROOT}/a.txt"), errno.EROFS),
    "truncate": (lambda: os.truncate(f"{ROOT}/a.txt", 0), errno.EROFS),
    "symlink": (lambda: os.symlink("a.txt", f"{ROOT}/new"), errno.EROFS),
    "rmtree": (lambda: shutil.rmtree(f"{ROOT}/sub"), errno.EROFS),
}


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_refused(name: str) -> None:
    """Every change is refused with the errno of a read-only kernel mount: EROFS, EEXIST, EISDIR, EXDEV or ENOENT."""
    change, code = CHANGES[name]
    assert failure(change)[0] == code
    assert sorted(os.listdir(ROOT)) == ["a.txt", "sub"]
    os.makedirs(f"{ROOT}/sub", exist_ok=True)


@pytest.mark.usefixtures("point")
@pytest.mark.parametrize(
    "change",
    [
        lambda fd: os.fchmod(fd, 0o777), lambda fd: os.chmod(fd, 0o777), lambda fd: os.fchown(fd, 0, 0),
        lambda fd: os.utime(fd, None), lambda fd: os.setxattr(fd, "user.x", b"1"),
    ],
)  # fmt: skip
def test_changes_of_descriptors_are_refused(change: Callable[[int], Any]) -> None:
    """Changes of an open descriptor are refused as well, and the file in the cache is unharmed."""
    fd = os.open(f"{ROOT}/a.txt", os.O_RDONLY)
    try:
        assert failure(lambda: change(fd))[0] == errno.EROFS
        with vfsoverlay.local_path(f"{ROOT}/a.txt") as copy:
            assert stat.S_IMODE(os.stat(copy).st_mode) == 0o400
        assert os.read(fd, 3) == b"one"
    finally:
        os.close(fd)
