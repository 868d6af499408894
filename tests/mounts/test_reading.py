"""Files below a mount read as local files do, with no more requests than needed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import mmap
import os
import pickle
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay.testing import Fault

MIB = 1024 * 1024


def test_cold_read_is_one_get_and_no_head(mount: Any, server: Any) -> None:
    """A cold read of one file is one GET and no HEAD; a second read is none."""
    server.put("data", "dir/a.txt", b"hello")
    mount()
    server.requests.reset()
    assert Path("/content/data/dir/a.txt").read_text() == "hello"
    assert (server.requests.count("get"), server.requests.count("head"), len(server.requests)) == (1, 0, 1)
    assert Path("/content/data/dir/a.txt").read_text() == "hello"
    assert len(server.requests) == 1


def until(condition: Callable[[], object]) -> None:
    """Wait for what other threads do."""
    while not condition():
        threading.Event().wait(0.001)


def test_a_closed_file_asks_for_nothing_more(mount: Any, server: Any) -> None:
    """Once a file is closed, what was to be read ahead of its reader is not asked for again, however it fails."""
    server.put("data", "large", bytes(64 * MIB))
    workers = mount(deadline=60.0).cache._fetcher.workers
    closed = threading.Event()
    with open("/content/data/large", "rb", buffering=0) as file:
        while vfsoverlay.metrics().get("bytes.readahead", 0) < 8 * MIB:
            file.read(MIB)
        until(lambda: not workers.busy)
        before = server.requests.count("get")
        server.faults.add(
            Fault.hold(closed, times=None, purpose="get"), Fault.internal_error(times=None, purpose="get")
        )
        while not workers.busy:  # what is read is there, so that no reader waits
            file.read(MIB)
        until(lambda: server.requests.count("get") == before + workers.busy)
        asked = server.requests.count("get")
    closed.set()
    until(lambda: not workers.busy)
    assert server.requests.count("get") == asked


def test_names_and_attributes_need_no_request(mount: Any, server: Any) -> None:
    """Listing, walking and stat are answered from the listing that mount() made with one request."""
    for name in ("a", "b/c", "b/d/e"):
        server.put("data", name, name.encode())
    mount()
    assert server.requests.count("list") == len(server.requests) == 1
    found = {
        os.path.join(top, name): os.path.getsize(os.path.join(top, name))
        for top, _, names in os.walk("/content/data")
        for name in names
    }
    assert found == {"/content/data/a": 1, "/content/data/b/c": 3, "/content/data/b/d/e": 5}
    assert [path.name for path in sorted(Path("/content/data").rglob("*"))] == ["a", "b", "c", "d", "e"]
    assert len(server.requests) == 1


def test_object_beyond_the_usual_limit(server: Any, tmp_path: Path) -> None:
    """With max_object_size raised, an object above 5 GiB is read at any place, as far as it is asked for."""
    size, at = 6 * 1024**3 + 5, 5 * 1024**3 + 12_345
    (tmp_path / "bucket").mkdir()
    with open(tmp_path / "bucket" / "huge", "wb") as file:
        file.truncate(size)
        file.seek(at)
        file.write(b"far away")
    server.create_bucket("huge", public=True, directory=tmp_path / "bucket")
    options = server.mount_options()
    with pytest.raises(vfsoverlay.errors.ObjectTooLarge, match="huge"):
        vfsoverlay.mount("s3://huge/", "/content/huge", **options)
    with vfsoverlay.mount("s3://huge/", "/content/huge", max_object_size=10 * 1024**3, **options):
        assert os.stat("/content/huge/huge").st_size == size
        with open("/content/huge/huge", "rb") as file:
            file.seek(at)
            assert file.read(8) == b"far away"
            file.seek(-3, os.SEEK_END)
            assert file.read() == bytes(3)
    assert server.requests.bytes_sent("get") < 64 * MIB


def test_end_of_an_archive_costs_its_end(mount: Any, server: Any) -> None:
    """Looking into an archive fetches its directory, at its end, and one member the bytes of that; not the rest."""
    content = os.urandom(12 * MIB)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        writing.writestr("large", content)
        writing.writestr("small", b"12345")
    server.put("data", "a.zip", archive.getvalue())
    mount(promotion=False)
    with zipfile.ZipFile("/content/data/a.zip") as reading:
        assert reading.namelist() == ["large", "small"]
        assert reading.read("small") == b"12345"
    assert server.requests.bytes_sent("get") < 4 * MIB
    with open("/content/data/a.zip", "rb") as file:
        file.seek(-MIB, os.SEEK_END)
        assert file.read() == archive.getvalue()[-MIB:]


def test_empty_object_needs_no_request(mount: Any, server: Any) -> None:
    """An object of zero bytes is read without a request."""
    server.put("data", "empty", b"")
    mount()
    server.requests.reset()
    assert Path("/content/data/empty").read_bytes() == b""
    assert len(server.requests) == 0


def test_second_process_and_second_mount_read_from_the_cache(mount: Any, server: Any) -> None:
    """What was read stays in the cache: mounting again reads it without a request."""
    server.put("data", "a", b"x" * 100_000)
    mount().unmount()
    point = mount()
    assert Path("/content/data/a").read_bytes() == b"x" * 100_000
    point.unmount()
    mount()
    server.requests.reset()
    assert Path("/content/data/a").read_bytes() == b"x" * 100_000
    assert len(server.requests) == 0


def test_threads_share_one_download(mount: Any, server: Any) -> None:
    """However many threads open one cold file, it is fetched once."""
    server.put("data", "a", os.urandom(200_000))
    mount()
    server.requests.reset()
    barrier = threading.Barrier(16)
    found: list[bytes] = []

    def read() -> None:
        barrier.wait()
        found.append(Path("/content/data/a").read_bytes())

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert server.requests.count("get") == 1


@pytest.fixture
def big(mount: Any, server: Any) -> bytes:
    """The content of ``/content/data/big``, large enough to be fetched as it is read."""
    data = os.urandom(5 * MIB + 123)
    server.put("data", "big", data)
    mount()
    server.requests.reset()
    return data


def test_large_file_is_fetched_as_it_is_read(big: bytes, server: Any) -> None:
    """Opening a large file fetches nothing, and a small read fetches little of it."""
    with open("/content/data/big", "rb") as file:
        assert len(server.requests) == 0
        file.seek(3 * MIB)
        assert file.read(100) == big[3 * MIB : 3 * MIB + 100]
    assert server.requests.bytes_sent("get") <= MIB


def test_incomplete_file_hands_out_no_readable_descriptor(big: bytes) -> None:
    """No readable descriptor to incomplete data leaves us: C code that bypasses the file's methods gets EBADF."""
    with open("/content/data/big", "rb", buffering=0) as file:
        assert file.read(10) == big[:10]
        for bypass in (
            lambda: io.FileIO.readall(file),
            lambda: io.FileIO.read(file, 10),
            lambda: io.FileIO.readinto(file, bytearray(10)),
        ):
            with pytest.raises(OSError, match="Bad file descriptor"):
                bypass()
        assert file.tell() == 10


