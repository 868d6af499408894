"""The snapshots of a source in one directory: building, refreshing, reusing and removing them."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from hashlib import blake2b
from os import O_CLOEXEC, O_CREAT, O_EXCL, O_RDWR, register_at_fork
from typing import Final

from vfsoverlay import _real
from vfsoverlay._fork_gate import no_fork
from vfsoverlay._namespace.listing import DEFAULT_WORKERS, Limits, list_objects
from vfsoverlay._namespace.new_leaves import not_written
from vfsoverlay._namespace.nodes import DEFAULT_PAGE_SIZE, DirectoryNode, ListPages, Progress
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot
from vfsoverlay._namespace.snapshot_file import SnapshotFile
from vfsoverlay._namespace.snapshot_writer import SnapshotWriter
from vfsoverlay._namespace.whole_file import reading

SUFFIX: Final = ".sqlite"
_KEPT_UNUSED_NS: Final = 7 * 24 * 3600 * 10**9
"""A newest generation that nobody has open goes after a week: it is still there for a run every day."""


def mount_id(identity: str) -> str:
    """What the file names of *identity*'s snapshots begin with."""
    return blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()


def build_snapshot(
    list_pages: ListPages,
    prefix: str,
    directory: str,
    *,
    identity: str,
    max_objects: int,
    max_object_size: int,
    workers: int = DEFAULT_WORKERS,
    page_size: int = DEFAULT_PAGE_SIZE,
    reuse_listing: float = 0,
    progress: Progress | None = None,
) -> Snapshot:
    """List *prefix* and open the result, or take a listing that another process has made meanwhile.

    Args:
        list_pages: Lists the store; called from several threads at once.
        prefix: Empty, or ends in a slash.
        directory: Where snapshots lie; exists, and belongs to this user.
        identity: All that decides what the listing contains, such as endpoint, bucket and prefix.
        max_objects: Objects there may be.
        max_object_size: Bytes one object may have.
        workers: Requests at a time; 1 for stores without an order of keys or ``start_after``.
        page_size: Keys to ask for at once.
        reuse_listing: Seconds: a snapshot of an earlier run up to this age will do.
        progress: Called with objects and bytes so far, from this thread.

    Raises:
        TooManyObjects: At object ``max_objects + 1``.
        ObjectTooLarge: Names the key and its size.
        OSError: What ``list_pages`` raises, and failures of the disk. Nothing is left behind then.
    """
    asked_at = time.time_ns()
    home = SnapshotHome(directory, identity)
    with home.locked():
        oldest = asked_at - int(reuse_listing * 1e9)
        found = home.find(oldest, max_objects, max_object_size)
        if found is not None:
            return found
        limits = Limits(max_objects, max_object_size, progress)
        with home.new_generation() as (temporary, generation):
            writer = SnapshotWriter(temporary, prefix)
            with closing(writer):
                for rows in list_objects(list_pages, prefix, limits, workers=workers, page_size=page_size):
                    writer.add(rows)
                writer.finish(home.info(prefix, generation), now_ns=generation)
        snapshot = open_snapshot(home.path(generation))
        home.collect()
    return snapshot


def refresh_snapshot(
    snapshot: Snapshot,
    list_pages: ListPages,
    path: str = "",
    *,
    max_objects: int,
    max_object_size: int,
    workers: int = DEFAULT_WORKERS,
    page_size: int = DEFAULT_PAGE_SIZE,
    progress: Progress | None = None,
) -> Snapshot:
    """List again, all or what is below the directory *path*, and open the result; *snapshot* stays as it is.

    Only the prefix of *path* is listed; a path that is no directory means the directory that it would
    be in. Directories in which no name came or went keep their mtime. The other arguments and the
    errors are those of ``build_snapshot``.
    """
    home = SnapshotHome(snapshot.path.rpartition("/")[0], snapshot.info["identity"])
    _real.makedirs(home.directory, 0o700)  # somebody may have deleted the cache
    if path and not _is_whole(snapshot.path):
        path = ""  # nothing can be taken over: a damaged listing heals by any refresh
    while path and not isinstance(snapshot.lookup(path), DirectoryNode):
        path = path.rpartition("/")[0]
    below = f"{snapshot.prefix}{path}/" if path else snapshot.prefix
    limits = Limits(max_objects, max_object_size, progress)
    with home.locked():
        with home.new_generation() as (temporary, generation):
            base = snapshot.path if path else ""
            with closing(SnapshotWriter(temporary, snapshot.prefix, base=base)) as writer:
                if path:
                    limits.objects, limits.size = writer.forget(path)
                for rows in list_objects(list_pages, below, limits, workers=workers, page_size=page_size):
                    writer.add(rows)
                writer.prune(path)
                listed_at = int(snapshot.info["listed_at_ns"]) if path else generation
                info = home.info(snapshot.prefix, generation, listed_at)
                writer.finish(info, now_ns=generation, previous=snapshot.path)
        refreshed = open_snapshot(home.path(generation))
        home.collect()
    return refreshed


def find_reusable(
    directory: str, identity: str, *, max_age: float, max_objects: int, max_object_size: int
) -> Snapshot | None:
    """Open the newest sound snapshot that was listed at most *max_age* seconds ago and is within the limits."""
    return SnapshotHome(directory, identity).find(time.time_ns() - int(max_age * 1e9), max_objects, max_object_size)


#: Descriptors of lock files, held or waited for. A child closes its copies: a lock by ``flock`` belongs to all
#: copies of a descriptor, and would stay while the child lives, which would wait for itself.
_lock_files: set[int] = set()


