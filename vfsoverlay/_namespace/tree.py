"""Completes the tree in a snapshot that was filled: order, shadowed files, counts, and times of directories."""
# ruff: noqa: S608 - the texts put into statements are our own table names

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Final, TypeAlias

from vfsoverlay._namespace import branch, leaf
from vfsoverlay._namespace.new_leaves import NewLeaves
from vfsoverlay._namespace.pending_rows import PendingRows
from vfsoverlay._namespace.place import Place, read_place, size_of_tables
from vfsoverlay._namespace.schema import INDEXES, ROOT, read_only_uri
from vfsoverlay._namespace.whole_file import reading

_Read: TypeAlias = Callable[[Place], bytes]

_FILE: Final = ("name", "size", "mtime_ns", "etag", "storage_class", "version_id")
_MAKE_LOOSE: Final = """
    CREATE TABLE loose (name TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, etag TEXT, storage_class TEXT,
        version_id TEXT) WITHOUT ROWID
"""
#: Leaves that may have files of the name of a directory.
_SUSPECTS: Final = """
    SELECT id, parent, first, last FROM leaf
    WHERE EXISTS (SELECT 1 FROM directory WHERE parent = leaf.parent AND name BETWEEN first AND last)
"""
_MEASURE: Final = {
    "leaf": "sum(files), sum(size), max(largest), max(mtime_ns)",
    "shadowed": "count(*), sum(size), max(size), max(mtime_ns)",
    "hidden": "count(*), sum(size), max(size), max(mtime_ns)",
}
_COUNT_HIDDEN: Final = "SELECT count(*) + (SELECT count(*) FROM shadowed) FROM hidden WHERE reason != ''"
#: All directories, and for those that have one leaf, where it is.
_WITH_LEAVES: Final = """
    SELECT path, directory.id, directory.mtime_ns, entries, directory.files, count(leaf.id), start, length, checksum
    FROM directory LEFT JOIN leaf ON leaf.parent = directory.id GROUP BY path ORDER BY path
"""
#: Directories that were there before, and whether they have the same number of files and the same directories.
_BEFORE: Final = """
    SELECT new.id, old.id, new.mtime_ns, old.mtime_ns, new.entries = old.entries AND new.files = old.files
        AND NOT EXISTS (
            SELECT 1 FROM directory AS child WHERE child.parent = new.id AND NOT EXISTS (
                SELECT 1 FROM previous.directory AS was WHERE was.parent = old.id AND was.name = child.name))
    FROM directory AS new JOIN previous.directory AS old USING (path)
"""


def complete(connection: sqlite3.Connection, leaves: NewLeaves, *, now_ns: int, previous: str = "") -> dict[str, int]:
    """Make a whole of all rows that were put in, and return what was counted.

    Args:
        connection: The snapshot, in a transaction.
        leaves: Its leaves.
        now_ns: When the listing was begun.
        previous: Path of the snapshot before this one, or empty.
    """
    for statement in INDEXES:
        connection.execute(statement)
    for parent in _unordered(connection):
        _order(connection, leaves, parent)
    _shadow(connection, leaves)
    counts = _measure(connection, now_ns)
    if previous:
        _keep_mtimes(connection, leaves, previous, now_ns)
    (counts["hidden_count"],) = connection.execute(_COUNT_HIDDEN).fetchone()
    leaves.tidy()
    _make_branches(connection, leaves)
    return counts


def _unordered(connection: sqlite3.Connection) -> list[int]:
    """The directories whose leaves overlap: they came in no order, or something was listed twice."""
    found: list[int] = []
    before: tuple[int, str] = 0, ""
    for parent, first, last in connection.execute("SELECT parent, first, last FROM leaf ORDER BY parent, first"):
        if before[0] == parent and first <= before[1] and found[-1:] != [parent]:
            found.append(parent)
        before = parent, last
    return found


def _order(connection: sqlite3.Connection, leaves: NewLeaves, parent: int) -> None:
    """Cut the files of the directory *parent* into leaves anew; of two with one name, the later one counts."""
    connection.execute(_MAKE_LOOSE)
    query = "SELECT start, length, checksum FROM leaf WHERE parent = ? ORDER BY id"
    for place in connection.execute(query, (parent,)):
        files_in_place = leaf.files_in(leaves.read(place))
        connection.executemany("INSERT OR REPLACE INTO loose VALUES (?,?,?,?,?,?)", files_in_place)
    connection.execute("DELETE FROM leaf WHERE parent = ?", (parent,))
    files = connection.execute(f"SELECT {','.join(_FILE)} FROM loose ORDER BY name")
    while some := files.fetchmany(leaf.SIZE):
        leaves.add(parent, *zip(*some, strict=True))
    leaves.flush()
    connection.execute("DROP TABLE loose")


