"""Where the cache of a mount lies: the option, the environment, XDG, or the temp directory."""

from __future__ import annotations

import errno
import os

from vfsoverlay import _real

VARIABLE = "VFSOVERLAY_CACHE_DIR"


def choose(given: str | None) -> str:
    """The cache directory, made and writable.

    *given*, else ``$VFSOVERLAY_CACHE_DIR``: must be usable. Else the first usable of
    ``$XDG_CACHE_HOME/vfsoverlay`` (``~/.cache/vfsoverlay``) and ``<temp>/vfsoverlay-<uid>``.

    Raises:
        OSError: The wanted directory (or every candidate) cannot be made or written; names it.
    """
    wanted = given or os.environ.get(VARIABLE)
    if wanted:
        path = _real.absolute(os.path.expanduser(wanted))
        _make_writable(path, f"set cache_dir= or ${VARIABLE} to a directory that can be written")
        return _resolved(path)
    failures = []
    for candidate in _candidates():
        failure = _try(candidate)
        if failure is None:
            return _resolved(candidate)
        failures.append(f"{candidate} ({failure.strerror})")
    msg = f"no writable cache directory: tried {', '.join(failures)}; set cache_dir= or ${VARIABLE}"
    raise OSError(errno.EACCES, msg)


def look(given: str | None) -> str:
    """The directory that ``choose`` gives, for who only looks: nothing is made, and it need not be there."""
    wanted = given or os.environ.get(VARIABLE)
    if wanted:
        return _resolved(_real.absolute(os.path.expanduser(wanted)))
    candidates = _candidates()
    return _resolved(next((path for path in candidates if _real.access(path, os.W_OK | os.X_OK)), candidates[0]))


def _candidates() -> list[str]:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    found = [os.path.join(home, "vfsoverlay")] if os.path.isabs(home) else []
    # The places that tempfile would try; it would also write to each, and open files by patched names.
    temporary = [os.environ.get("TMPDIR") or "/tmp", "/tmp", "/var/tmp"]  # noqa: S108 - a directory of the user's own
    found += (os.path.join(place, f"vfsoverlay-{_real.geteuid()}") for place in dict.fromkeys(temporary))
    return found


def _try(path: str) -> OSError | None:
    try:
        _make_writable(path, "")
    except OSError as error:
        return error
    return None


def _make_writable(path: str, advice: str) -> None:
    try:
        _real.makedirs(path, 0o700)
        probe = os.path.join(path, f".probe-{_real.getpid()}")
        _real.close(_real.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        _real.unlink(probe)
    except OSError as error:
        detail = f"the cache directory cannot be used: {os.strerror(error.errno or errno.EIO)}"
        raise OSError(error.errno, f"{detail}; {advice}" if advice else detail, path) from error


def _resolved(path: str) -> str:
    return _real.realpath(path)


def shadow_directory(cache_dir: str) -> str:
    """The empty directory that stands in for directories of ours where the kernel wants a real one."""
    path = os.path.join(cache_dir, "shadow")
    _real.makedirs(path, 0o500)
    return path