def test_descriptor_of_a_large_file_is_complete(big: bytes) -> None:
    """fileno() completes the file, and mmap, pread, sendfile and fstat on it are the kernel's own."""
    with open("/content/data/big", "rb") as file:
        file.seek(1000)
        fd = file.fileno()
        assert os.pread(fd, 50, 4 * MIB) == big[4 * MIB : 4 * MIB + 50]
        assert os.fstat(fd) == os.stat("/content/data/big")
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[-10:] == big[-10:]
        assert file.read(20) == big[1000:1020]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_os_open_gives_complete_data(big: bytes) -> None:
    """os.open gives a real descriptor of the whole file."""
    fd = os.open("/content/data/big", os.O_RDONLY)
    try:
        assert os.lseek(fd, -10, os.SEEK_END) == len(big) - 10
        assert os.read(fd, 100) == big[-10:]
    finally:
        os.close(fd)


@pytest.mark.parametrize("buffering", [-1, 0, 4096])
def test_large_file_seeks_and_reads_as_a_real_one(big: bytes, tmp_path: Path, buffering: int) -> None:
    """Any mix of seek, tell and read on a large file gives what the same calls give on a local copy."""
    (tmp_path / "big").write_bytes(big)
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("tell", ()), ("read", (10,)), ("seek", (-100, os.SEEK_END)), ("read", ()), ("read", (1,)), ("tell", ()),
        ("seek", (2 * MIB,)), ("read", (300_000,)), ("seek", (-5, os.SEEK_CUR)), ("read", (10,)), ("readline", ()),
        ("seek", (len(big) + 5,)), ("read", ()), ("tell", ()), ("seek", (0,)), ("readinto", (bytearray(7),)),
        ("seek", (-1,)), ("seekable", ()), ("readable", ()), ("writable", ()), ("isatty", ()), ("read", (0,)),
        ("write", (b"x",)), ("truncate", (1,)), ("seek", (0, 99)), ("seek", (0,)), ("readall", ()), ("read", ()),
    ]  # fmt: skip

    def outcome(file: Any, name: str, args: tuple[Any, ...]) -> Any:
        try:
            return getattr(file, name)(*args)
        except (OSError, ValueError, AttributeError) as error:
            return type(error).__name__, getattr(error, "errno", None)

    with open("/content/data/big", "rb", buffering) as ours, open(tmp_path / "big", "rb", buffering) as real:
        assert [outcome(ours, *call) for call in calls] == [outcome(real, *call) for call in calls]


