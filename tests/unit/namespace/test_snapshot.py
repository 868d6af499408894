from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.model.listed_store import ListedPage, ListedStore
from tests.model.snapshot_tables import change_tables
from vfsoverlay._namespace import names
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode
from vfsoverlay._namespace.place import size_of_tables
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot

Build = Callable[..., Snapshot]


def test_a_file_node_has_all_that_the_listing_says(build: Build) -> None:
    """Size, time, ETag, storage class and version of a file are those of its object."""
    row = ("p/d/f", 3, 123456789, "abc-2", "GLACIER", "v1")
    snapshot = build(_rows([row, ("p/d/g", 1, 5, "", "", "")]), "p/")
    assert snapshot.lookup("d/f") == FileNode("f", *row[1:])
    assert list(snapshot.scan("d")) == [FileNode("f", *row[1:]), FileNode("g", 1, 5, "", "", "")]
    assert isinstance(snapshot.lookup("d"), DirectoryNode)


def _rows(rows: list[tuple[str, int, int, str, str, str]]) -> ListedStore:
    class Store(ListedStore):
        def row(self, key: str) -> tuple[str, int, int, str, str, str]:
            return next(row for row in rows if row[0] == key)

    return Store([row[0] for row in rows])


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "a/",
        "a//b",
        "//",
        "/",
        ".",
        "..",
        "a/.",
        "a/b/c",
        "\ud800",
        "d/\ud800",
        "\ud800/x",
        "x" * 5000,
        "a\0",
        "\0",
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_odd_paths_name_nothing(build: Build, path: str, *, warm: bool) -> None:
    """No text is refused: slashes at either end, lone surrogates, NUL and endless names are simply not there."""
    snapshot = build(ListedStore(["a", "d/b"]))
    if warm:
        list(snapshot.scan("")), list(snapshot.scan("d"))
    assert snapshot.lookup(path) is None


def test_names_that_are_not_utf_8_are_hidden(build: Build) -> None:
    """A local file system may have names with lone surrogates: they are hidden, with their reason, not refused."""
    snapshot = build(_rows([(key, 1, 1, "", "", "") for key in ("a\udcff", "b\udcff/c", "d")]))
    assert snapshot.names("") == ["d"]
    assert list(snapshot.hidden()) == [("a\udcff", names.NOT_UTF_8), ("b\udcff/c", names.NOT_UTF_8)]


def test_a_directory_shadows_the_file_of_its_name_wherever_the_pages_break(build: Build) -> None:
    """The directory 'a' hides the object 'a' although a thousand keys sort between them; neither shows twice."""
    snapshot = build(ListedStore(["a", *(f"a-{i:04}" for i in range(1500)), "a/b"]))
    assert snapshot.names("").count("a") == 1
    assert isinstance(snapshot.lookup("a"), DirectoryNode)
    assert list(snapshot.hidden()) == [("a", names.SHADOWED)]


def test_a_directory_is_as_old_as_its_newest_object(build: Build) -> None:
    """A directory's mtime is that of its newest own object, else of its newest directory, in every run the same."""
    store = ListedStore(["x/1", "x/2", "x/y/3", "m/", "deep/er/4"])
    store.mtimes = {"x/1": 5, "x/2": 7, "x/y/3": 9, "m/": 3, "deep/er/4": 4}
    snapshot = build(store)
    times = {path: snapshot.lookup(path).mtime_ns for path in ("", "x", "x/y", "m", "deep", "deep/er")}  # type: ignore[union-attr]
    assert times == {"": 7, "x": 7, "x/y": 9, "m": 3, "deep": 4, "deep/er": 4}


def test_an_empty_source_is_an_empty_directory(build: Build) -> None:
    """A prefix without objects is an empty root, whose mtime is the time of the listing."""
    snapshot = build(ListedStore([]))
    root = snapshot.lookup("")
    assert isinstance(root, DirectoryNode)
    assert root.mtime_ns == int(snapshot.info["listed_at_ns"])
    assert (snapshot.names(""), list(snapshot.scan("")), list(snapshot.hidden())) == ([], [], [])


