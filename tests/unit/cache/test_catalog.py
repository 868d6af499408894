"""The catalog keeps hints, unpickles nothing, and no fault of its database reaches anybody."""

from __future__ import annotations

import os
import pickle
import sqlite3
from pathlib import Path

import pytest

from vfsoverlay._cache.catalog import Catalog

DIGEST = "ab" * 20


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a catalog that knows one use."""
    catalog = Catalog(str(tmp_path / "meta"))
    catalog.note(DIGEST)
    catalog.write()
    return tmp_path / "meta"


def test_uses_are_known_to_the_next_process(directory: Path) -> None:
    """A use that was written is read by another catalog."""
    assert list(Catalog(str(directory)).last_uses()) == [DIGEST]


def test_noting_a_use_touches_no_disk(tmp_path: Path) -> None:
    """Until it is time to write, nothing is opened."""
    catalog = Catalog(str(tmp_path / "meta"))
    catalog.note(DIGEST)
    assert not catalog.is_due
    assert not (tmp_path / "meta").exists()


def damage_garbage(directory: Path) -> None:
    (directory / "cache.db").write_bytes(os.urandom(20_000))


def damage_middle(directory: Path) -> None:
    with (directory / "cache.db").open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(16_384))


def damage_foreign(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    with sqlite3.connect(directory / "cache.db") as connection:
        connection.execute("create table Settings (key text, value)")
        connection.execute("insert into Settings values ('disk_nonsense', 7)")
    connection.close()


def damage_values(directory: Path) -> None:
    with sqlite3.connect(directory / "cache.db") as connection:
        connection.execute("update Cache set value = 'text', mode = 4")
    connection.close()


def damage_gone(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


@pytest.mark.parametrize("damage", [damage_garbage, damage_middle, damage_foreign, damage_values, damage_gone])
def test_a_damaged_database_heals(directory: Path, damage: object) -> None:
    """Whatever is in the way, nothing is raised, and hints are kept again soon."""
    assert callable(damage)
    damage(directory)
    catalog = Catalog(str(directory))
    catalog.last_uses()
    for _ in range(2):
        catalog.note(DIGEST)
        catalog.write()
    assert DIGEST in catalog.last_uses()
    assert DIGEST in Catalog(str(directory)).last_uses()


@pytest.mark.parametrize("column", ["key", "value"])
def test_nothing_is_unpickled(directory: Path, tmp_path: Path, column: str) -> None:
    """A pickle planted in the database is never loaded (CVE-2025-69872)."""
    with sqlite3.connect(directory / "cache.db") as connection:
        bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
        if column == "key":
            connection.execute("update Cache set key = ?, raw = 0", (bomb,))
        else:
            connection.execute("update Cache set value = ?, mode = 4", (bomb,))
    connection.close()
    catalog = Catalog(str(directory))
    catalog.last_uses()
    catalog.note(DIGEST)
    catalog.write()
    assert not (tmp_path / "exploded").exists()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A file where the database should be costs the hints, nothing else."""
    (tmp_path / "meta").write_text("in the way")
    catalog = Catalog(str(tmp_path / "meta"))
    catalog.note(DIGEST)
    catalog.write()
    assert Catalog(str(tmp_path / "meta")).last_uses() == {}
