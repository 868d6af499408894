"""The listings that a cache directory keeps: found damaged or sound, and removed where nobody reads them."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.listed_store import ListedStore
from tests.model.snapshot_tables import change_tables
from vfsoverlay._namespace.kept_listings import check_listings
from vfsoverlay._namespace.place import size_of_tables
from vfsoverlay._namespace.snapshot import Snapshot

Build = Callable[..., Snapshot]
KEYS = [f"d{i:02d}/{j}" for i in range(20) for j in range(20)]


def _flip(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        old = os.pread(file.fileno(), 1, at)
        os.pwrite(file.fileno(), bytes([old[0] ^ 1]), at)


def _tables(path: str) -> int:
    with open(path, "rb") as file:
        return size_of_tables(file.fileno())


@pytest.mark.parametrize("place", ["magic", "application id", "tables", "leaves", "end", "cut", "empty"])
def test_a_damaged_listing_is_found_and_removed(build: Build, tmp_path: Path, place: str) -> None:
    """Wherever a kept listing is damaged, a check names it, with the next step, and removes it; sound ones stay."""
    sound, bad = build(ListedStore(KEYS), identity="sound"), build(ListedStore(KEYS), identity="bad")
    sound.close()
    bad.close()
    size = os.path.getsize(bad.path)
    if place in ("cut", "empty"):
        os.truncate(bad.path, size - 1 if place == "cut" else 0)
    else:
        places = {"magic": 0, "application id": 70, "tables": 5000, "leaves": _tables(bad.path) + 9, "end": size - 1}
        _flip(bad.path, places[place])
    found = check_listings(str(tmp_path))
    assert found.checked == 2
    ((name, what),) = found.damaged
    assert name == os.path.basename(bad.path)
    assert "mount again or call refresh() to list anew; it was removed" in what
    assert os.listdir(tmp_path) == [os.path.basename(sound.path)]
    assert check_listings(str(tmp_path)) == (1, [])


def test_a_listing_in_use_is_checked_and_not_removed(build: Build, tmp_path: Path) -> None:
    """What a process has open is read beside it, and stays while it is open, damaged or not."""
    snapshot = build(ListedStore(KEYS))
    assert check_listings(str(tmp_path)) == (1, [])
    _flip(snapshot.path, os.path.getsize(snapshot.path) - 1)
    for _ in range(2):
        ((name, what),) = check_listings(str(tmp_path)).damaged
        assert snapshot.path.endswith(name)
        assert what.endswith("it stays until no process reads it")
    assert snapshot.names("d03") == sorted(str(j) for j in range(20))
    snapshot.close()
    assert len(check_listings(str(tmp_path)).damaged) == 1
    assert os.listdir(tmp_path) == []


def test_a_listing_that_is_being_replaced_is_left_alone(build: Build, tmp_path: Path) -> None:
    """While a process lists the same names anew, or loads them, nothing is removed, and the check does not wait."""
    snapshot = build(ListedStore(KEYS))
    snapshot.close()
    os.truncate(snapshot.path, 5000)
    with open(snapshot.path.partition(".")[0] + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ((_, what),) = check_listings(str(tmp_path)).damaged
    assert what.endswith("it stays until no process reads it")
    assert os.path.exists(snapshot.path)


def test_listings_of_other_versions_are_not_judged(build: Build, tmp_path: Path) -> None:
    """A listing of another format is neither counted, nor damaged, nor removed; nor is what is no listing."""
    snapshot = build(ListedStore(KEYS))
    snapshot.close()
    change_tables(snapshot.path, "PRAGMA user_version = 2")
    (tmp_path / ".half.tmp").write_bytes(b"")
    before = sorted(os.listdir(tmp_path))
    assert check_listings(str(tmp_path)) == (0, [])
    assert sorted(os.listdir(tmp_path)) == before


def test_there_need_be_no_listings(tmp_path: Path) -> None:
    """Where no directory of listings is, none is found, and none is made; what cannot be read is an error."""
    assert check_listings(str(tmp_path / "missing")) == (0, [])
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as caught:
        check_listings(str(tmp_path / "file"))
    assert caught.value.errno == errno.ENOTDIR