def test_a_directory_that_is_not_there_cannot_be_scanned(build: Build) -> None:
    """Scan and names of what is no directory raise FileNotFoundError, never an empty answer."""
    snapshot = build(ListedStore(["a"]))
    for path in ("a", "b", "a/b"):
        with pytest.raises(FileNotFoundError):
            snapshot.names(path)
        with pytest.raises(FileNotFoundError):
            snapshot.scan(path)


def test_a_huge_directory_is_streamed(build: Build) -> None:
    """More entries than may be in memory are given in order without keeping them; look-ups do not load them."""
    keys = [f"d/{i:06d}" for i in range(100_001)]
    pages = [ListedPage([(key, 1, 1, "", "", "") for key in keys[i : i + 1000]], []) for i in range(0, 100_001, 1000)]
    store = ListedStore([])
    store.list_pages = lambda *_, **__: iter(pages)  # type: ignore[method-assign]
    snapshot = build(store, workers=1)
    assert [f"d/{node.name}" for node in snapshot.scan("d")] == keys
    assert len(snapshot.names("d")) == 100_001
    for i in range(0, 100_001, 9):
        assert snapshot.lookup(f"d/{i:06d}") is not None
    assert snapshot.lookup("d/x") is None
    assert all(directory.nodes is None for directory in snapshot._directories.items.values() if directory.entries > 1)


def test_files_and_directories_of_a_huge_directory_come_in_one_order(build: Build) -> None:
    """Streamed or not, found one by one or in memory: a directory has the same children in byte order."""
    keys = sorted([f"d/{i:04d}" for i in range(1000)] + [f"d/{i:04d}x/f" for i in range(0, 1000, 7)])
    snapshot = build(ListedStore(keys))
    (directory,) = (snapshot._existing("d"),)
    streamed = list(snapshot._stream(directory))
    assert [node.name for node in streamed] == sorted({key.split("/")[1] for key in keys})
    one_by_one = open_snapshot(snapshot.path, load_share=0)
    assert [one_by_one.lookup(f"d/{node.name}") for node in streamed] == streamed
    assert all(one_by_one.lookup(f"d/{i:04d}y") is None for i in range(1000))
    assert one_by_one.names("d") == [node.name for node in streamed]
    one_by_one.close()
    assert list(snapshot.scan("d")) == streamed


def test_a_look_up_asks_the_tables_hardly_ever(build: Build) -> None:
    """A first look-up queries SQLite where a directory has several leaves, once, and else not at all."""
    small, large = [f"s{d}/{f}" for d in range(99) for f in range(3)], [f"l/{f:04d}" for f in range(1000)]
    snapshot = open_snapshot(build(ListedStore([*large, *small])).path, load_share=0)
    queries: list[str] = []
    connection = snapshot._file._connection
    assert connection is not None
    connection.set_trace_callback(queries.append)
    assert all(isinstance(snapshot.lookup(path), FileNode) for path in small)
    assert snapshot.lookup("s7/x") is None
    assert queries == []
    assert all(isinstance(snapshot.lookup(path), FileNode) for path in large)
    assert len(queries) == 1
    snapshot.close()


def test_many_directories_stay_within_the_limit(build: Build) -> None:
    """Whatever was walked, no more entries are in memory than the limit, and answers stay right."""
    snapshot = build(ListedStore([f"{d:03d}/{f:03d}" for d in range(30) for f in range(100)]))
    cache = snapshot._directories
    cache._max_weight = 500
    for _ in range(2):
        for directory in snapshot.names(""):
            assert len(list(snapshot.scan(directory))) == 100
            assert snapshot.lookup(f"{directory}/050") is not None
    assert sum(item.weight for item in cache.items.values()) <= 500


