from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model.listed_store import ListedPage, ListedStore
from tests.model.snapshot_tables import change_tables
from vfsoverlay._namespace.generations import build_snapshot, find_reusable, refresh_snapshot
from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot
from vfsoverlay.errors import ObjectTooLarge, TooManyObjects

Build = Callable[..., Snapshot]
LIMITS: dict[str, Any] = {"max_objects": 1_000, "max_object_size": 1_000}


def left(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if not name.endswith(".sqlite"))


def snapshots(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.endswith(".sqlite"))


@pytest.mark.parametrize(
    ("options", "error"),
    [({"max_objects": 3}, TooManyObjects), ({"max_object_size": 0}, ObjectTooLarge), ({}, PermissionError)],
)
def test_nothing_is_left_of_a_listing_that_failed(
    build: Build, tmp_path: Path, options: dict[str, int], error: type[OSError]
) -> None:
    """Beyond a limit, or when the store fails, no file stays behind."""
    store = ListedStore(["a", "b", "c", "d"], page_size=2)
    if not options:
        store.failures = [PermissionError(errno.EACCES, "no")]
    with pytest.raises(error):
        build(store, **options)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_or_a_missing_directory_is_an_error_of_the_system(tmp_path: Path) -> None:
    """A directory that is not there raises FileNotFoundError with its name."""
    with pytest.raises(FileNotFoundError, match="missing"):
        build_snapshot(ListedStore(["a"]).list_pages, "", str(tmp_path / "missing"), identity="x", **LIMITS)


def test_a_refresh_of_one_directory_lists_only_that(build: Build) -> None:
    """What is outside of the refreshed directory is taken over without a request; the old snapshot stays as it was."""
    store = ListedStore(["p/a/1", "p/b/1", "p/b/c/1"])
    old = build(store, "p/")
    store.sizes = dict.fromkeys(["p/a/2", "p/b/2", "p/b/d/1"], 1)
    store.requests.clear()
    new = refresh_snapshot(old, store.list_pages, "b", **LIMITS)
    assert store.requests == [("p/b/", "")]
    assert (new.names("a"), new.names("b"), new.names("b/d")) == (["1"], ["2", "d"], ["1"])
    assert new.lookup("b/c") is None
    assert (old.names("b"), new.object_count, new.prefix) == (["1", "c"], 3, "p/")
    assert new.generation > old.generation
    new.close()


def test_refreshes_of_directories_do_not_make_the_file_grow(build: Build) -> None:
    """What was listed before and is no more, or is cut anew, leaves nothing in the file, however often."""
    store = ListedStore([f"p/{d}/{i:04d}" for d in range(4) for i in range(200)])
    snapshot = build(store, "p/")
    sizes = set()
    for _ in range(5):
        refreshed = refresh_snapshot(snapshot, store.list_pages, "2", **LIMITS)
        snapshot.close()
        snapshot = refreshed
        assert [len(snapshot.names(f"{d}")) for d in range(4)] == [200] * 4
        sizes.add(os.path.getsize(snapshot.path))
    assert len(sizes) == 1
    assert snapshot.is_sound()
    snapshot.close()


def test_a_directory_that_lost_all_its_objects_goes_with_those_above(build: Build) -> None:
    """After a refresh an implied directory that holds nothing is gone, and a file it had shadowed is back."""
    store = ListedStore({"a": 7, "a/b/c": 1, "k//x": 1, "k/b/c": 1, "m/": 0, "m/b/c": 1})
    snapshot = build(store)
    for key in ("a/b/c", "k/b/c", "m/b/c"):
        del store.sizes[key]
        refreshed = refresh_snapshot(snapshot, store.list_pages, key[:3], **LIMITS)
        snapshot.close()
        snapshot = refreshed
    assert (snapshot.names(""), snapshot.names("k"), snapshot.names("m")) == (["a", "k", "m"], [], [])
    node = snapshot.lookup("a")
    assert node is not None
    assert getattr(node, "size", None) == 7
    assert [hidden.key for hidden in snapshot.hidden()] == ["k//x"]
    assert snapshot.object_count == len(store.sizes)
    snapshot.close()


@pytest.mark.parametrize("others", [[], ["z/later"], ["p/q/r/s"]])
def test_a_shadowed_file_that_is_back_keeps_its_directories(build: Build, others: list[str]) -> None:
    """Where the last object of a directory goes, the file it had shadowed is back, in the directories it lies in."""
    store = ListedStore(["top", "p/q/d", "p/q/d/x", *others])
    old = build(store)
    del store.sizes["p/q/d/x"]
    for path in ("p/q/d", "p/q/d", ""):
        new = refresh_snapshot(old, store.list_pages, path, **LIMITS)
        old.close()
        assert isinstance(new.lookup("p/q/d"), FileNode)
        assert new.names("") == sorted({"top", "p", *(key[0] for key in others)})
        assert new.names("p/q") == sorted({"d", *(key[4] for key in others if key[0] == "p")})
        assert (new.object_count, new.hidden_count) == (len(store.sizes), 0)
        old = new
    old.close()


