"""The calls that are compared between a mount and a real directory: about 150 kinds, by name."""

# ruff: noqa: E501 - tables read better in long lines

from __future__ import annotations

import codecs
import enum
import errno
import fcntl
import filecmp
import fileinput
import glob
import io
import linecache
import mmap
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

Call = Callable[..., Any]

#: Calls that only look; they take one path.
READS: dict[str, Call] = {}
#: Calls that would change something; they take one path.
CHANGES: dict[str, Call] = {}
#: Calls with two paths, both of which are varied.
PAIRS: dict[str, Call] = {}
#: Calls that take ``dir_fd=``.
WITH_DIR_FD: set[str] = set()


def read(name: str, call: Call, *, dir_fd: bool = False) -> None:
    READS[name] = call
    if dir_fd:
        WITH_DIR_FD.add(name)


def change(name: str, call: Call, *, dir_fd: bool = False) -> None:
    CHANGES[name] = call
    if dir_fd:
        WITH_DIR_FD.add(name)


def late(owner: Any, name: str, **fixed: Any) -> Call:
    """The function as it is when it is called: a table made before the mount must not keep the original."""
    return lambda *args, **kwargs: getattr(owner, name)(*args, **fixed, **kwargs)


# ------------------------------------------------------------------------------- attributes

read("stat", late(os, "stat"), dir_fd=True)
read("stat no follow", late(os, "stat", follow_symlinks=False), dir_fd=True)
read("lstat", late(os, "lstat"), dir_fd=True)
for letter, mode in {"F": os.F_OK, "R": os.R_OK, "W": os.W_OK, "X": os.X_OK, "RX": os.R_OK | os.X_OK}.items():
    read(f"access {letter}", lambda p, m=mode, **k: os.access(p, m, **k), dir_fd=True)
read("access effective", lambda p, **k: os.access(p, os.R_OK, effective_ids=True, **k), dir_fd=True)
read("access no follow", lambda p, **k: os.access(p, os.R_OK, follow_symlinks=False, **k), dir_fd=True)
read("readlink", late(os, "readlink"), dir_fd=True)
read("statvfs", lambda p: bool(os.statvfs(p).f_flag & os.ST_RDONLY))
read("pathconf", lambda p: os.pathconf(p, "PC_PATH_MAX"))
read("pathconf bad", lambda p: os.pathconf(p, "PC_NONSENSE"))
read("getxattr", lambda p: os.getxattr(p, "user.x"))
read("getxattr no follow", lambda p: os.getxattr(p, "user.x", follow_symlinks=False))
read("listxattr", late(os, "listxattr"))


def _is_directory(path: Any) -> bool:
    return stat.S_ISDIR(os.stat(path).st_mode)


# ------------------------------------------------------------------------------- os.path

for function in (
    os.path.exists, os.path.lexists, os.path.isfile, os.path.isdir, os.path.islink, os.path.ismount,
    os.path.realpath, os.path.abspath,
):  # fmt: skip
    read(f"path.{function.__name__}", function)
read("path.realpath strict", lambda p: os.path.realpath(p, strict=True))
read("path.getsize", lambda p: _is_directory(p) or os.path.getsize(p))
read("path.getmtime", lambda p: _is_directory(p) or os.path.getmtime(p))
read("path.samefile", lambda p: os.path.samefile(p, p))

# ------------------------------------------------------------------------------- directories


def _scan(path: Any) -> Any:
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda e: e.name)
        return [
            (
                e.name, e.path, repr(e), os.fspath(e), isinstance(e, os.DirEntry), e.is_dir(), e.is_file(), e.is_symlink(),
                e.is_dir(follow_symlinks=False), e.is_dir() or e.inode() == e.stat().st_ino, e.stat(),
            )
            for e in found
        ]  # fmt: skip


def _walk(path: Any, *, topdown: bool = True) -> Any:
    return sorted((top, sorted(dirs), sorted(files)) for top, dirs, files in os.walk(path, topdown=topdown))


