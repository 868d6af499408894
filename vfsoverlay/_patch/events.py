"""The audit events of the changing calls of ``os``, with their arguments as CPython gives them."""

from __future__ import annotations

from typing import Any


def _number(dir_fd: Any) -> Any:
    return -1 if dir_fd is None else dir_fd


def mkdir(path: Any, mode: Any = 0o777, *, dir_fd: Any = None) -> tuple[Any, ...]:
    return "os.mkdir", path, mode, _number(dir_fd)


def remove(path: Any, *, dir_fd: Any = None) -> tuple[Any, ...]:
    return "os.remove", path, _number(dir_fd)


def rmdir(path: Any, *, dir_fd: Any = None) -> tuple[Any, ...]:
    return "os.rmdir", path, _number(dir_fd)


def chmod(path: Any, mode: Any, *, dir_fd: Any = None, follow_symlinks: Any = True) -> tuple[Any, ...]:  # noqa: ARG001 - as the call
    return "os.chmod", path, mode, _number(dir_fd)


def fchmod(fd: Any, mode: Any) -> tuple[Any, ...]:
    return "os.chmod", fd, mode, -1


def chown(path: Any, uid: Any, gid: Any, *, dir_fd: Any = None, follow_symlinks: Any = True) -> tuple[Any, ...]:  # noqa: ARG001 - as the call
    return "os.chown", path, uid, gid, _number(dir_fd)


def lchown(path: Any, uid: Any, gid: Any) -> tuple[Any, ...]:
    return "os.chown", path, uid, gid, -1


def fchown(fd: Any, uid: Any, gid: Any) -> tuple[Any, ...]:
    return "os.chown", fd, uid, gid, -1


def utime(
    path: Any,
    times: Any = None,
    *,
    ns: Any = None,
    dir_fd: Any = None,
    follow_symlinks: Any = True,  # noqa: ARG001 - as the call
) -> tuple[Any, ...]:
    return "os.utime", path, times, ns, _number(dir_fd)


def setxattr(path: Any, attribute: Any, value: Any, flags: Any = 0, *, follow_symlinks: Any = True) -> tuple[Any, ...]:  # noqa: ARG001 - as the call
    return "os.setxattr", path, attribute, value, flags


def removexattr(path: Any, attribute: Any, *, follow_symlinks: Any = True) -> tuple[Any, ...]:  # noqa: ARG001 - as the call
    return "os.removexattr", path, attribute


def truncate(path: Any, length: Any) -> tuple[Any, ...]:
    return "os.truncate", path, length