@pytest.mark.parametrize("path", ["", "b"])
@pytest.mark.parametrize("damage", [*range(0, 40_000, 4096), "cut", "gone", "directory gone"])
def test_a_damaged_snapshot_heals_by_a_refresh(build: Build, tmp_path: Path, damage: int | str, path: str) -> None:
    """Whatever happens to the file of the listing in use, a refresh lists anew; what is left of it is not believed."""
    store = ListedStore(["a/1", "b/2"] + [f"c{i:03d}/x" for i in range(300)])
    old = build(store)
    mtimes = {name: old.lookup(name) for name in ("a", "b", "c007")}
    store.sizes["b/3"] = 1
    if damage == "directory gone":
        shutil.rmtree(tmp_path)
    elif damage == "gone":
        os.unlink(old.path)
    elif isinstance(damage, str):
        os.truncate(old.path, 5000)
    else:
        with open(old.path, "r+b") as file:
            os.pwrite(file.fileno(), b"\xc1" * 100, damage)
    new = refresh_snapshot(old, store.list_pages, path, **LIMITS)
    old.close()
    assert new.names("b") == ["2", "3"]
    assert new.object_count == 303
    assert new.is_sound()
    assert new.lookup("b") != mtimes["b"]
    new.close()


def test_the_mtime_of_a_directory_changes_with_its_names_only(build: Build) -> None:
    """Overwriting an object leaves its directory's mtime; a name that comes, goes or changes its kind changes it."""
    store = ListedStore(["d/a", "d/b", "e/a", "f/a", "g/a", "g/b"])
    old = build(store)
    store.mtimes["d/a"] = 2 * 10**18
    del store.sizes["g/b"]  # the newest object stays: the mtime must change all the same
    store.sizes |= {"e/b": 1, "f/a/b": 1}
    new = refresh_snapshot(old, store.list_pages, **LIMITS)
    same = {path: old.lookup(path).mtime_ns == new.lookup(path).mtime_ns for path in ("", "d", "e", "f", "g")}  # type: ignore[union-attr]
    assert same == {"": True, "d": True, "e": False, "f": False, "g": False}
    again = refresh_snapshot(new, store.list_pages, **LIMITS)
    assert [node.mtime_ns for node in again.scan("")] == [node.mtime_ns for node in new.scan("")]
    new.close()
    again.close()


def test_limits_count_what_is_not_refreshed(build: Build) -> None:
    """A refresh of one directory that makes the whole too large fails, and the old snapshot goes on."""
    store = ListedStore(["a/1", "b/1", "b/2"])
    snapshot = build(store)
    store.sizes["b/3"] = 1
    with pytest.raises(TooManyObjects):
        refresh_snapshot(snapshot, store.list_pages, "b", max_objects=3, max_object_size=1)
    assert snapshot.names("b") == ["1", "2"]


def test_a_refresh_of_a_file_means_its_directory(build: Build) -> None:
    """A path that is no directory refreshes the nearest one above it."""
    store = ListedStore(["a/b/f"])
    snapshot = build(store)
    store.requests.clear()
    for path, listed in (("a/b/f", "a/b/"), ("a/b/new", "a/b/"), ("nowhere/x", "")):
        refresh_snapshot(snapshot, store.list_pages, path, **LIMITS).close()
        assert store.requests.pop() == (listed, "")


def test_old_generations_go_when_nobody_has_them_open(build: Build, tmp_path: Path) -> None:
    """A generation that is open stays; once closed, the next listing removes it."""
    store = ListedStore(["a"])
    first = build(store)
    second = build(store)
    assert len(snapshots(tmp_path)) == 2
    first.close()
    third = build(store)
    assert snapshots(tmp_path) == sorted(os.path.basename(snapshot.path) for snapshot in (second, third))
    assert left(tmp_path) == []


def test_what_a_killed_process_left_is_removed(build: Build, tmp_path: Path) -> None:
    """A temporary file of the same source without an owner goes with the next listing; other files stay."""
    name = os.path.basename(build(ListedStore(["a"])).path)
    orphan = tmp_path / f".{name.removesuffix('.sqlite')}.tmp"
    orphan.write_bytes(b"half")
    foreign = tmp_path / "notes.txt"
    foreign.write_bytes(b"mine")
    build(ListedStore(["a"]))
    assert left(tmp_path) == ["notes.txt"]


def test_unused_snapshots_of_other_sources_go_after_a_week(build: Build, tmp_path: Path) -> None:
    """Snapshots that nobody has open and that are old are removed, whatever they are of; young ones stay."""
    young, old = build(ListedStore(["a"]), identity="young"), build(ListedStore(["a"]), identity="old")
    young.close()
    old.close()
    os.utime(old.path, ns=(0, 0))
    mine = build(ListedStore(["a"]))
    assert snapshots(tmp_path) == sorted(map(os.path.basename, (young.path, mine.path)))


