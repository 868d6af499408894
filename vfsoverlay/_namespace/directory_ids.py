"""The numbers of directories in a snapshot that is being written."""

from __future__ import annotations

import sqlite3
from typing import Final

from vfsoverlay._namespace.names import visible_part
from vfsoverlay._namespace.pending_rows import PendingRows
from vfsoverlay._namespace.schema import ROOT

#: Directories remembered. A listing in key order returns to a directory soon or never.
_REMEMBERED: Final = 50_000


class DirectoryIds:
    """Finds directories by their path, and makes those that are new, with all above them.

    Args:
        connection: The snapshot.
        prefix: What all keys begin with.
        new: Whether the root is the only directory so far.
    """

    def __init__(self, connection: sqlite3.Connection, prefix: str, *, new: bool) -> None:
        self._connection = connection
        self._prefix = prefix
        self._pending = PendingRows(connection, "directory", ("id", "path", "parent", "name"))
        (last,) = connection.execute("SELECT max(id) FROM directory").fetchone()
        self._next = last + 1
        #: Whether a directory that is not remembered is certainly new.
        self._all_known = new
        self._ids = {"": ROOT}
        self._places: dict[str, tuple[int, str]] = {}

    def place(self, above: str) -> tuple[int, str]:
        """The id of the deepest valid directory of *above* (whole, with slash), and why the rest is hidden."""
        place = self._places.get(above)
        if place is None:
            path, reason = visible_part(above[len(self._prefix) :])
            place = self._id(path), reason
            if len(self._places) >= _REMEMBERED:
                self._places.clear()
            self._places[above] = place
        return place

    def forget(self) -> None:
        """Directories were removed: look for each anew."""
        self.flush()
        self._ids, self._places, self._all_known = {"": ROOT}, {}, False

    def flush(self) -> None:
        """Have all directories in the table."""
        self._pending.flush()

    def _id(self, path: str) -> int:
        id_ = self._ids.get(path)
        if id_ is not None:
            return id_
        if not self._all_known:
            row = self._connection.execute("SELECT id FROM directory WHERE path = ?", (path,)).fetchone()
            if row is not None:
                return self._remember(path, int(row[0]))
        above, _, name = path.rpartition("/")
        parent = self._id(above)
        id_, self._next = self._next, self._next + 1
        self._pending.add(id_, path, parent, name)
        return self._remember(path, id_)

    def _remember(self, path: str, id_: int) -> int:
        if len(self._ids) >= _REMEMBERED:
            self.forget()
        self._ids[path] = id_
        return id_
