"""Fills a snapshot file with listed objects, in whatever order they come."""
# ruff: noqa: S608 - the texts put into statements are our own table names

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import compress, islice
from typing import Final

from vfsoverlay._fork_gate import no_fork
from vfsoverlay._namespace import leaf
from vfsoverlay._namespace.directory_ids import DirectoryIds
from vfsoverlay._namespace.groups import group_rows
from vfsoverlay._namespace.names import EMPTY, MARKER, all_valid, why_invalid
from vfsoverlay._namespace.new_leaves import NewLeaves, copy_tables
from vfsoverlay._namespace.nodes import ObjectRow
from vfsoverlay._namespace.schema import APPLICATION_ID, FORMAT, ROOT, TABLES, encode_key, quote
from vfsoverlay._namespace.tree import complete

_HOLDERS: Final = tuple(f"SELECT 1 FROM {table} WHERE parent = ? LIMIT 1" for table in ("leaf", "hidden", "directory"))
_TOTALS: Final = {"leaf": "sum(files), sum(size)", "shadowed": "count(*), sum(size)", "hidden": "count(*), sum(size)"}
_CACHE_KIB: Final = 4096
"""Of SQLite's page cache: rows are appended, and hardly any page is needed again."""


class SnapshotWriter:
    """Writes to the file *path*, which is empty; begins with what is in the snapshot *base*, if one is given.

    Nothing is synchronised: who needs the file to survive a power failure checks or syncs it.
    """

    @no_fork
    def __init__(self, path: str, prefix: str, *, base: str = "") -> None:
        if base:
            copy_tables(base, path)
        self._connection = sqlite3.connect("file:" + quote(path), isolation_level=None, uri=True)
        try:
            self._begin(path, prefix, base)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            self._connection.close()
            raise

    def _begin(self, path: str, prefix: str, base: str) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = OFF")
        execute("PRAGMA synchronous = OFF")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        execute("PRAGMA locking_mode = EXCLUSIVE")
        if not base:
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {FORMAT}")
        execute("BEGIN")
        if not base:
            for table in TABLES:
                execute(table)
            execute("INSERT INTO directory (id, path, name) VALUES (?, '', '')", (ROOT,))
        self._directories = DirectoryIds(self._connection, prefix, new=not base)
        self._leaves = NewLeaves(self._connection, path, base)

    # --- objects

    @no_fork
    def add(self, rows: Sequence[ObjectRow]) -> None:
        """Add listed objects; all keys begin with the prefix."""
        start = 0
        for stop, directory, leaves in group_rows(rows):
            parent, reason = self._directories.place(directory)
            if leaves is None or reason:
                self._add_to(parent, reason, rows[start:stop], [row[0][len(directory) :] for row in rows[start:stop]])
            else:
                for packed in leaves:
                    self._leaves.add_packed(parent, *packed)
            start = stop

    def _add_to(self, parent: int, reason: str, rows: Sequence[ObjectRow], names: list[str]) -> None:
        if reason or not all_valid(names):
            shown = [not self._hide(parent, reason, *row) for row in zip(rows, names, strict=True)]
            rows, names = list(compress(rows, shown)), list(compress(names, shown))
        if not all(map(operator.lt, names, islice(names, 1, None))):
            # What came last is the newest.
            newest = dict(zip(names, rows, strict=True))
            names = sorted(newest)
            rows = [newest[name] for name in names]
        for start in range(0, len(rows), leaf.SIZE):
            stop = start + leaf.SIZE
            _, *columns = zip(*rows[start:stop], strict=True)
            self._leaves.add(parent, names[start:stop], *columns)

    def _hide(self, parent: int, reason: str, row: ObjectRow, name: str) -> bool:
        """Whether the object *row* is no file; then it is noted as hidden."""
        why = reason or why_invalid(name)
        if not why:
            return False
        key, size, mtime_ns, *_ = row
        if why is EMPTY and not reason:
            why = MARKER if size else ""
        values = (parent, encode_key(key), size, mtime_ns, why)
        self._connection.execute("INSERT OR REPLACE INTO hidden VALUES (?,?,?,?,?)", values)
        return True

    # --- a refresh of a part

    @no_fork
    def forget(self, path: str) -> tuple[int, int]:
        """Remove all objects below the directory *path*, which is to be listed again.

        Returns the number of objects that are left, and their bytes.
        """
        inside = "SELECT id FROM directory WHERE path = :path OR path >= :first AND path < :behind"
        # '0' follows '/' directly.
        names = {"path": path, "first": path + "/", "behind": path + "0"}
        for table in _TOTALS:
            self._connection.execute(f"DELETE FROM {table} WHERE parent IN ({inside})", names)
        self._connection.execute("DELETE FROM directory WHERE path >= :first AND path < :behind", names)
        self._directories.forget()
        totals = [self._connection.execute(f"SELECT {what} FROM {table}").fetchone() for table, what in _TOTALS.items()]
        return sum(count or 0 for count, _ in totals), sum(size or 0 for _, size in totals)

    @no_fork
    def prune(self, path: str) -> None:
        """Remove the directory *path*, and those above it, while nothing holds them any more."""
        self._flush()
        execute = self._connection.execute
        while path:
            row = execute("SELECT id, parent, name FROM directory WHERE path = ?", (path,)).fetchone()
            if row is not None:
                if any(execute(query, row[:1]).fetchone() for query in _HOLDERS):
                    return
                execute("DELETE FROM directory WHERE id = ?", row[:1])
                for parent, *columns in execute("SELECT * FROM shadowed WHERE parent = ? AND name = ?", row[1:]):
                    self._leaves.add(parent, *([value] for value in columns))
                    self._leaves.flush()  # it holds the directory that is asked about next
                execute("DELETE FROM shadowed WHERE parent = ? AND name = ?", row[1:])
            path = path.rpartition("/")[0]

    # --- the end

    @no_fork
    def finish(self, info: Mapping[str, str], *, now_ns: int, previous: str = "") -> None:
        """Complete the tree, record *info* and close the file.

        Args:
            info: What the snapshot says about itself; counts are added.
            now_ns: When the listing was begun.
            previous: Path of the snapshot before this one: directories whose names are still the
                same keep their mtime.
        """
        self._flush()
        counts = complete(self._connection, self._leaves, now_ns=now_ns, previous=previous)
        counts["leaf_bytes"] = self._leaves.size
        values = {**info, **{name: str(value) for name, value in counts.items()}}
        self._connection.executemany("INSERT OR REPLACE INTO info VALUES (?,?)", values.items())
        self._connection.execute("COMMIT")
        self._connection.close()
        self._leaves.put_behind_tables()

    def _flush(self) -> None:
        self._directories.flush()
        self._leaves.flush()

    @no_fork
    def close(self) -> None:
        """Give up; the file is of no use unless ``finish`` was called before."""
        self._connection.close()
        self._leaves.close()