def test_a_later_run_reuses_a_snapshot_that_is_new_enough(build: Build, tmp_path: Path) -> None:
    """With reuse_listing the newest snapshot up to that age is opened without a request; without, it is listed anew."""
    store = ListedStore(["a", "b"])
    first = build(store)
    store.requests.clear()
    again = build(store, reuse_listing=3600)
    assert (again.path, again.names(""), store.requests) == (first.path, ["a", "b"], [])
    assert build(store).path != first.path
    assert find_reusable(str(tmp_path), "x", max_age=0, **LIMITS) is None
    assert find_reusable(str(tmp_path), "y", max_age=3600, **LIMITS) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE info SET value = 'other' WHERE name = 'identity'",
        "UPDATE info SET value = '1' WHERE name = 'listed_at_ns'",
        "UPDATE info SET value = '2000' WHERE name = 'object_count'",
        "UPDATE info SET value = '2000' WHERE name = 'largest_size'",
        "UPDATE info SET value = 'many' WHERE name = 'largest_size'",
        "UPDATE info SET value = '' WHERE name = 'object_count'",
        "PRAGMA user_version = 1",
        "DROP TABLE info",
    ],
)
def test_a_doubtful_snapshot_is_not_reused(build: Build, tmp_path: Path, statement: str) -> None:
    """Another source, age, version, or more and larger objects than this mount admits: it is listed anew."""
    snapshot = build(ListedStore(["a"]))
    snapshot.close()
    change_tables(snapshot.path, statement)
    assert find_reusable(str(tmp_path), "x", max_age=3600, **LIMITS) is None


def test_a_snapshot_from_before_a_crash_is_checked_first(build: Build, tmp_path: Path) -> None:
    """Snapshots are not synchronised, so one of another boot is reused only if the whole file is consistent."""
    snapshot = build(ListedStore([f"d{i:03d}/{j}" for i in range(300) for j in range(10)]), max_objects=10_000)
    snapshot.close()
    change_tables(snapshot.path, "UPDATE info SET value = 'another boot' WHERE name = 'boot_id'")
    found = find_reusable(str(tmp_path), "x", max_age=3600, max_objects=10_000, max_object_size=10)
    assert found is not None
    found.close()
    with open(snapshot.path, "r+b") as file:
        file.seek(8 * 4096)
        file.write(bytes(os.path.getsize(snapshot.path) - 8 * 4096))
    assert find_reusable(str(tmp_path), "x", max_age=3600, max_objects=10_000, max_object_size=10) is None


def _list_once(directory: str, log: str, barrier: Any) -> None:
    store = ListedStore([f"{i}" for i in range(50)])

    def list_pages(prefix: str, **how: Any) -> Iterator[ListedPage]:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, b"L")
        os.close(descriptor)
        yield from store.list_pages(prefix, **how)

    barrier.wait(30)
    snapshot = build_snapshot(list_pages, "", directory, identity="x", **LIMITS)
    assert len(snapshot.names("")) == 50
    snapshot.close()


def test_processes_that_start_together_list_in_turn_and_share(tmp_path: Path) -> None:
    """Of processes that mount at once one lists; those that waited since before it began take its listing."""
    context = multiprocessing.get_context("fork")
    barrier, log = context.Barrier(6), tmp_path / "log"
    home = tmp_path / "home"
    home.mkdir()
    children = [context.Process(target=_list_once, args=(str(home), str(log), barrier)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    assert [child.exitcode for child in children] == [0] * 6
    # Who asked while the first was listing may need what was written meanwhile, and waits for the second.
    assert 1 <= len(log.read_bytes()) < 6
    assert left(home) == []


def test_a_listing_begun_before_one_asked_is_not_taken(build: Build) -> None:
    """An object written before mount() was called is seen, although another thread was listing at that time."""
    store = ListedStore(["old"])
    listing, go_on = threading.Event(), threading.Event()

    class Slow(ListedStore):
        def list_pages(self, prefix: str, **how: Any) -> Iterator[ListedPage]:
            pages = list(store.list_pages(prefix, **how))
            listing.set()
            assert go_on.wait(30)
            yield from pages

    first = threading.Thread(target=build, args=(Slow([]),))
    first.start()
    assert listing.wait(30)
    store.sizes["new"] = 1
    found: list[list[str]] = []
    second = threading.Thread(target=lambda: found.append(build(store).names("")))
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    assert found == [["new", "old"]]


def test_another_process_opens_the_file_by_its_path(build: Build) -> None:
    """A snapshot opened by path shows the same names and generation, without any store."""
    snapshot = build(ListedStore(["a/b", "c"]))
    other = open_snapshot(snapshot.path)
    assert (other.generation, other.names(""), other.lookup("a/b")) == (
        snapshot.generation,
        ["a", "c"],
        snapshot.lookup("a/b"),
    )
    other.close()
