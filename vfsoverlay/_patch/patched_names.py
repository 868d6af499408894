"""Every replaced name in one table: where it lives, what replaces it, and what it answers on a mount."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vfsoverlay._patch import patch_directory, patch_io, patch_os
from vfsoverlay._patch.patch_changes import Change
from vfsoverlay._patch.patch_pairs import Link, Rename, Symlink
from vfsoverlay._vfs import refusals

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


_OS: Final = ("os", "posix")


def _change(parameter: str, refuse: Any, audit: str, *, follows: bool = True) -> Callable[[Any, str], Replacement]:
    return partial(Change, parameter=parameter, refuse=refuse, audit=audit, follows=follows)


_CREATED = "EEXIST if the name exists, else EROFS"
_REMOVED = "EROFS, even for a missing name; a mount point is busy"
_CHANGED = "EROFS for what exists, else ENOENT"

_make_directory = partial(refusals.create, directory=True)

PATCHED_NAMES: Final[tuple[PatchedName, ...]] = (
    PatchedName(("builtins", "io", "_io"), "open", patch_io.Open, "a real file object over the cache file; EROFS to write"),
    PatchedName(("io", "_io"), "open_code", patch_io.OpenCode, "as open(path, 'rb')"),
    PatchedName(_OS, "open", patch_os.Open, "a real descriptor of the complete file, or of a directory; EROFS to write"),
    PatchedName(_OS, "stat", patch_os.Stat, "size and time from the listing, no request"),
    PatchedName(_OS, "lstat", patch_os.Lstat, "as stat: there are no symbolic links"),
    PatchedName(_OS, "fstat", patch_os.Fstat, "as stat of the path the descriptor was opened with"),
    PatchedName(_OS, "access", patch_os.Access, "by the permission bits; W_OK is never granted"),
    PatchedName(_OS, "readlink", patch_os.Readlink, "EINVAL for what exists"),
    PatchedName(_OS, "listdir", patch_os.Listdir, "the names in the directory"),
    PatchedName(_OS, "scandir", patch_os.Scandir, "entries with attributes from the listing, no request"),
    PatchedName(_OS, "statvfs", patch_os.Statvfs, "the size of the source, nothing free, ST_RDONLY"),
    PatchedName(_OS, "pathconf", patch_os.Pathconf, "as the cache's disk"),
    PatchedName(_OS, "getxattr", patch_os.Getxattr, "ENODATA"),
    PatchedName(_OS, "listxattr", patch_os.Listxattr, "an empty list"),
    PatchedName(_OS, "chdir", patch_directory.Chdir, "moves the working directory there"),
    PatchedName(_OS, "fchdir", patch_directory.Fchdir, "moves the working directory there"),
    PatchedName(_OS, "getcwd", patch_directory.Getcwd, "the path below the mount"),
    PatchedName(_OS, "getcwdb", patch_directory.Getcwdb, "the path below the mount"),
    PatchedName(_OS, "dup", patch_directory.Dup, "a descriptor of the same file"),
    PatchedName(_OS, "dup2", patch_directory.Dup2, "a descriptor of the same file"),
    PatchedName(_OS, "mkdir", _change("path", _make_directory, "os.mkdir", follows=False), _CREATED),
    PatchedName(_OS, "mknod", _change("path", refusals.create, "", follows=False), _CREATED),
    PatchedName(_OS, "mkfifo", _change("path", refusals.create, "", follows=False), _CREATED),
    PatchedName(_OS, "symlink", Symlink, _CREATED),
    PatchedName(_OS, "link", Link, "EEXIST if the new name exists; EXDEV across the border, else EROFS"),
    PatchedName(_OS, "rename", Rename, "EXDEV across the border, EROFS within"),
    PatchedName(_OS, "replace", Rename, "EXDEV across the border, EROFS within"),
    PatchedName(_OS, "unlink", _change("path", refusals.unlink, "os.remove", follows=False), _REMOVED),
    PatchedName(_OS, "remove", _change("path", refusals.unlink, "os.remove", follows=False), _REMOVED),
    PatchedName(_OS, "rmdir", _change("path", refusals.rmdir, "os.rmdir", follows=False), _REMOVED),
    PatchedName(_OS, "chmod", _change("path", refusals.change, "os.chmod"), _CHANGED),
    PatchedName(_OS, "chown", _change("path", refusals.change, "os.chown"), _CHANGED),
    PatchedName(_OS, "lchown", _change("path", refusals.change, "os.chown", follows=False), _CHANGED),
    PatchedName(_OS, "utime", _change("path", refusals.change, "os.utime"), _CHANGED),
    PatchedName(_OS, "setxattr", _change("path", refusals.change, "os.setxattr"), _CHANGED),
    PatchedName(_OS, "removexattr", _change("path", refusals.change, "os.removexattr"), _CHANGED),
    PatchedName(_OS, "truncate", _change("path", refusals.truncate, "os.truncate"), "EROFS for a file, EISDIR for a directory"),
    PatchedName(_OS, "fchmod", _change("fd", refusals.change, "os.chmod"), "EROFS"),
    PatchedName(_OS, "fchown", _change("fd", refusals.change, "os.chown"), "EROFS"),
)  # fmt: skip