def _fwalk(path: Any, **kwargs: Any) -> Any:
    return sorted(
        (top, sorted(dirs), sorted(files), sorted(os.listdir(fd)), [os.stat(n, dir_fd=fd) for n in sorted(files)])
        for top, dirs, files, fd in os.fwalk(path, **kwargs)
    )


def _walk_error(path: Any) -> Any:
    errors: list[Any] = []
    list(os.walk(path, onerror=errors.append))
    return [(type(e), e.errno, e.filename) for e in errors]


def _chdir(path: Any) -> Any:
    before = os.getcwd()
    os.chdir(path)
    try:
        return (
            os.getcwd(),
            os.getcwdb(),
            sorted(os.listdir()),
            os.path.abspath("x"),
            os.stat(".")[:7] == os.stat(os.getcwd())[:7],
        )
    finally:
        os.chdir(before)


read("listdir", lambda p: sorted(os.listdir(p)))
read("scandir", _scan)
read("walk", _walk)
read("walk bottom up", partial(_walk, topdown=False))
read("walk onerror", _walk_error)
read("fwalk", _fwalk, dir_fd=True)
read("chdir", _chdir)

# ------------------------------------------------------------------------------- opening


def _opened(file: Any) -> Any:
    with file:
        if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
            return "a directory"
        return (
            type(file).__name__, file.name, getattr(file, "mode", ""), repr(file), file.readable(), file.writable(),
            file.seekable(), file.read(), os.fstat(file.fileno()), file.tell() if "r" in str(file.mode) else 0,
        )  # fmt: skip


OPEN_MODES = ("r", "rb", "rt", "w", "wb", "a", "ab", "x", "xb", "r+", "rb+", "w+", "a+", "x+", "", "rw", "U", "b")
for open_mode in OPEN_MODES:
    target = READS if open_mode in {"r", "rb", "rt", "", "rw", "U", "b"} else CHANGES
    text_only: dict[str, Any] = {} if "b" in open_mode else {"encoding": "utf-8", "errors": "replace"}
    target[f"open {open_mode}"] = lambda p, m=open_mode, t=text_only: _opened(open(p, m, **t))


def _with_opener(path: Any) -> Any:
    seen = []

    def opener(name: Any, flags: int) -> int:
        seen.append((name, flags))
        return os.open(name, flags)

    return _opened(open(path, "rb", opener=opener)), seen


def _codec(path: Any) -> Any:
    with codecs.open(path, "r", "latin-1") as file:
        return file.read()


def _mapped(path: Any) -> Any:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view[:]


def _sent(path: Any) -> Any:
    with open(path, "rb") as file, tempfile.TemporaryFile() as target:
        return os.sendfile(target.fileno(), file.fileno(), 0, 100)


read("open unbuffered", lambda p: _opened(open(p, "rb", buffering=0)))
read("open small buffer", lambda p: _opened(open(p, "rb", 3)))
read("open latin newline", lambda p: _opened(open(p, encoding="latin-1", newline="")))
read("open bad encoding", lambda p: _opened(open(p, encoding="no-such-codec")))
read("open no closefd", lambda p: _opened(open(p, "rb", closefd=False)))
read("open binary newline", lambda p: _opened(open(p, "rb", newline="\n")))
read("open opener", _with_opener)
read("open keyword", lambda p: _opened(open(file=p, mode="rb")))
read("io.open", lambda p: _opened(open(p, "rb")))
read("io.open_code", lambda p: _opened(io.open_code(p)))
read("codecs.open", _codec)
read("fdopen", lambda p: _opened(os.fdopen(os.open(p, os.O_RDONLY), "rb"))[7:])
read("mmap", _mapped)
read("sendfile", _sent)


