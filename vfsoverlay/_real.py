"""The OS functions as they were before any patch: how the floors below the shim touch the disk.

They are taken from ``posix`` and ``_io``, where the shim's own replacements are put as well, so
this module must be imported before the shim installs anything; the package does that by itself,
because every room that needs the disk imports it. Nothing here may be looked up late.
"""

import _io
import posix
from posix import F_OK, O_CLOEXEC, O_PATH
from posixpath import normpath

access = posix.access
chdir = posix.chdir
chmod = posix.chmod
close = posix.close
dup = posix.dup
dup2 = posix.dup2
eventfd = posix.eventfd
fchdir = posix.fchdir
fchmod = posix.fchmod
fstat = posix.fstat
fstatvfs = posix.fstatvfs
fsync = posix.fsync
ftruncate = posix.ftruncate
getcwd = posix.getcwd
getcwdb = posix.getcwdb
geteuid = posix.geteuid
getpid = posix.getpid
link = posix.link
listdir = posix.listdir
lseek = posix.lseek
lstat = posix.lstat
mkdir = posix.mkdir
open = posix.open  # noqa: A001 - the name is the point of this module
pathconf = posix.pathconf
posix_fallocate = posix.posix_fallocate
pread = posix.pread
preadv = posix.preadv
pwrite = posix.pwrite
read = posix.read
readlink = posix.readlink
rename = posix.rename
replace = posix.replace
rmdir = posix.rmdir
scandir = posix.scandir
sendfile = posix.sendfile
stat = posix.stat
statvfs = posix.statvfs
symlink = posix.symlink
truncate = posix.truncate
unlink = posix.unlink
utime = posix.utime
write = posix.write

io_open = _io.open
FileIO = _io.FileIO


def makedirs(path: str, mode: int = 0o777) -> None:
    """Make *path* and its missing parents; an existing directory is fine."""
    try:
        mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = path.rstrip("/").rpartition("/")[0]
        # Below /proc and the like mkdir says ENOENT although the parent is there.
        if not parent or exists(parent):
            raise
        makedirs(parent, mode)
        makedirs(path, mode)


def exists(path: str) -> bool:
    """Whether *path* is there, following symbolic links."""
    try:
        stat(path)
    except (OSError, ValueError):
        return False
    return True


def _access_tells() -> bool:
    """Whether ``access`` can be asked for names as such: some sandboxes refuse it, and then it says no to all."""
    try:
        return access("/proc/self/exe", F_OK, effective_ids=True, follow_symlinks=False)
    except NotImplementedError:
        return False


_ACCESS_TELLS = _access_tells()


def lexists(path: str) -> bool:
    """Whether *path* is there, if only as a link that leads nowhere.

    Raises:
        ValueError: It has a NUL in it.
    """
    if _ACCESS_TELLS:
        # A third of the time that an exception takes.
        return access(path, F_OK, effective_ids=True, follow_symlinks=False)
    try:
        lstat(path)
    except OSError:
        return False
    return True


def absolute(path: str) -> str:
    """*path* from the root on, as text: links and missing parts stay as they are."""
    return normpath(path if path.startswith("/") else f"{getcwd()}/{path}")


def realpath(path: str) -> str:
    """*path* from the root on without symbolic links; what is missing at its end stays as it is.

    The kernel itself says what a path leads to, by the link of an open descriptor below ``/proc``.
    """
    path = absolute(path)
    try:
        fd = open(path, O_PATH | O_CLOEXEC)
    except OSError:
        parent, _, name = path.rpartition("/")
        return f"{realpath(parent or '/').rstrip('/')}/{name}" if name else path
    try:
        return readlink(f"/proc/self/fd/{fd}")
    finally:
        close(fd)
