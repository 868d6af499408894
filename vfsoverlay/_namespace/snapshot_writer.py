"""Fills a snapshot file with listed objects, in whatever order they come."""
# ruff: noqa: S608 - the texts put into statements are our own table names

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from typing import Final

from vfsoverlay._fork_gate import no_fork
from vfsoverlay._namespace.names import EMPTY, MARKER, visible_part, why_invalid
from vfsoverlay._namespace.nodes import ObjectRow
from vfsoverlay._namespace.schema import APPLICATION_ID, FORMAT, ROOT, TABLES, encode_key, quote, read_only_uri

#: Rows of one INSERT, largest first. SQLite gives up the interpreter lock once a statement, and takes up
#: to 5 ms to have it back from threads that parse pages: a statement a row would spend its time waiting.
#: SQLite allows 999 variables in a statement before version 3.32, and 32,766 since.
_BATCHES: Final = (1000, 125, 25, 5, 1) if sqlite3.sqlite_version_info >= (3, 32) else (125, 25, 5, 1)
_PLAIN: Final[tuple[str, ...]] = ("parent", "name", "size", "mtime_ns", "etag")
_WHOLE: Final[tuple[str, ...]] = (*_PLAIN, "storage_class", "version_id")
_INSERT: Final = {
    (columns, rows): f"INSERT OR REPLACE INTO entry ({','.join(columns)}) VALUES "
    + ",".join([f"({','.join('?' * len(columns))})"] * rows)
    for columns in (_PLAIN, _WHOLE)
    for rows in _BATCHES
}
_NAME_DIRECTORIES: Final = """
    INSERT OR REPLACE INTO entry
    SELECT parent, name, NULL, mtime_ns, NULL, NULL, NULL FROM directory WHERE parent IS NOT NULL
"""

_COUNT_HIDDEN: Final = "SELECT count(*) + (SELECT count(*) FROM shadowed) FROM hidden WHERE reason != ''"
_HOLDERS: Final = tuple(f"SELECT 1 FROM {table} WHERE parent = ? LIMIT 1" for table in ("entry", "hidden", "directory"))
_MEASURE: Final = """
    SELECT parent, count(*), count(size), coalesce(sum(size), 0), coalesce(max(size), 0),
        max(CASE WHEN size IS NULL THEN 0 ELSE mtime_ns END)
    FROM {} GROUP BY parent
"""
#: Directories that were there before, whose mtime has to be another than the one just computed: the
#: old one if the names in them are the same, the time of the listing if it would not change.
_MTIMES_TO_KEEP: Final = """
    SELECT CASE WHEN same THEN old ELSE :now END, id FROM (
        SELECT new.id, new.mtime_ns, old.mtime_ns AS old, new.entries = old.entries AND NOT EXISTS (
            SELECT 1 FROM entry WHERE parent = new.id AND NOT EXISTS (
                SELECT 1 FROM previous.entry AS was WHERE was.parent = old.id AND was.name = entry.name
                AND (was.size IS NULL) = (entry.size IS NULL))) AS same
        FROM directory AS new JOIN previous.directory AS old USING (path))
    WHERE same OR mtime_ns = old
"""

#: Directories remembered while writing. A listing in key order returns to a directory soon or never.
_REMEMBERED: Final = 50_000


