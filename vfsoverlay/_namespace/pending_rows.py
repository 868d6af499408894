"""Rows on their way into a table, put there with few statements."""
# ruff: noqa: S608 - the texts put into statements are names of our own tables and columns

from __future__ import annotations

import sqlite3
from typing import Any, Final

#: Rows of one INSERT, largest first. SQLite gives up the interpreter lock once a statement, and takes up
#: to 5 ms to have it back from threads that parse pages: a statement a row would spend its time waiting.
#: Ten columns make 900 variables; SQLite allows 999 in a statement before version 3.32.
_BATCHES: Final = (90, 9, 1)


class PendingRows:
    """Rows for *table* that are not in it yet."""

    def __init__(self, connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> None:
        self._connection = connection
        self._width = len(columns)
        self._values: list[Any] = []
        into = f"INSERT OR REPLACE INTO {table} ({','.join(columns)}) VALUES "
        self._statements = {rows: into + ",".join([f"({','.join('?' * self._width)})"] * rows) for rows in _BATCHES}

    def add(self, *row: Any) -> None:
        """Add one row; it is in the table after ``flush``, or sooner."""
        self._values += row
        if len(self._values) >= _BATCHES[0] * self._width:
            self.flush()

    def flush(self) -> None:
        """Put all rows into the table."""
        start = 0
        for rows in _BATCHES:
            stop = start + rows * self._width
            while stop <= len(self._values):
                self._connection.execute(self._statements[rows], self._values[start:stop])
                start, stop = stop, stop + rows * self._width
        self._values = []
