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
from typing import Any, Final

from vfsoverlay import _real

_USE: Final = struct.Struct("<20sI")
_RAW: Final = 1

#: Seconds that uses are gathered before they are written: opening the database alone takes 20 ms.
_GATHER: Final = 60.0


#: Hints kept in each of 256 entries; older ones are of objects that are gone, or as good as unused.
_MOST: Final = 4096


class Catalog:
    """Last uses of object versions, by digest; opened at the first write or read, never by an open of a file."""

    __slots__ = ("_cache", "_directory", "_mutex", "_uses", "_written_at")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._cache: Any = None
        self._uses: dict[str, float] = {}
        self._written_at = time.monotonic()
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
            if uses:
                self._try(lambda cache: _merge(cache, uses))

    def last_uses(self) -> dict[str, float]:
        """Seconds since the epoch of the last known use, by digest."""
        found: dict[str, float] = {}
        with self._mutex:
            self._try(lambda cache: _load(cache, found))
        found.update(self._uses)
        return found

    def close(self) -> None:
        """Close the database if it was opened."""
        with self._mutex:
            cache, self._cache = self._cache, None
            if cache is not None:
                cache.close()

    def after_fork(self) -> None:
        """In the child: SQLite forbids to use, and to close, what the parent opened; it is left alone."""
        self._mutex = threading.Lock()
        if self._cache is not None:
            _inherited.append(self._cache)
            self._cache = None

    def _try(self, action: Any) -> None:
        import sqlite3

        import diskcache

        try:
            if self._cache is None:
                self._cache = _open(self._directory)
            action(self._cache)
        except (sqlite3.Error, OSError, ValueError, TypeError, struct.error, diskcache.Timeout) as error:
            self._abandon(begin_anew=_is_damage(error))

    def _abandon(self, *, begin_anew: bool) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            cache.close()
        if begin_anew:
            try:
                for name in _real.listdir(self._directory):
                    _real.unlink(f"{self._directory}/{name}")
            except OSError:
                # Another process does the same, or something foreign lies there: no hints, then.
                pass


#: Connections of the parent that must not be closed by garbage collection in the child.
_inherited: list[Any] = []


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

    return diskcache.Cache(directory, timeout=5, disk=SafeDisk, eviction_policy="none", cull_limit=0)


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