@contextmanager
def _lock_file(path: str) -> Iterator[int]:
    # Opened and closed where no fork comes between the descriptor and the note of it.
    with no_fork:
        descriptor = _real.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        _lock_files.add(descriptor)
    try:
        yield descriptor
    finally:
        with no_fork:
            if descriptor in _lock_files:  # not in a child that was forked in the block
                _lock_files.remove(descriptor)
                _real.close(descriptor)


@contextmanager
def holding(path: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock that the file *path* stands for; ``BlockingIOError`` where another does, and *wait* is false."""
    while True:
        with _lock_file(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us removed the file: somebody else may hold a lock of the same name.
            if not _real.fstat(descriptor).st_nlink:
                continue
            try:
                yield
            finally:
                with suppress(OSError):  # somebody may have emptied the cache
                    _real.unlink(path)
            return


def _after_fork() -> None:
    while _lock_files:
        _real.close(_lock_files.pop())


register_at_fork(after_in_child=_after_fork)


class SnapshotHome:
    """Where the snapshots of one identity lie."""

    def __init__(self, directory: str, identity: str) -> None:
        self.directory = directory
        self.identity = identity
        self.mount_id = mount_id(identity)

    def path(self, generation: int) -> str:
        return f"{self.directory}/{self.mount_id}.{generation:016x}{SUFFIX}"

    def info(self, prefix: str, generation: int, listed_at_ns: int = 0) -> dict[str, str]:
        """What a snapshot says about itself."""
        return {
            "identity": self.identity,
            "prefix": prefix,
            "generation": f"{generation:016x}",
            "listed_at_ns": str(listed_at_ns or generation),
            "boot_id": boot_id(),
        }

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock of this identity: one process lists while the others wait for it."""
        return holding(f"{self.directory}/{self.mount_id}.lock")

    @contextmanager
    def new_generation(self) -> Iterator[tuple[str, int]]:
        """A new file to fill and the number of its generation; it gets its name when all went well."""
        last = max(self.generations(), default=0)
        generation = max(time.time_ns(), last + 1)
        temporary = f"{self.directory}/.{self.mount_id}.{generation:016x}.tmp"
        _real.close(_real.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600))
        try:
            with _as_os_error(self.directory):
                yield temporary, generation
            _real.rename(temporary, self.path(generation))
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            with suppress(OSError):
                _real.unlink(temporary)
            raise

    def generations(self) -> list[int]:
        """The generations that are there, oldest first."""
        found = []
        for name in _real.listdir(self.directory):
            owner, _, rest = name.partition(".")
            if owner == self.mount_id and rest.endswith(SUFFIX):
                with suppress(ValueError):
                    found.append(int(rest[: -len(SUFFIX)], 16))
        return sorted(found)

    def find(self, oldest_ns: int, max_objects: int, max_object_size: int) -> Snapshot | None:
        """The newest sound snapshot that was listed at *oldest_ns* or later."""
        for generation in reversed(self.generations()):
            if generation < oldest_ns:
                break
            try:
                snapshot = open_snapshot(self.path(generation))
            except OSError:
                continue  # whatever is wrong with it, it is simply not used
            if self._will_do(snapshot, oldest_ns, max_objects, max_object_size):
                return snapshot
            snapshot.close()
        return None

    def _will_do(self, snapshot: Snapshot, oldest_ns: int, max_objects: int, max_object_size: int) -> bool:
        info = snapshot.info
        return (
            int(info["listed_at_ns"]) >= oldest_ns
            and info["identity"] == self.identity
            and snapshot.object_count <= max_objects
            and int(info["largest_size"]) <= max_object_size
            and (info["boot_id"] == boot_id() or snapshot.is_sound())
        )

    def collect(self) -> None:
        """Remove what nobody has open: older generations, and what a killed process left."""
        newest = max(self.generations(), default=0)
        now = time.time_ns()
        for name in _real.listdir(self.directory):
            path = f"{self.directory}/{name}"
            ours = name.lstrip(".").startswith(self.mount_id + ".")
            if name.endswith(".tmp"):
                if ours or _older(path, now):
                    remove_unused(path)
            elif name.endswith(SUFFIX) and (path != self.path(newest) if ours else _older(path, now)):
                remove_unused(path)


@contextmanager
def _as_os_error(directory: str) -> Iterator[None]:
    """What SQLite cannot write is an error of the disk."""
    try:
        yield
    except sqlite3.Error as error:
        # SQLite's code of the error came with Python 3.11; its text for a full disk is older than that.
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise not_written(number, str(error), directory) from error


def _is_whole(path: str) -> bool:
    """Whether the snapshot file *path* is there, and its tables are what was written."""
    try:
        SnapshotFile(path).close()
    except OSError:
        return False
    return True


def _older(path: str, now_ns: int) -> bool:
    try:
        return _real.stat(path).st_mtime_ns < now_ns - _KEPT_UNUSED_NS
    except OSError:
        return False


def remove_unused(path: str) -> bool:
    """Remove *path* unless a process holds its lock; whether it is removed."""
    with suppress(OSError), reading(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _real.unlink(path)
        return True
    return False


def boot_id() -> str:
    """Changes when the machine starts; empty where the system does not tell.

    A snapshot is not synchronised to the disk: one from before a crash is checked before it is used.
    """
    try:
        with _real.io_open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return str(file.read().strip())
    except OSError:
        return ""