def _descriptor(path: Any, flags: int, **kwargs: Any) -> Any:
    fd = os.open(path, flags, **kwargs)
    try:
        status = os.fstat(fd)
        if flags & os.O_PATH:
            data: Any = None
        else:
            data = sorted(os.listdir(fd)) if stat.S_ISDIR(status.st_mode) else os.pread(fd, 1000, 0)
        shown = fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_PATH)
        return status, os.stat(fd)[:7] == status[:7], data, shown, os.get_inheritable(fd)
    finally:
        os.close(fd)


FLAGS = {
    "RDONLY": 0, "DIRECTORY": os.O_DIRECTORY, "PATH": os.O_PATH, "PATH NOFOLLOW": os.O_PATH | os.O_NOFOLLOW,
    "NOFOLLOW": os.O_NOFOLLOW, "NONBLOCK": os.O_NONBLOCK, "PATH DIRECTORY": os.O_PATH | os.O_DIRECTORY, "NOATIME": os.O_NOATIME,
    "PATH CREAT": os.O_PATH | os.O_CREAT,
}  # fmt: skip
CHANGING_FLAGS = {
    "WRONLY": os.O_WRONLY, "RDWR": os.O_RDWR, "TRUNC": os.O_TRUNC, "CREAT": os.O_CREAT, "CREAT EXCL": os.O_CREAT | os.O_EXCL,
    "WRONLY CREAT": os.O_WRONLY | os.O_CREAT, "WRONLY CREAT TRUNC": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "RDWR CREAT EXCL": os.O_RDWR | os.O_CREAT | os.O_EXCL, "WRONLY APPEND": os.O_WRONLY | os.O_APPEND, "APPEND": os.O_APPEND,
    "TMPFILE": os.O_TMPFILE | os.O_RDWR, "TMPFILE RDONLY": os.O_TMPFILE, "EXCL": os.O_EXCL,
    "WRONLY DIRECTORY": os.O_WRONLY | os.O_DIRECTORY, "WRONLY TRUNC": os.O_WRONLY | os.O_TRUNC,
    "CREAT NOFOLLOW": os.O_CREAT | os.O_NOFOLLOW, "CREAT DIRECTORY": os.O_CREAT | os.O_DIRECTORY,
    "WRONLY NOFOLLOW": os.O_WRONLY | os.O_NOFOLLOW,
}  # fmt: skip
for label, flag in FLAGS.items():
    read(f"os.open {label}", lambda p, f=flag, **k: _descriptor(p, f, **k), dir_fd=True)
for label, flag in CHANGING_FLAGS.items():
    change(f"os.open {label}", lambda p, f=flag, **k: _descriptor(p, f, **k), dir_fd=True)

# ------------------------------------------------------------------------------- the standard library above


def _copied(path: Any, copy: Call) -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        goal = os.path.join(scratch, "copy")
        copy(path, goal)
        status = os.stat(goal)
        if stat.S_ISDIR(status.st_mode):
            return sorted(os.listdir(goal))
        with open(goal, "rb") as file:
            return status.st_mode, file.read()


def _pathlib(method: str, *args: Any, **kwargs: Any) -> Call:
    def call(path: Any) -> Any:
        result = getattr(pathlib.Path(path), method)(*args, **kwargs)
        if hasattr(result, "__next__"):
            result = sorted(result)
        return result

    return call


def _lines(path: Any) -> Any:
    # In a tuple: of a bytearray it would take each number for a descriptor, and close those of other tests.
    with fileinput.FileInput((path,), mode="rb") as lines:
        return list(lines)


def _cached_lines(path: Any) -> Any:
    linecache.clearcache()
    return linecache.getlines(os.fspath(path)) if isinstance(path, (str, os.PathLike)) else None


for copy in (shutil.copyfile, shutil.copy, shutil.copy2, shutil.copytree):
    read(f"shutil.{copy.__name__}", partial(_copied, copy=copy))