def _shadow(connection: sqlite3.Connection, leaves: NewLeaves) -> None:
    """Put files that have the name of a directory aside."""
    shadowed = PendingRows(connection, "shadowed", ("parent", *_FILE))
    names = "SELECT name FROM directory WHERE parent = ? AND name BETWEEN ? AND ?"
    for id_, parent, first, last in connection.execute(_SUSPECTS).fetchall():
        folders = {name for (name,) in connection.execute(names, (parent, first, last))}
        place = connection.execute("SELECT start, length, checksum FROM leaf WHERE id = ?", (id_,)).fetchone()
        files = list(leaf.files_in(leaves.read(place)))
        left = [file for file in files if file.name not in folders]
        if len(left) == len(files):
            continue
        for file in files:
            if file.name in folders:
                shadowed.add(parent, *file)
        connection.execute("DELETE FROM leaf WHERE id = ?", (id_,))
        if left:
            leaves.add(parent, *zip(*left, strict=True))
    leaves.flush()
    shadowed.flush()


def _measure(connection: sqlite3.Connection, now_ns: int) -> dict[str, int]:
    """Set the number of entries and the mtime of each directory; return what was counted.

    A directory's mtime is that of its newest own object, else of its newest directory: it
    depends on the objects alone, so two runs agree.
    """
    (last,) = connection.execute("SELECT max(id) FROM directory").fetchone()
    # Arrays, not dicts: a listing may have a million directories.
    newest, below, files, folders = (array("q", bytes(8 * (last + 1))) for _ in range(4))
    objects = total = largest = 0
    for table, what in _MEASURE.items():
        for parent, count, size, most, mtime_ns in connection.execute(
            f"SELECT parent, {what} FROM {table} GROUP BY parent"
        ):
            objects += count
            total += size
            largest = max(largest, most)
            newest[parent] = max(newest[parent], mtime_ns)
            if table == "leaf":
                files[parent] = count
    ids = array("q")
    for id_, parent in connection.execute("SELECT id, parent FROM directory ORDER BY id DESC"):
        ids.append(id_)
        newest[id_] = newest[id_] or below[id_]
        if parent is not None:
            below[parent] = max(below[parent], newest[id_])
            folders[parent] += 1
    newest[ROOT] = newest[ROOT] or now_ns
    rows = ((newest[id_], files[id_] + folders[id_], files[id_], id_) for id_ in ids)
    connection.executemany("UPDATE directory SET mtime_ns = ?, entries = ?, files = ? WHERE id = ?", rows)
    return {"object_count": objects, "total_size": total, "largest_size": largest}


def _keep_mtimes(connection: sqlite3.Connection, leaves: NewLeaves, previous: str, now_ns: int) -> None:
    """A directory's mtime changes exactly when the names in it do: else it stays, and never stays by chance."""
    connection.execute("COMMIT")  # ATTACH works outside of transactions only
    try:
        connection.execute("ATTACH ? AS previous", (read_only_uri(previous),))
        try:
            with reading(previous) as descriptor:
                read_previous = partial(read_place, descriptor, size_of_tables(descriptor))
                kept = list(_mtimes_to_keep(connection, leaves.read, read_previous, now_ns))
        finally:
            connection.execute("DETACH previous")
    except (sqlite3.Error, OSError):
        # It is damaged or gone, so any name may be new. If it is the new one that fails, writing meets that as well.
        kept = [(now_ns, id_) for (id_,) in connection.execute("SELECT id FROM directory")]
    connection.execute("BEGIN")
    connection.executemany("UPDATE directory SET mtime_ns = ? WHERE id = ?", kept)


def _mtimes_to_keep(
    connection: sqlite3.Connection, read: _Read, read_previous: _Read, now_ns: int
) -> Iterator[tuple[int, int]]:
    """What the mtime of some directories has to be, and their ids."""
    for new_id, old_id, new, old, alike in connection.execute(_BEFORE):
        same = alike and _digest(connection, "main", new_id, read) == _digest(
            connection, "previous", old_id, read_previous
        )
        if same:
            if new != old:
                yield old, new_id
        elif new == old:
            yield now_ns, new_id


def _digest(connection: sqlite3.Connection, schema: str, directory: int, read: _Read) -> bytes:
    """A digest of the names of the files in *directory*, however they are cut into leaves."""
    digest = blake2b()
    query = f"SELECT start, length, checksum FROM {schema}.leaf WHERE parent = ? ORDER BY first"
    for place in connection.execute(query, (directory,)):
        digest.update(leaf.name_bytes(read(place)))
    return digest.digest()


def _make_branches(connection: sqlite3.Connection, leaves: NewLeaves) -> None:
    """Pack the directories, as they are now, into branches."""
    connection.execute("DELETE FROM branch")
    branches = PendingRows(connection, "branch", ("first", "start", "length", "checksum"))
    directories = connection.execute(_WITH_LEAVES)
    while some := directories.fetchmany(branch.SIZE):
        rows = [branch.DirectoryRow._make((*row[1:5], row[6:] if row[5] == 1 else None)) for row in some]
        branches.add(some[0][0], *leaves.put(branch.pack([path for path, *_ in some], rows)))
    branches.flush()