def test_a_child_process_reads_the_same_file(build: Build) -> None:
    """After a fork, also in the middle of a scan, the child opens the file anew; the parent's state stays as it was."""
    snapshot = build(ListedStore([f"d{i}/f" for i in range(50)]))
    scan = snapshot.scan("")
    next(scan)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(30)
            snapshot.after_fork()
            status = 0 if len(list(scan)) == 49 and snapshot.lookup("d7/f") and snapshot.lookup("d7/g") is None else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert snapshot.lookup("d9/f") is not None


def test_threads_share_a_snapshot(build: Build) -> None:
    """Eight threads that look up, scan and list at once all get right answers."""
    snapshot = build(ListedStore([f"{d:02d}/{f:02d}" for d in range(40) for f in range(40)]))
    snapshot._directories._max_weight = 200
    wrong: list[object] = []

    def ask(number: int) -> None:
        for d in range(40):
            directory = f"{(d * 7 + number) % 40:02d}"
            if len(snapshot.names(directory)) != 40 or len(list(snapshot.scan(directory))) != 40:
                wrong.append(directory)
            if snapshot.lookup(f"{directory}/{d:02d}") is None or snapshot.lookup(f"{directory}/x") is not None:
                wrong.append(d)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_snapshot_says_so(build: Build) -> None:
    """After close, questions raise ENODEV instead of an empty answer; closing again is fine."""
    snapshot = build(ListedStore(["a/b"]))
    snapshot.close()
    snapshot.close()
    with pytest.raises(OSError, match="closed") as caught:
        snapshot.lookup("a/b")
    assert caught.value.errno == errno.ENODEV


def test_only_snapshots_of_this_version_are_opened(build: Build, tmp_path: Path) -> None:
    """A missing file is ENOENT; another database, another version, other bytes or a part of a snapshot are EIO."""
    with pytest.raises(FileNotFoundError):
        open_snapshot(str(tmp_path / "missing"))
    path = Path(build(ListedStore([f"{i}" for i in range(500)])).path)
    good, bad = path.read_bytes(), tmp_path / "bad?#%"
    for content in (b"", b"x" * 4096, good[:100], good[:4096], good[:-1], good + b"x"):
        bad.write_bytes(content)
        _refused(bad)
    for change in ("PRAGMA user_version = 99", "PRAGMA application_id = 7", "DELETE FROM info WHERE name = 'prefix'"):
        bad.write_bytes(good)
        change_tables(str(bad), change)
        _refused(bad)
    bad.write_bytes(good)
    opened = open_snapshot(str(bad))
    assert opened.lookup("7") is not None
    opened.close()


def test_a_changed_bit_in_the_tables_is_not_believed(build: Build, tmp_path: Path) -> None:
    """SQLite does not check its pages: a snapshot does, and one changed bit in them, or in the checksum, is EIO."""
    path = Path(build(ListedStore([f"d{i:02d}/f" for i in range(70)])).path)
    good, bad = path.read_bytes(), tmp_path / "bad"
    with open(path, "rb") as file:
        size = size_of_tables(file.fileno())
    for at in [*range(100, size, 97), len(good) - 1]:
        bad.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        _refused(bad)


def _refused(path: Path) -> None:
    with pytest.raises(OSError, match="cannot be read") as caught:
        open_snapshot(str(path))
    assert caught.value.errno == errno.EIO
    assert str(path) in str(caught.value)


def test_damage_is_an_error_and_not_an_absence(build: Build, tmp_path: Path) -> None:
    """Whichever page of the file is zero, as after a crash: a name that was listed is found or EIO is raised."""
    names = [f"d{i:02d}/{j}" for i in range(60) for j in range(20)]
    content = Path(build(ListedStore(names)).path).read_bytes()
    refused = 0
    for start in range(0, len(content), 4096):
        bad = tmp_path / f"bad-{start}"
        bad.write_bytes(content[:start] + bytes(4096) + content[start + 4096 :])
        with _only_eio():
            snapshot = open_snapshot(str(bad))
            assert not snapshot.is_sound()
            for name in names:
                with _only_eio():
                    refused += 1
                    assert snapshot.lookup(name) is not None, (start, name)
                    refused -= 1
            snapshot.close()
    assert refused


@contextmanager
def _only_eio() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