read("shutil.which", shutil.which)
read("shutil.disk_usage", lambda p: shutil.disk_usage(p).free >= 0)
read("glob *", lambda p: sorted(glob.glob(b"%s/*" % p) if isinstance(p, bytes) else glob.glob(os.path.join(p, "*"))))
read("glob **", lambda p: sorted(glob.glob("**", root_dir=p, recursive=True)))
read("glob literal", lambda p: glob.glob(os.fspath(p)))
for path_method in ("exists", "is_file", "is_dir", "is_symlink", "is_mount", "is_fifo", "resolve", "absolute", "owner",
                    "stat", "lstat", "iterdir", "read_bytes", "readlink"):  # fmt: skip
    read(f"Path.{path_method}", _pathlib(path_method))
read("Path.resolve strict", _pathlib("resolve", strict=True))
read("Path.glob", _pathlib("glob", "*/*"))
read("Path.rglob", _pathlib("rglob", "*"))
read("Path.read_text", _pathlib("read_text", "latin-1"))
read("Path.samefile", lambda p: pathlib.Path(p).samefile(p))
read("fileinput", _lines)
read("linecache", _cached_lines)
read("filecmp", lambda p: filecmp.cmp(p, p, shallow=False))

# ------------------------------------------------------------------------------- changes of one path

change("mkdir", late(os, "mkdir"), dir_fd=True)
change("makedirs", late(os, "makedirs"))
change("makedirs exist_ok", late(os, "makedirs", exist_ok=True))
change("rmdir", late(os, "rmdir"), dir_fd=True)
change("removedirs", late(os, "removedirs"))
change("unlink", late(os, "unlink"), dir_fd=True)
change("remove", late(os, "remove"), dir_fd=True)
change("mkfifo", late(os, "mkfifo"), dir_fd=True)
change("mknod", late(os, "mknod"), dir_fd=True)
change("chmod", lambda p, **k: os.chmod(p, 0o600, **k), dir_fd=True)
change("chown", lambda p, **k: os.chown(p, 0, 0, **k), dir_fd=True)
change("chown no follow", lambda p, **k: os.chown(p, 0, 0, follow_symlinks=False, **k), dir_fd=True)
change("lchown", lambda p: os.lchown(p, 0, 0))
change("utime", late(os, "utime"), dir_fd=True)
change("utime ns", lambda p, **k: os.utime(p, ns=(1, 1), **k), dir_fd=True)
change("utime no follow", lambda p, **k: os.utime(p, (1, 1), follow_symlinks=False, **k), dir_fd=True)
change("setxattr", lambda p: os.setxattr(p, "user.x", b"1"))
change("setxattr no follow", lambda p: os.setxattr(p, "user.x", b"1", follow_symlinks=False))
change("removexattr", lambda p: os.removexattr(p, "user.x"))
change("truncate", lambda p: os.truncate(p, 0))
change("symlink at", lambda p, **k: os.symlink("elsewhere", p, **k), dir_fd=True)
change("Path.touch", _pathlib("touch"))
change("Path.unlink missing_ok", _pathlib("unlink", missing_ok=True))
change("Path.mkdir", _pathlib("mkdir", parents=True, exist_ok=True))
change("Path.write_text", _pathlib("write_text", "x"))
change("Path.chmod", _pathlib("chmod", 0o600))
change("Path.rmdir", _pathlib("rmdir"))


def _remove_tree(path: Any) -> Any:
    try:
        shutil.rmtree(path)
    except OSError as error:
        if error.errno == errno.EROFS:
            return "read-only"  # which name comes first in a directory is anybody's choice
        raise


change("shutil.rmtree", _remove_tree)


def _temporary(path: Any) -> Any:
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError as error:
        return type(error), error.errno  # the name is random


def _on_descriptor(call: Call) -> Call:
    def run(path: Any, **kwargs: Any) -> Any:
        fd = os.open(path, os.O_RDONLY, **kwargs)
        try:
            return call(fd)
        finally:
            os.close(fd)

    return run


