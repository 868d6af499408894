"""Snapshots that somebody has changed so that their checksum is right."""

from __future__ import annotations

import sqlite3

from vfsoverlay._namespace.place import CHECKSUM_SIZE, checksum_of_tables


def change_tables(path: str, statement: str) -> None:
    """Run *statement* on the tables of the snapshot *path*."""
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with open(path, "r+b") as file:
        file.seek(-CHECKSUM_SIZE, 2)
        file.write(checksum_of_tables(file.fileno()))
