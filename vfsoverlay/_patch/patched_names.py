"""Every replaced name in one table: where it lives, what replaces it, and what it answers on a mount."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vfsoverlay import _real
from vfsoverlay._patch import (
    events,
    patch_ctypes,
    patch_descriptors,
    patch_directory,
    patch_imports,
    patch_io,
    patch_listing,
    patch_os,
    patch_processes,
    patch_sqlite3,
    patch_ssl,
)
from vfsoverlay._patch.patch_changes import Change
from vfsoverlay._patch.patch_descriptors import OfDescriptor
from vfsoverlay._patch.patch_pairs import Link, Rename, Replace, Symlink
from vfsoverlay._vfs import operations, refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfsoverlay._patch.replacement import Replacement


class PatchedName(NamedTuple):
    """One function and the modules that hold it."""

    modules: tuple[str, ...]
    name: str
    replacement: Callable[[Any, str], Replacement]
    """Called with the original and ``module:name``."""
    answer: str
    """What it answers for a path below a mount, in one line."""
    late: bool = False
    """The modules are replaced in as soon as the program imports them: we do not."""


class PatchedMethod(NamedTuple):
    """One method of a class that is written in Python."""

    module: str
    owner: str
    """The class; subclasses that have the method themselves are left alone."""
    name: str
    replacement: Callable[[Any], Any]
    """Called with the original method, which the class may have inherited."""
    answer: str
    """As above."""
    comes_with: str = ""
    """The C module that *module* imports before it defines the class."""


_OS: Final = ("os", "posix")


def _utime_says_filename() -> bool:
    """Whether errors of ``utime`` carry a filename, as they do since CPython 3.13: the interpreter knows."""
    try:
        _real.utime("")
    except OSError as error:
        return error.filename is not None
    return False


def _no_event(*_: Any, **__: Any) -> tuple[Any, ...]:
    return ()


def _change(
    parameter: str,
    refuse: Any,
    event: Callable[..., tuple[Any, ...]] = _no_event,
    *,
    follows: bool = True,
    says_filename: bool = True,
    takes_fd: bool = True,
) -> Callable[[Any, str], Replacement]:
    return partial(
        Change,
        parameter=parameter,
        refuse=refuse,
        event=event,
        follows=follows,
        is_entry=False,
        says_filename=says_filename,
        takes_fd=takes_fd,
    )


def _entry(
    refuse: Any, event: Callable[..., tuple[Any, ...]] = _no_event, *, says_filename: bool = True
) -> Callable[[Any, str], Replacement]:
    return partial(
        Change,
        parameter="path",
        refuse=refuse,
        event=event,
        follows=False,
        is_entry=True,
        says_filename=says_filename,
        takes_fd=False,
    )


def _of_descriptor(operation: Any) -> Callable[[Any, str], Replacement]:
    return partial(OfDescriptor, operation=operation)


_CREATED = "EEXIST if the name exists, else EROFS"
_REMOVED = "EROFS, even for a missing name; a mount point is busy"
_CHANGED = "EROFS for what exists, else ENOENT"

_STARTED = "a path that is an element of argv, and a program: a local copy"

_make_directory = partial(refusals.create, directory=True)

PATCHED_NAMES: Final[tuple[PatchedName, ...]] = (
    PatchedName(("builtins", "io", "_io"), "open", patch_io.open_replacement, "a real file object over the cache file; EROFS to write"),
    PatchedName(("io", "_io"), "open_code", patch_io.OpenCode, "as open(path, 'rb')"),
    PatchedName(_OS, "open", patch_os.Open, "a real descriptor of the complete file, or of a directory; EROFS to write"),
    PatchedName(_OS, "stat", patch_os.Stat, "size and time from the listing, no request"),
    PatchedName(_OS, "lstat", patch_os.Lstat, "as stat: there are no symbolic links"),
    PatchedName(_OS, "fstat", patch_descriptors.Fstat, "as stat of the path the descriptor was opened with"),
    PatchedName(_OS, "access", patch_os.Access, "by the permission bits; W_OK is never granted"),
    PatchedName(_OS, "readlink", patch_os.Readlink, "EINVAL for what exists"),
    PatchedName(_OS, "listdir", patch_listing.Listdir, "the names in the directory"),
    PatchedName(_OS, "scandir", patch_listing.Scandir, "entries with attributes from the listing, no request"),
    PatchedName(_OS, "statvfs", patch_os.Statvfs, "the size of the source, nothing free, ST_RDONLY"),
    PatchedName(_OS, "pathconf", patch_os.Pathconf, "as the cache's disk"),
    PatchedName(_OS, "getxattr", patch_os.Getxattr, "ENODATA"),
    PatchedName(_OS, "listxattr", patch_os.Listxattr, "an empty list"),
    PatchedName(_OS, "chdir", patch_directory.Chdir, "moves the working directory there"),
    PatchedName(_OS, "fchdir", patch_directory.Fchdir, "moves the working directory there"),
    PatchedName(_OS, "getcwd", patch_directory.Getcwd, "the path below the mount"),
    PatchedName(_OS, "getcwdb", patch_directory.Getcwdb, "the path below the mount"),
    PatchedName(_OS, "dup", patch_descriptors.Dup, "a descriptor of the same file"),
    PatchedName(_OS, "dup2", patch_descriptors.Dup2, "a descriptor of the same file"),
    PatchedName(_OS, "mkdir", _entry(_make_directory, events.mkdir), _CREATED),
    PatchedName(_OS, "mknod", _entry(refusals.create, says_filename=False), _CREATED),
    PatchedName(_OS, "mkfifo", _entry(refusals.create, says_filename=False), _CREATED),
    PatchedName(_OS, "symlink", Symlink, _CREATED),
    PatchedName(_OS, "link", Link, "EEXIST if the new name exists; EXDEV across the border, else EROFS"),
    PatchedName(_OS, "rename", Rename, "EXDEV across the border, EROFS within"),
    PatchedName(_OS, "replace", Replace, "EXDEV across the border, EROFS within"),
    PatchedName(_OS, "unlink", _entry(refusals.unlink, events.remove), _REMOVED),
    PatchedName(_OS, "remove", _entry(refusals.unlink, events.remove), _REMOVED),
    PatchedName(_OS, "rmdir", _entry(refusals.rmdir, events.rmdir), _REMOVED),
    PatchedName(_OS, "chmod", _change("path", refusals.change, events.chmod), _CHANGED),
    PatchedName(_OS, "chown", _change("path", refusals.change, events.chown), _CHANGED),
    PatchedName(_OS, "lchown", _change("path", refusals.change, events.lchown, follows=False, takes_fd=False), _CHANGED),
    PatchedName(_OS, "utime", _change("path", refusals.change, events.utime, says_filename=_utime_says_filename()), _CHANGED),
    PatchedName(_OS, "setxattr", _change("path", refusals.change, events.setxattr), _CHANGED),
    PatchedName(_OS, "removexattr", _change("path", refusals.change, events.removexattr), _CHANGED),
    PatchedName(_OS, "truncate", _change("path", refusals.truncate, events.truncate, takes_fd=False), "EROFS for a file, EISDIR for a directory"),
    PatchedName(_OS, "fchmod", _change("fd", refusals.change, events.fchmod, says_filename=False), "EROFS"),
    PatchedName(_OS, "fchown", _change("fd", refusals.change, events.fchown, says_filename=False), "EROFS"),
    PatchedName(_OS, "fstatvfs", _of_descriptor(operations.file_system_status), "as statvfs of the path it was opened with"),
    PatchedName(("_imp",), "create_dynamic", patch_imports.CreateDynamic, "the module from a local copy; its __file__ is the path below the mount"),
    PatchedName(("_imp",), "exec_dynamic", patch_imports.ExecDynamic, "takes no path; sees that a module named below has come"),
    PatchedName(("_imp",), "exec_builtin", patch_imports.ExecBuiltin, "takes no path; sees that a module named below has come"),
    PatchedName(("_ctypes",), "dlopen", patch_ctypes.Dlopen, "the library from a local copy", late=True),
    PatchedName(("_sqlite3",), "connect", patch_sqlite3.Connect, "a local copy, read-only and immutable; refused while a log lies beside it", late=True),
    PatchedName(("_posixsubprocess",), "fork_exec", patch_processes.ForkExec, _STARTED + "; cwd: a local tree, if it is small, else ENOTSUP", late=True),
    PatchedName(_OS, "posix_spawn", patch_processes.Run, _STARTED),
    PatchedName(_OS, "posix_spawnp", patch_processes.Run, _STARTED),
    PatchedName(_OS, "execv", patch_processes.Run, _STARTED),
    PatchedName(_OS, "execve", patch_processes.Run, _STARTED),
)  # fmt: skip

PATCHED_METHODS: Final[tuple[PatchedMethod, ...]] = (
    PatchedMethod("_frozen_importlib_external", "FileLoader", "get_data", patch_imports.get_data, "as open(path, 'rb').read()"),
    PatchedMethod("ssl", "SSLContext", "load_cert_chain", patch_ssl.load_cert_chain, "local copies of both files", "_ssl"),
    PatchedMethod("ssl", "SSLContext", "load_verify_locations", patch_ssl.load_verify_locations, "a local copy of cafile; capath is not served", "_ssl"),
)  # fmt: skip
