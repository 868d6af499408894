from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.listed_store import ListedStore
from vfsoverlay._namespace.export import load_snapshot, save_snapshot, snapshot_info
from vfsoverlay._namespace.snapshot import Snapshot

Build = Callable[..., Snapshot]


@pytest.fixture
def saved(build: Build, tmp_path: Path) -> Path:
    file = tmp_path / "names.listing"
    save_snapshot(build(ListedStore([f"p/d{i}/f" for i in range(200)]), "p/"), str(file))
    return file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def test_a_saved_snapshot_is_the_same_elsewhere(build: Build, saved: Path, home: Path) -> None:
    """Names, times and counts of a loaded snapshot are those of the saved one, without any request."""
    loaded = load_snapshot(str(saved), str(home), identity="x")
    info = snapshot_info(str(saved))
    assert dict(loaded.info) == dict(info)
    assert (info["prefix"], info["object_count"]) == ("p/", "200")
    assert (len(loaded.names("")), loaded.lookup("d7/f") is not None) == (200, True)
    assert loaded.path.startswith(str(home))
    loaded.close()


def test_loading_again_copies_nothing(saved: Path, home: Path) -> None:
    """What is there already, and whole, is used as it is; a damaged copy is replaced."""
    first = load_snapshot(str(saved), str(home), identity="x")
    first.close()
    was = os.stat(first.path)
    load_snapshot(str(saved), str(home), identity="x").close()
    assert os.stat(first.path).st_ino == was.st_ino
    with open(first.path, "r+b") as file:
        file.seek(was.st_size // 2)
        file.write(b"\xff" * 64)
    again = load_snapshot(str(saved), str(home), identity="x")
    assert len(again.names("")) == 200
    again.close()
    assert os.listdir(home) == [os.path.basename(first.path)]


def test_a_snapshot_of_another_source_is_refused(saved: Path, home: Path) -> None:
    """The identity must be the one that was listed; the message names both."""
    with pytest.raises(ValueError, match="a listing of x, not of y"):
        load_snapshot(str(saved), str(home), identity="y")
    assert os.listdir(home) == []


def test_any_damage_is_refused(saved: Path, home: Path) -> None:
    """A file that is cut, longer, or has one byte changed anywhere is refused, and nothing stays behind."""
    good = saved.read_bytes()
    cuts = [good[:length] for length in (0, 5, 21, 100, len(good) // 2, len(good) - 1)]
    flips = [good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :] for i in range(0, len(good), len(good) // 50)]
    for damaged in [*cuts, *flips, good + b"x", b"\n\n\n", b"vfsoverlay listing 1\n[]\n"]:
        saved.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"names\.listing"):
            load_snapshot(str(saved), str(home), identity="x")
        assert os.listdir(home) == []


@pytest.mark.parametrize(
    "change",
    [{"bytes": "9"}, {"blake2b": None}, {"info": None}, {"info": {"identity": "x"}}, {"info": {"generation": "z"}}],
)
def test_a_header_that_makes_no_sense_is_refused(saved: Path, home: Path, change: dict[str, object]) -> None:
    """Missing or ill-typed entries of the header are a ValueError that names the file."""
    mark, header, content = saved.read_bytes().split(b"\n", 2)
    saved.write_bytes(b"\n".join([mark, json.dumps(json.loads(header) | change).encode(), content]))
    with pytest.raises(ValueError, match=r"names\.listing"):
        load_snapshot(str(saved), str(home), identity="x")
    assert os.listdir(home) == []


def test_a_header_of_another_listing_is_refused(saved: Path, home: Path) -> None:
    """The header must say what the content says of itself."""
    mark, header, content = saved.read_bytes().split(b"\n", 2)
    values = json.loads(header)
    values["info"]["object_count"] = "7"
    saved.write_bytes(b"\n".join([mark, json.dumps(values).encode(), content]))
    with pytest.raises(ValueError, match="another listing than it says"):
        load_snapshot(str(saved), str(home), identity="x")
    assert os.listdir(home) == []


def test_saving_replaces_the_file_or_leaves_it(build: Build, saved: Path, tmp_path: Path) -> None:
    """A second save takes the place of the first; one that cannot be written leaves nothing."""
    save_snapshot(build(ListedStore(["only"])), str(saved))
    assert snapshot_info(str(saved))["object_count"] == "1"
    with pytest.raises(FileNotFoundError):
        save_snapshot(build(ListedStore(["only"])), str(tmp_path / "missing" / "file"))
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_a_missing_file_is_missing(home: Path) -> None:
    """Loading what is not there is FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        load_snapshot(str(home / "no"), str(home), identity="x")
