"""Fetching before use, and fetching ahead of loops."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay


@pytest.fixture
def many(mount: Any, server: Any) -> list[str]:
    """Paths of 60 small files in three directories, in listing order."""
    for folder, number in itertools.product("abc", range(20)):
        server.put("data", f"{folder}/{number:03}.bin", os.urandom(1000))
    mount()
    server.requests.reset()
    return [f"/content/data/{folder}/{number:03}.bin" for folder, number in itertools.product("abc", range(20))]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ("/content/data", 60),
        ("/content/data/a/", 20),
        ("/content/data/a/001.bin", 1),
        ("/content/data/*/00?.bin", 30),
        ("/content/data/**/005.bin", 3),
        (["/content/data/a/001.bin", Path("/content/data/b")], 21),
        ([], 0),
    ],
)
def test_warm_fetches_what_was_named(many: list[str], server: Any, wanted: Any, count: int) -> None:
    """warm() fetches files, directories and patterns; reading them needs no request afterwards."""
    assert len(many) == 60
    assert vfsoverlay.warm(wanted) == (count, count * 1000)
    assert server.requests.count("get") == count
    assert vfsoverlay.warm(wanted) == (count, count * 1000)
    assert server.requests.count("get") == count


def test_warm_of_a_point_and_its_limits(many: list[str], server: Any) -> None:
    """point.warm() fetches the whole mount, and max_bytes stops before the file that would exceed it."""
    assert len(many) == 60
    (point,) = vfsoverlay.mounts()
    told: list[tuple[int, int]] = []
    assert point.warm(max_bytes=5500, progress=lambda files, size: told.append((files, size))) == (5, 5000)
    assert told == [(number, number * 1000) for number in range(1, 6)]
    assert server.requests.count("get") == 5
    assert point.warm() == (60, 60_000)
    assert point.metrics()["requests.warm"] == 60


def test_warm_refuses_what_is_not_there(many: list[str], tmp_path: Path) -> None:
    """A missing path, a pattern without a match and a path outside the mounts are errors that name it."""
    assert len(many) == 60
    with pytest.raises(FileNotFoundError, match="/content/data/nope"):
        vfsoverlay.warm("/content/data/nope")
    with pytest.raises(FileNotFoundError, match="no file below a mount matches"):
        vfsoverlay.warm("/content/data/*.none")
    with pytest.raises(ValueError, match="does not lie below a mount"):
        vfsoverlay.warm(str(tmp_path))


class BytesPath(os.PathLike[bytes]):
    """A path-like object whose path is bytes."""

    def __fspath__(self) -> bytes:
        return b"/content/data/c/002.bin"


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (b"/content/data/a/001.bin", ["/content/data/a/001.bin"]),
        (b"/content/data/[ab]/003.bin", ["/content/data/a/003.bin", "/content/data/b/003.bin"]),
        (BytesPath(), ["/content/data/c/002.bin"]),
        ([b"/content/data/a/001.bin", BytesPath()], ["/content/data/a/001.bin", "/content/data/c/002.bin"]),
    ],
)
def test_warm_takes_bytes(many: list[str], wanted: Any, given: list[str]) -> None:
    """warm() and warm_ahead() take paths of bytes, as open() does; warm_ahead() gives them as texts."""
    assert vfsoverlay.warm(wanted) == (len(given), len(given) * 1000)
    assert sorted(vfsoverlay.warm_ahead(wanted)) == given
    assert set(given) <= set(many)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ("/content/data/a\0", ValueError, r"embedded null byte in '/content/data/a\\x00'"),
        (b"/content/data/*\0", ValueError, r"embedded null byte in '/content/data/\*\\x00'"),
        ([3], TypeError, r"expected str, bytes or os.PathLike object, not int"),
    ],
)
def test_warm_refuses_what_is_no_path(many: list[str], wanted: Any, error: Any, message: str) -> None:
    """warm() and warm_ahead() refuse what open() takes for no path, and show it as it can be printed."""
    assert len(many) == 60
    with pytest.raises(error, match=message):
        vfsoverlay.warm(wanted)
    with pytest.raises(error, match=message):
        list(vfsoverlay.warm_ahead(wanted))


@pytest.mark.parametrize(("wanted", "count"), [("a/001.bin", 1), ("a", 20), ("b/00?.bin", 10), ("*/005.bin", 3)])
def test_a_link_that_leads_into_a_mount(many: list[str], server: Any, tmp_path: Path, wanted: str, count: int) -> None:
    """warm(), explain() and local_path() follow a symbolic link on disk that leads into a mount, as open() does."""
    (tmp_path / "link").symlink_to("/content/data")
    assert vfsoverlay.warm(f"{tmp_path}/link/{wanted}") == (count, count * 1000)
    assert server.requests.count("get") == count
    path = f"{tmp_path}/link/{wanted if count == 1 else 'a/000.bin'}"
    assert list(vfsoverlay.warm_ahead(path)) == [path]
    assert vfsoverlay.explain(path).key == path.partition("link/")[2]
    assert Path(vfsoverlay.local_path(path)) != Path(path)
    with pytest.raises(FileNotFoundError, match="link/nope"):
        vfsoverlay.warm(f"{tmp_path}/link/nope")
    assert len(many) == 60


def test_warm_ahead_follows_any_order_lazily(many: list[str], server: Any) -> None:
    """warm_ahead() gives a shuffled, endless order path by path and fetches a bounded number ahead."""
    shuffled = many[::7] + many[3::11]
    consumed = 0

    def endless() -> Any:
        nonlocal consumed
        for path in itertools.cycle(shuffled):
            consumed += 1
            yield path

    given = list(itertools.islice(vfsoverlay.warm_ahead(endless(), ahead=8), 15))
    assert given == shuffled[:15]
    assert consumed <= 15 + 8
    assert server.requests.count("get") <= len(set(shuffled))


def test_loop_over_small_files_is_foreseen(many: list[str], server: Any) -> None:
    """A loop that opens small files in listing order finds most of them fetched ahead, across directories."""
    for path in many:
        Path(path).read_bytes()
    (point,) = vfsoverlay.mounts()
    assert server.requests.count("get") == len(many)
    assert point.metrics()["requests.readahead"] >= 40


def test_loop_is_not_foreseen_when_switched_off(mount: Any, server: Any) -> None:
    """readahead=False fetches what is opened and nothing else."""
    for number in range(20):
        server.put("data", f"{number:03}", b"x")
    point = mount(readahead=False)
    for number in range(10):
        Path(f"/content/data/{number:03}").read_bytes()
    assert point.metrics()["requests.read"] == 10
    assert server.requests.count("get") == 10


def test_lazy_listing(mount: Any, server: Any) -> None:
    """listing="lazy" lists a directory when it is first touched, and finds a file without listing its neighbours."""
    for folder, number in itertools.product("ab", range(5)):
        server.put("data", f"{folder}/{number}", b"x")
    mount(listing="lazy")
    before = server.requests.count("list")
    assert before <= 1
    assert os.listdir("/content/data") == ["a", "b"]
    assert Path("/content/data/a/3").read_bytes() == b"x"
    assert not os.path.exists("/content/data/a/9")
    assert server.requests.count("list") - before <= 3


def test_earlier_and_saved_listings(mount: Any, server: Any) -> None:
    """reuse_listing accepts the listing of an earlier run, and then mount() makes no request."""
    server.put("data", "x", b"1")
    mount().unmount()
    server.requests.reset()
    mount(reuse_listing=3600)
    assert os.listdir("/content/data") == ["x"]
    assert len(server.requests) == 0


def test_sequential_reader_is_not_foreseen_when_switched_off(mount: Any, server: Any) -> None:
    """readahead=False fetches of a large file what is read, one request after another."""
    server.put("data", "big", os.urandom(4 * 1024 * 1024))
    point = mount(readahead=False, promotion=False)
    with open("/content/data/big", "rb") as file:
        file.read(100_000)
        file.read(100_000)
    assert "requests.readahead" not in point.metrics()
    assert server.requests.bytes_sent("get") <= 3 * 128 * 1024