change("tempfile in", _temporary)
DESCRIPTOR_CALLS: dict[str, Call] = {
    "fchmod": lambda fd: os.fchmod(fd, 0o600),
    "chmod": lambda fd: os.chmod(fd, 0o600),
    "fchown": lambda fd: os.fchown(fd, 0, 0),
    "chown": lambda fd: os.chown(fd, 0, 0),
    "utime": late(os, "utime"),
    "setxattr": lambda fd: os.setxattr(fd, "user.x", b"1"),
    "removexattr": lambda fd: os.removexattr(fd, "user.x"),
    "ftruncate": lambda fd: os.ftruncate(fd, 0),
    "truncate": lambda fd: os.truncate(fd, 0),
    "write": lambda fd: os.write(fd, b"x"),
}
for label, descriptor_call in DESCRIPTOR_CALLS.items():
    change(f"{label} of fd", _on_descriptor(descriptor_call), dir_fd=True)

DESCRIPTOR_READS: dict[str, Call] = {
    "listdir": lambda fd: sorted(os.listdir(fd)),
    "scandir": lambda fd: sorted((e.name, e.path, e.is_dir(), e.stat()) for e in os.scandir(fd)),
    "stat": late(os, "stat"),
    "statvfs": lambda fd: bool(os.statvfs(fd).f_flag & os.ST_RDONLY),
    "fstatvfs": lambda fd: bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY),
    "fpathconf": lambda fd: os.fpathconf(fd, "PC_PATH_MAX"),
    "getxattr": lambda fd: os.getxattr(fd, "user.x"),
    "listxattr": late(os, "listxattr"),
    "dup": lambda fd: _closing(os.dup(fd)),
    "seek": lambda fd: os.lseek(fd, 0, os.SEEK_END) * 0,
    "open": lambda fd: _opened(open(fd, "rb", closefd=False))[4:],
    "access": lambda fd: os.access(fd, os.R_OK),
    "read": lambda fd: os.read(fd, 10),
    "fsync": late(os, "fsync"),
}


def _closing(fd: int) -> Any:
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _member(fd: int) -> int:
    """*fd* as a member of an enumeration of numbers."""
    make: Any = enum.IntEnum
    member: int = make("Descriptor", {"FD": fd}).FD
    return member


DESCRIPTOR_READS |= {
    "stat by member": lambda fd: os.stat(_member(fd)),
    "fstat by member": lambda fd: os.fstat(_member(fd)),
    "listdir by member": lambda fd: sorted(os.listdir(_member(fd))),
    "open by member": lambda fd: _opened(open(_member(fd), "rb", closefd=False))[4:],
    "dup by member": lambda fd: _closing(os.dup(_member(fd))),
}


def _fchdir(fd: int) -> Any:
    before = os.getcwd()
    os.fchdir(fd)
    try:
        return os.getcwd(), sorted(os.listdir("."))
    finally:
        os.chdir(before)


DESCRIPTOR_READS["fchdir"] = _fchdir
for label, descriptor_call in DESCRIPTOR_READS.items():
    read(f"{label} of fd", _on_descriptor(descriptor_call), dir_fd=True)

# ------------------------------------------------------------------------------- two paths

PAIRS["rename"] = late(os, "rename")
PAIRS["replace"] = late(os, "replace")
PAIRS["link"] = late(os, "link")
PAIRS["link no follow"] = late(os, "link", follow_symlinks=False)
PAIRS["renames"] = late(os, "renames")


def _move(path: Any, goal: Any) -> Any:
    try:
        return shutil.move(path, goal)
    except OSError as error:
        if error.errno == errno.EROFS:
            return "read-only"  # as for rmtree, which it calls
        raise


PAIRS["shutil.move"] = _move
PAIRS["symlink"] = late(os, "symlink")
PAIRS["Path.rename"] = lambda p, q: pathlib.Path(p).rename(q)
PAIRS["shutil.copyfile to"] = late(shutil, "copyfile")
PAIRS["samefile of two"] = late(os.path, "samefile")


assert len({*READS, *CHANGES, *PAIRS}) == len(READS) + len(CHANGES) + len(PAIRS), "each call has its own name"
