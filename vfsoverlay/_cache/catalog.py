"""Hints about the cache in a diskcache database: worth having, never relied on.

Only last uses live here. Whatever is wrong with the database (damage, a foreign format, a lock, a
full disk) costs a hint: reads give nothing, writes are dropped, and a damaged database is begun
anew. Values are plain bytes: diskcache's own way would unpickle what it finds in the directory
(CVE-2025-69872).
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from vfsoverlay import _real
from vfsoverlay._fork_gate import no_fork

_USE: Final = struct.Struct("<20sI")
_RAW: Final = 1

#: Seconds that uses are gathered before they are written: opening the database alone takes 20 ms.
_GATHER: Final = 60.0


#: Hints kept in each of 256 entries; older ones are of objects that are gone, or as good as unused.
_MOST: Final = 4096


class Catalog:
    """Last uses of object versions, by digest.

    The database is opened for each write and load, and closed again: that happens once a minute
    at most, never on the way to a file, and so there is no connection for threads or forked
    children to inherit, which SQLite forbids them to use.
    """

    __slots__ = ("_directory", "_loaded", "_loaded_at", "_mutex", "_uses", "_written_at")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._uses: dict[str, float] = {}
        self._written_at = time.monotonic()
        self._loaded: dict[str, float] = {}
        self._loaded_at = -_GATHER
        self._mutex = threading.Lock()

    def note(self, digest: str) -> None:
        """The version *digest* is being used now; kept in memory for a while."""
        self._uses[digest] = time.time()

    @property
    def is_due(self) -> bool:
        """Whether it is time to ``write`` again."""
        return time.monotonic() - self._written_at > _GATHER

    def write(self) -> None:
        """Write what was noted."""
        with self._mutex:
            self._written_at = time.monotonic()
            uses, self._uses = self._uses, {}
            self._loaded.update(uses)
            if uses:
                self._try(lambda cache: _merge(cache, uses))

    def last_uses(self) -> dict[str, float]:
        """Seconds since the epoch of the last known use, by digest; what other processes wrote may be a minute old."""
        with self._mutex:
            if time.monotonic() - self._loaded_at >= _GATHER:
                self._loaded_at = time.monotonic()
                self._try(lambda cache: _load(cache, self._loaded))
            return {**self._loaded, **self._uses}

    def after_fork(self) -> None:
        """In the child: a thread that is not here may have held the lock."""
        self._mutex = threading.Lock()

    @no_fork
    def _try(self, action: Callable[[Any], object]) -> None:
        import sqlite3

        import diskcache

        try:
            cache = _open(self._directory)
            try:
                action(cache)
            finally:
                cache.close()
        except (sqlite3.Error, OSError, ValueError, TypeError, struct.error, diskcache.Timeout) as error:
            if _is_damage(error):
                self._begin_anew()

    def _begin_anew(self) -> None:
        try:
            for name in _real.listdir(self._directory):
                _real.unlink(f"{self._directory}/{name}")
        except OSError:
            # Another process does the same, or something foreign lies there: no hints, then.
            pass


def _is_damage(error: Exception) -> bool:
    import sqlite3

    import diskcache

    # OperationalError is "locked" or "full"; its siblings and a settings table of another make mean damage.
    return not isinstance(error, (sqlite3.OperationalError, OSError, diskcache.Timeout))


def _open(directory: str) -> Any:
    import diskcache

    class SafeDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
        """Texts and bytes as they are; nothing is ever unpickled."""

        def put(self, key: str) -> tuple[str, bool]:
            return key, True

        def get(self, key: Any, raw: bool) -> Any:  # noqa: ARG002 - the signature is diskcache's
            return key

        def store(self, value: bytes, read: bool, key: Any = None) -> tuple[int, int, None, bytes]:  # noqa: ARG002
            return 0, _RAW, None, value

        def fetch(self, mode: int, filename: Any, value: Any, read: bool) -> bytes:  # noqa: ARG002
            if mode != _RAW or not isinstance(value, bytes):
                msg = "a value of another make in the catalog"
                raise ValueError(msg)
            return value

    class TidyCache(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
        """Closes its connection when the database turns out to be damaged."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            try:
                super().__init__(*arguments, **options)
            except BaseException:  # cleans up after Ctrl-C as well, and raises it again
                self.close()
                raise

    return TidyCache(directory, timeout=5, disk=SafeDisk, eviction_policy="none", cull_limit=0)


def _merge(cache: Any, uses: dict[str, float]) -> None:
    by_shard: dict[str, dict[str, float]] = {}
    for digest, used in uses.items():
        by_shard.setdefault(digest[:2], {})[digest] = used
    with cache.transact():
        for shard, fresh in by_shard.items():
            cache.set(shard, _packed({**_unpacked(cache.get(shard)), **fresh}))


def _load(cache: Any, into: dict[str, float]) -> None:
    for shard in cache.iterkeys():
        into.update(_unpacked(cache.get(shard)))


def _packed(uses: dict[str, float]) -> bytes:
    newest = sorted(uses.items(), key=lambda item: item[1])[-_MOST:]
    return b"".join(_USE.pack(bytes.fromhex(digest), int(used)) for digest, used in newest)


def _unpacked(raw: bytes | None) -> dict[str, float]:
    return {digest.hex(): float(used) for digest, used in _USE.iter_unpack(raw or b"")}
