"""The tables of a snapshot file, an SQLite database that is never changed once it has its final name."""

from __future__ import annotations

from typing import Final

FORMAT: Final = 1
APPLICATION_ID: Final = 0x7666_736F
"""``vfso``: tells a snapshot from any other SQLite file."""

ROOT: Final = 1
"""The id of the directory with the empty path; parents always have smaller ids than their children."""

TABLES: Final = (
    """
    CREATE TABLE directory (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, parent INTEGER, name TEXT NOT NULL,
        mtime_ns INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0)
    """,
    # What the directories hold. A directory has no size. The primary key is the order of scan().
    """
    CREATE TABLE entry (
        parent INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER, mtime_ns INTEGER, etag TEXT,
        storage_class TEXT DEFAULT '', version_id TEXT DEFAULT '', PRIMARY KEY (parent, name)) WITHOUT ROWID
    """,
    # Objects with the name of a directory, whole, since they come back when the directory goes.
    """
    CREATE TABLE shadowed (
        parent INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER, mtime_ns INTEGER, etag TEXT,
        storage_class TEXT DEFAULT '', version_id TEXT DEFAULT '', PRIMARY KEY (parent, name)) WITHOUT ROWID
    """,
    # Objects that are no file: markers (reason '' when they are empty, as usual), and invalid names.
    # The parent is the deepest directory that exists because of the object. A key is a BLOB, for it
    # may be anything.
    """
    CREATE TABLE hidden (
        parent INTEGER NOT NULL, key BLOB NOT NULL PRIMARY KEY, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID
    """,
    "CREATE TABLE info (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


def encode_key(key: str) -> bytes:
    """A key as the ``hidden`` table holds it; sorts in byte order."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(raw: bytes) -> str:
    """The inverse of ``encode_key``."""
    return raw.decode("utf-8", "surrogateescape")


def quote(path: str) -> str:
    """A path for SQLite's ``file:`` URIs."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def read_only_uri(path: str) -> str:
    """The URI that opens the snapshot *path* without any lock, since it never changes."""
    return f"file:{quote(path)}?mode=ro&immutable=1"
