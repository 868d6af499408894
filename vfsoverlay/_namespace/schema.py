"""The tables of a snapshot file, an SQLite database and leaves behind it, never changed once it has its final name."""

from __future__ import annotations

from typing import Final

FORMAT: Final = 3
APPLICATION_ID: Final = 0x7666_736F
"""``vfso``: tells a snapshot from any other SQLite file."""

ROOT: Final = 1
"""The id of the directory with the empty path; parents always have smaller ids than their children."""

TABLES: Final = (
    # *entries* are files and directories, *files* are files alone.
    """
    CREATE TABLE directory (
        id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, parent INTEGER, name TEXT NOT NULL,
        mtime_ns INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0, files INTEGER NOT NULL DEFAULT 0)
    """,
    # The files, a leaf (leaf.py) a row: writing and reading rows costs SQLite as much for one file as
    # for a leaf of them. The leaves of a directory do not overlap. The last three columns tell where
    # behind the tables the leaf is (place.py).
    """
    CREATE TABLE leaf (
        id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
        files INTEGER NOT NULL, size INTEGER NOT NULL, largest INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        start INTEGER NOT NULL, length INTEGER NOT NULL, checksum INTEGER NOT NULL)
    """,
    # The directories once more, a branch (branch.py) of them a row, since finding one by its path is
    # half of the work of finding a file: the first path, and where the branch is among the leaves.
    """
    CREATE TABLE branch (
        first TEXT NOT NULL PRIMARY KEY, start INTEGER NOT NULL, length INTEGER NOT NULL, checksum INTEGER NOT NULL)
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

INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS child ON directory (parent, name)",
    "CREATE INDEX IF NOT EXISTS leaf_order ON leaf (parent, first)",
)
"""Made when the rows are there: that is faster, and a listing comes in no certain order."""


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