def test_large_text_file(mount: Any, server: Any) -> None:
    """Text mode decodes a large file line by line without fetching it first."""
    text = "".join(f"line {number} é\n" for number in range(200_000))
    server.put("data", "t.txt", text.encode())
    mount()
    server.requests.reset()
    with open("/content/data/t.txt", encoding="utf-8") as file:
        assert file.readline() == "line 0 é\n"
        assert file.mode == "r"
        assert server.requests.bytes_sent("get") < len(text)
        assert file.read() == text[len("line 0 é\n") :]


def test_closed_and_invalid_uses_of_a_large_file(big: bytes) -> None:
    """Bad arguments and closed files raise what real files raise."""
    for bad in ({"mode": "rbt"}, {"mode": "q"}, {"mode": "rb", "encoding": "utf-8"}, {"buffering": 0}):
        with pytest.raises(ValueError, match=r".+"):
            open("/content/data/big", **bad)
    file = open("/content/data/big", "rb")
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        file.read()


def write_samples(folder: Path) -> dict[str, Any]:
    """Files of many formats in *folder*; how each is read, by its name."""
    rows = [["a", "b"], ["1", "2"]]
    (folder / "x.json").write_text(json.dumps({"k": [1, 2]}))
    (folder / "x.csv").write_text("a,b\n1,2\n")
    (folder / "x.pickle").write_bytes(pickle.dumps(rows))
    for name, module in (("x.gz", gzip), ("x.bz2", bz2), ("x.xz", lzma)):
        with module.open(folder / name, "wb") as file:
            file.write(b"packed" * 1000)
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("inner.txt", "zipped")
    with tarfile.open(folder / "x.tar.gz", "w:gz") as tar:
        tar.add(folder / "x.csv", "inner.csv")
    return {
        "x.json": lambda path: json.load(open(path)),
        "x.csv": lambda path: list(csv.reader(open(path, newline=""))),
        "x.pickle": lambda path: pickle.load(open(path, "rb")),
        "x.gz": lambda path: gzip.open(path).read(),
        "x.bz2": lambda path: bz2.open(path).read(),
        "x.xz": lambda path: lzma.open(path).read(),
        "x.zip": lambda path: zipfile.ZipFile(path).read("inner.txt"),
        "x.tar.gz": lambda path: tarfile.open(path).extractfile("inner.csv").read(),  # type: ignore[union-attr]
    }


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_readers_of_the_standard_library(mount: Any, server: Any, tmp_path: Path) -> None:
    """json, csv, pickle, gzip, bz2, lzma, zipfile, tarfile and shutil read from a mount what they read from disk."""
    readers = write_samples(tmp_path)
    for name in readers:
        server.put("data", f"s/{name}", (tmp_path / name).read_bytes())
    mount("s/")
    for name, read in readers.items():
        assert read(f"/content/data/{name}") == read(str(tmp_path / name)), name
    copied = tmp_path / "copied"
    shutil.copytree("/content/data", copied)
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == {
        name: (tmp_path / name).read_bytes() for name in readers
    }


def test_numpy_pandas_and_pillow(mount: Any, server: Any, tmp_path: Path) -> None:
    """numpy.load, memmap and fromfile, pandas.read_csv and PIL.Image.open read from a mount."""
    numpy = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas")
    image = pytest.importorskip("PIL.Image")
    array = numpy.arange(500_000, dtype="float32").reshape(1000, 500)
    numpy.save(tmp_path / "a.npy", array)
    array.tofile(tmp_path / "a.raw")
    pandas.DataFrame({"x": [1, 2], "y": ["a", "b"]}).to_csv(tmp_path / "t.csv", index=False)
    image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "i.png")
    for path in tmp_path.iterdir():
        server.put("data", path.name, path.read_bytes())
    mount()
    assert (numpy.load("/content/data/a.npy") == array).all()
    assert (numpy.load("/content/data/a.npy", mmap_mode="r")[-1] == array[-1]).all()
    assert (numpy.fromfile("/content/data/a.raw", dtype="float32") == array.ravel()).all()
    assert pandas.read_csv("/content/data/t.csv").to_dict("list") == {"x": [1, 2], "y": ["a", "b"]}
    with image.open("/content/data/i.png") as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("source", ["file", "memory"])
def test_other_protocols(tmp_path: Path, source: str) -> None:
    """Any fsspec URL is a source."""
    fsspec = pytest.importorskip("fsspec")
    root = f"{source}://{tmp_path}/src/"
    system = fsspec.filesystem(source)
    system.makedirs(f"{tmp_path}/src/sub", exist_ok=True)
    system.pipe_file(f"{tmp_path}/src/sub/a.txt", b"over there")
    with vfsoverlay.mount(root, "/content/other"):
        assert os.listdir("/content/other") == ["sub"]
        assert Path("/content/other/sub/a.txt").read_bytes() == b"over there"
        assert os.path.getsize("/content/other/sub/a.txt") == 10