class SnapshotWriter:
    """Writes to the file *path*, which is new, or a copy of a snapshot that is to be changed.

    Nothing is synchronised: who needs the file to survive a power failure checks or syncs it.
    """

    @no_fork
    def __init__(self, path: str, prefix: str, *, new: bool = True) -> None:
        self._prefix = prefix
        self._connection = sqlite3.connect("file:" + quote(path), isolation_level=None, uri=True)
        self._places: dict[str, tuple[int, str]] = {}
        execute = self._connection.execute
        execute("PRAGMA journal_mode = OFF")
        execute("PRAGMA synchronous = OFF")
        execute("PRAGMA cache_size = -16000")
        execute("PRAGMA locking_mode = EXCLUSIVE")
        if new:
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {FORMAT}")
        execute("BEGIN")
        if new:
            for table in TABLES:
                execute(table)
            execute("INSERT INTO directory (id, path, name) VALUES (?, '', '')", (ROOT,))

    # --- objects

    @no_fork
    def add(self, rows: Iterable[ObjectRow]) -> None:
        """Add listed objects; all keys begin with the prefix."""
        plain: list[int | str] = []
        whole: list[int | str] = []
        append = plain.extend
        above, parent, reason = None, ROOT, ""
        for key, size, mtime_ns, etag, storage_class, version_id in rows:
            cut = key.rfind("/") + 1
            if key[:cut] != above:
                above = key[:cut]
                parent, reason = self._place(above)
            name = key[cut:]
            # '', '.' and '..' are what ".." contains.
            if reason or name in ".." or "\0" in name or not name.isascii():
                why = reason or why_invalid(name)
                if why:
                    self._hide(parent, key, size, mtime_ns, "" if why is EMPTY and not reason else why)
                    continue
            if storage_class or version_id:
                whole += (parent, name, size, mtime_ns, etag, storage_class, version_id)
            else:
                append((parent, name, size, mtime_ns, etag))
        self._insert(plain, _PLAIN)
        self._insert(whole, _WHOLE)

    def _insert(self, values: list[int | str], columns: tuple[str, ...]) -> None:
        start = 0
        for rows in _BATCHES:
            width = rows * len(columns)
            while start + width <= len(values):
                self._connection.execute(_INSERT[columns, rows], values[start : start + width])
                start += width

    def _hide(self, parent: int, key: str, size: int, mtime_ns: int, reason: str) -> None:
        if not reason and size:
            reason = MARKER
        row = (parent, encode_key(key), size, mtime_ns, reason)
        self._connection.execute("INSERT OR REPLACE INTO hidden VALUES (?,?,?,?,?)", row)

    # --- directories

    def _place(self, above: str) -> tuple[int, str]:
        """The id of the deepest valid directory of *above* (whole, with slash), and why the rest is hidden."""
        place = self._places.get(above)
        if place is None:
            path, reason = visible_part(above[len(self._prefix) :])
            place = self._directory(path), reason
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
            self._places[above] = place
        return place

    def _directory(self, path: str) -> int:
        """The id of the directory *path*, which is made with all above it if it is new."""
        row = self._connection.execute("SELECT id FROM directory WHERE path = ?", (path,)).fetchone()
        if row is not None:
            return int(row[0])
        above, _, name = path.rpartition("/")
        parent = self._directory(above)
        row = (path, parent, name)
        return self._connection.execute("INSERT INTO directory (path, parent, name) VALUES (?,?,?)", row).lastrowid or 0

    @no_fork
    def forget(self, path: str) -> tuple[int, int]:
        """Remove all objects below the directory *path*, which is to be listed again.

        Returns the number of objects that are left, and their bytes.
        """
        inside = "SELECT id FROM directory WHERE path = :path OR path >= :first AND path < :behind"
        # '0' follows '/' directly.
        names = {"path": path, "first": path + "/", "behind": path + "0"}
        for table in ("entry", "shadowed", "hidden"):
            self._connection.execute(f"DELETE FROM {table} WHERE parent IN ({inside})", names)
        self._connection.execute("DELETE FROM directory WHERE path >= :first AND path < :behind", names)
        count = size = 0
        for table in ("entry", "shadowed", "hidden"):
            query = f"SELECT count(size), coalesce(sum(size), 0) FROM {table}"
            objects, bytes_ = self._connection.execute(query).fetchone()
            count += objects
            size += bytes_
        return count, size

    @no_fork
    def prune(self, path: str) -> None:
        """Remove the directory *path*, and those above it, while nothing holds them any more."""
        execute = self._connection.execute
        while path:
            row = execute("SELECT id, parent, name FROM directory WHERE path = ?", (path,)).fetchone()
            if row is not None:
                if any(execute(query, row[:1]).fetchone() for query in _HOLDERS):
                    return
                execute("DELETE FROM directory WHERE id = ?", row[:1])
                execute("DELETE FROM entry WHERE parent = ? AND name = ?", row[1:])
                execute("INSERT INTO entry SELECT * FROM shadowed WHERE parent = ? AND name = ?", row[1:])
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
        execute = self._connection.execute
        execute("""INSERT OR REPLACE INTO shadowed SELECT entry.* FROM directory JOIN entry USING (parent, name)
                   WHERE entry.size IS NOT NULL""")
        execute(_NAME_DIRECTORIES)
        counts = self._measure(now_ns)
        if previous:
            self._keep_mtimes(previous, now_ns)
        execute(_NAME_DIRECTORIES)
        (counts["hidden_count"],) = execute(_COUNT_HIDDEN).fetchone()
        values = {**info, **{name: str(value) for name, value in counts.items()}}
        self._connection.executemany("INSERT OR REPLACE INTO info VALUES (?,?)", values.items())
        execute("COMMIT")
        self._connection.close()

    def _measure(self, now_ns: int) -> dict[str, int]:
        """Set the number of entries and the mtime of each directory; return what was counted.

        A directory's mtime is that of its newest own object, else of its newest directory: it
        depends on the objects alone, so two runs agree.
        """
        connection = self._connection
        (last,) = connection.execute("SELECT max(id) FROM directory").fetchone()
        # Arrays, not dicts: a listing may have a million directories.
        newest, below, entries = (array("q", bytes(8 * (last + 1))) for _ in range(3))
        objects = total = largest = 0
        for table in ("entry", "shadowed", "hidden"):
            for parent, rows, files, size, most, mtime_ns in connection.execute(_MEASURE.format(table)):
                objects += files
                total += size
                largest = max(largest, most)
                newest[parent] = max(newest[parent], mtime_ns)
                if table == "entry":
                    entries[parent] = rows
        ids = array("q")
        for id_, parent in connection.execute("SELECT id, parent FROM directory ORDER BY id DESC"):
            ids.append(id_)
            newest[id_] = newest[id_] or below[id_]
            if parent is not None:
                below[parent] = max(below[parent], newest[id_])
        newest[ROOT] = newest[ROOT] or now_ns
        rows = ((newest[id_], entries[id_], id_) for id_ in ids)
        connection.executemany("UPDATE directory SET mtime_ns = ?, entries = ? WHERE id = ?", rows)
        return {"object_count": objects, "total_size": total, "largest_size": largest}

    def _keep_mtimes(self, previous: str, now_ns: int) -> None:
        """A directory's mtime changes exactly when the names in it do."""
        connection = self._connection
        connection.execute("COMMIT")  # ATTACH works outside of transactions only
        connection.execute("ATTACH ? AS previous", (read_only_uri(previous),))
        kept = connection.execute(_MTIMES_TO_KEEP, {"now": now_ns}).fetchall()
        connection.execute("DETACH previous")
        connection.execute("BEGIN")
        connection.executemany("UPDATE directory SET mtime_ns = ? WHERE id = ?", kept)

    @no_fork
    def close(self) -> None:
        """Give up; the file is of no use unless ``finish`` was called before."""
        self._connection.close()
