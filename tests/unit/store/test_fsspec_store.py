"""Other file systems of fsspec, and S3 through s3fs, keep the promises of a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fsspec
import pytest

from vfsoverlay import errors
from vfsoverlay._metrics import Metrics
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.attempts import Clock
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.fsspec_failures import failure_of
from vfsoverlay._store.fsspec_file_system import FileSystem
from vfsoverlay._store.fsspec_rows import row_of
from vfsoverlay._store.fsspec_store import FsspecStore
from vfsoverlay._store.kinds import Kind
from vfsoverlay.testing import Fault, S3Server

Opener = Callable[..., Any]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "d" / "e" / "empty").mkdir(parents=True)
    (tmp_path / "d" / "a.txt").write_bytes(b"hello")
    (tmp_path / "d" / "e" / "b.txt").write_bytes(b"world!")
    (tmp_path / "zero").write_bytes(b"")
    return tmp_path


def test_local_directory(tree: Path, opened: Opener) -> None:
    """A local directory lists its files with size and time, and its empty directories as markers."""
    one = opened(f"file://{tree}/")
    rows = {row.key: row for row in one.rows()}
    assert sorted(rows) == ["d/a.txt", "d/e/b.txt", "d/e/empty/", "zero"]
    assert one.read(rows["d/a.txt"]) == b"hello"
    assert one.read(rows["d/e/b.txt"], 1, 3) == b"or"
    assert abs(rows["zero"].mtime_ns - os.stat(tree / "zero").st_mtime_ns) <= 1000


def test_one_level_of_a_local_directory(tree: Path, opened: Opener) -> None:
    """With a delimiter, files and directories of one level are told apart."""
    one = opened(f"file://{tree}/")
    (page,) = one.store.list_pages("d/", delimiter="/")
    assert ([row[0] for row in page.rows], page.prefixes) == (["d/a.txt"], ["d/e/"])


@pytest.fixture(autouse=True)
def _no_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest s3fs asks it even when it signs nothing, and leaves the connection open where nobody answers."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize(
    ("folder", "keys"),
    [("d/e/empty/", ["d/e/empty/"]), ("d/a.txt/", []), ("missing/", []), ("d/a.txt/x", []), ("d/x", [])],
)
def test_one_level_of_what_has_no_entries(tree: Path, opened: Opener, folder: str, keys: list[str]) -> None:
    """An empty directory shows its marker; nothing is below a file, or what is not there."""
    one = opened(f"file://{tree}/")
    (page,) = one.store.list_pages(folder, delimiter="/")
    assert ([row[0] for row in page.rows], page.prefixes) == (keys, [])


@pytest.mark.parametrize("trouble", [RecursionError, MemoryError])
def test_trouble_of_the_caller_is_no_failure(trouble: type[Exception]) -> None:
    """Running out of stack or memory in a file system is the caller's trouble, and arrives as it is."""

    def listing(fs: Any) -> None:
        raise trouble

    file_system = FileSystem(lambda: None, Metrics(), deadline=10)
    with pytest.raises(trouble):
        file_system.call(file_system.attempts(listing=True), "list", listing)


@pytest.mark.parametrize("page_size", [1, 3, 100])
def test_pages_of_a_directory(tree: Path, opened: Opener, page_size: int) -> None:
    """Pages have the size asked for and begin behind start_after."""
    pages = list(opened(f"file://{tree}/").store.list_pages("", page_size=page_size, start_after="d/a.txt"))
    assert [row[0] for page in pages for row in page.rows] == ["d/e/b.txt", "d/e/empty/", "zero"]
    assert max(len(page.rows) for page in pages) <= page_size


@pytest.mark.parametrize("change", ["rewritten", "replaced"])
def test_changed_file_is_stale(tree: Path, opened: Opener, change: str) -> None:
    """A file that was changed after it was listed raises ESTALE, even at the same size and time."""
    one = opened(f"file://{tree}/")
    info = one.info("d/a.txt")
    path = tree / "d" / "a.txt"
    times = (info.mtime_ns, info.mtime_ns) if change == "replaced" else (0, 0)
    (tree / "new").write_bytes(b"HELLO")
    os.replace(tree / "new", path)
    os.utime(path, ns=times)
    with pytest.raises(errors.StaleObject, match=r"a\.txt"):
        one.read(info)


def test_memory_file_system(opened: Opener) -> None:
    """The memory file system of fsspec is a source; an overwritten file is another version."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/store-test/a/b", b"12345")
    try:
        one = opened("memory://store-test/")
        info = one.info("a/b")
        assert one.read(info, 1, 4) == b"234"
        memory.pipe("/store-test/a/b", b"54321")
        with pytest.raises(errors.StaleObject):
            one.read(info)
    finally:
        memory.rm("/store-test", recursive=True)


@pytest.mark.parametrize(
    ("source", "reason"), [("file:///no/such/directory/", "bucket-missing"), (f"file://{__file__}/", "failed")]
)
def test_source_that_is_no_directory(source: str, reason: str, opened: Opener) -> None:
    """A directory that does not exist, or is a file, fails the mount with a reason."""
    with pytest.raises(errors.CannotAccessSource) as caught:
        opened(source).store.check_access("")
    assert caught.value.reason == reason


def test_absent_file(tree: Path, opened: Opener) -> None:
    """A listed file that is gone is FileNotFoundError."""
    one = opened(f"file://{tree}/")
    info = one.info("zero")._replace(size=1)
    (tree / "zero").unlink()
    with pytest.raises(FileNotFoundError):
        one.read(info)


class Flaky:
    """A file system whose reads fail a number of times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times = error, times

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        if self.times:
            self.times -= 1
            raise self.error
        return b"12345"[start:end]

    def info(self, path: str) -> dict[str, Any]:
        return {"size": 5, "type": "file", "etag": "e"}


def flaky(error: Exception, times: int) -> FsspecStore:
    now = [0.0]
    clock = Clock(lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds), lambda: 1.0)
    return FsspecStore(FileSystem(lambda: Flaky(error, times), Metrics(), deadline=10, clock=clock), "/r", "x:///r")


@pytest.mark.parametrize("mark", ["ETag", "generation", "ino", ""])
@pytest.mark.parametrize("change", ["mark", "size", "time", "nothing"])
def test_version_of_a_file_system(mark: str, change: str) -> None:
    """A version of a file on another file system is its ETag, generation or inode, else its size and time.

    Bytes that are replaced by as many, at the same time, are the one thing that then goes unnoticed.
    """
    entry: dict[str, Any] = {"name": "/r/k", "size": 5, "type": "file", "mtime": 1.0, **({mark: 7} if mark else {})}

    class Plain:
        def find(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"/r/k": dict(entry)}

        def cat_file(self, path: str, start: int, end: int) -> bytes:
            return b"12345"[start:end]

        def info(self, path: str) -> dict[str, Any]:
            return entry

    store = FsspecStore(FileSystem(Plain, Metrics(), deadline=10), "/r", "x:///r")
    info = next(ObjectInfo(*row) for page in store.list_pages("") for row in page.rows)
    changes: dict[str, dict[str, Any]] = {
        "mark": {mark: 8} if mark else {},
        "size": {"size": 6},
        "time": {"mtime": 2.0},
    }
    entry.update(changes.get(change, {}))
    if change == "nothing" or (change == "mark" and not mark):
        store.read_range(info, 0, 5, bytes)
    else:
        with pytest.raises(errors.StaleObject):
            store.read_range(info, 0, 5, bytes)


INFO = ObjectInfo("k", 5, 0, "e")


@pytest.mark.parametrize(
    "error", [ConnectionResetError("gone"), TimeoutError(), asyncio.TimeoutError(), OSError("503")]
)
def test_passing_trouble_is_retried(error: Exception) -> None:
    """Resets, timeouts and nameless OSErrors of any library are retried; if they last, they become EIO or ETIMEDOUT."""
    pieces: list[bytes] = []
    flaky(error, 3).read_range(INFO, 0, 5, lambda piece: pieces.append(bytes(piece)))
    assert list(filter(None, pieces)) == [b"12345"]  # empty ones ask whether to try again
    with pytest.raises(errors.ReadError) as caught:
        flaky(error, 10**6).read_range(INFO, 0, 5, bytes)
    assert isinstance(caught.value, (errors.StoreUnavailable, errors.StoreTimeout))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError("k"), Kind.MISSING_KEY),
        (PermissionError("k"), Kind.DENIED),
        (IsADirectoryError(21, "k"), Kind.REFUSED),
        (ValueError("k"), Kind.REFUSED),
        (type("ServerDisconnectedError", (Exception,), {})(), Kind.NETWORK),
        (type("NoCredentialsError", (Exception,), {})(), Kind.NO_CREDENTIALS),
        (Failure(Kind.CHANGED, "k"), Kind.CHANGED),
    ],
)
def test_kind_of_an_exception(error: Exception, kind: Kind) -> None:
    """Exceptions of any library are recognised, by class or by name, also as the cause of another."""
    assert failure_of(error).kind is kind
    if not isinstance(error, (OSError, Failure, ValueError)):
        outer = RuntimeError("wrapped")
        outer.__cause__ = error
        assert failure_of(outer).kind is kind


@pytest.mark.parametrize(
    ("entry", "mtime_ns", "etag"),
    [
        ({"ETag": '"abc-2"', "LastModified": datetime(1970, 1, 1, 0, 0, 1, 5, timezone.utc)}, 1_000_005_000, "abc-2"),
        ({"generation": "17", "updated": "1970-01-01T00:00:01Z"}, 10**9, "17"),
        ({"mtime": 1.5, "ino": 7}, 1_500_000_000, "7-1500000000-0"),
        ({"mtime": 1.5, "ino": 7, "created": 2.5}, 1_500_000_000, "7-1500000000-2500000000"),
        ({"last_modified": "Thu, 01 Jan 1970 00:00:02 GMT"}, 2 * 10**9, ""),
        ({"created": datetime.fromisoformat("1970-01-01T00:00:03")}, 3 * 10**9, ""),
        ({"modified": "once upon a time"}, 0, ""),
        ({}, 0, ""),
    ],
)
def test_row_of_many_file_systems(entry: dict[str, Any], mtime_ns: int, etag: str) -> None:
    """Times and versions are found wherever a file system keeps them."""
    assert row_of("k", {"size": 5, **entry}) == ("k", 5, mtime_ns, etag, "", "")


@pytest.mark.parametrize("time", [10.0**10, -(10.0**10), float("inf"), float("nan"), "9999-12-31T00:00:00Z"])
def test_time_that_no_file_can_have(time: object) -> None:
    """A time beyond what a file can have is a failure that names the key."""
    with pytest.raises(Failure, match="'d/k' has a time that is not a date"):
        row_of("d/k", {"size": 5, "mtime": time})


def test_file_of_another_age(tree: Path, opened: Opener) -> None:
    """A directory with a file of such a time cannot be mounted, and the error names the file."""
    os.utime(tree / "d" / "a.txt", (10**10, 10**10))
    if os.stat(tree / "d" / "a.txt").st_mtime != 10**10:
        pytest.skip("this disk has no such times")
    with pytest.raises(errors.CannotAccessSource, match=r"'d/a\.txt' has a time") as caught:
        opened(f"file://{tree}/").rows()
    assert caught.value.reason == "failed"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("s3x://bucket/", "did you mean 's3://'"),
        ("nothing-like-it://bucket/", "Unknown protocol"),
        ("not-installed://b/", "not installed"),
    ],
)
def test_unknown_protocol(source: str, told: str, opened: Opener) -> None:
    """A protocol that fsspec does not know, or cannot load, is a ValueError that says what to do."""
    fsspec.register_implementation("not-installed", "no_such_module.FileSystem", clobber=True, errtxt="not installed")
    with pytest.raises(ValueError, match=told):
        opened(source)


def test_point_in_time_is_refused_where_it_would_be_ignored(opened: Opener) -> None:
    """version_at means nothing to other file systems, and is refused there."""
    with pytest.raises(ValueError, match="version_at"):
        opened("memory://x/", version_at="2024-01-01T00:00:00Z")


# ------------------------------------------------------------------------------------------- s3fs

KEYS = ["p/a", "p/a/b", "p/ +%&é\n", "p/x//y", "p/d/"]


@pytest.fixture(params=[True, False], ids=["anonymous", "signed"])
def s3fs(request: pytest.FixtureRequest, server: S3Server, opened: Opener) -> Any:
    server.create_bucket("data", public=request.param)
    for key in KEYS:
        server.put("data", key, f"<{key}>")
    return opened("s3://data/p/", transport="s3fs", **server.mount_options(anon=request.param))


def test_s3fs_lists_and_reads_every_key(server: S3Server, s3fs: Any) -> None:
    """Through s3fs the same keys are there, markers and double slashes included, each read by pinned GETs."""
    rows = s3fs.rows(page_size=2)
    assert sorted(row.key for row in rows) == sorted(KEYS)
    assert all(s3fs.read(row) == f"<{row.key}>".encode() for row in rows)
    assert s3fs.read(s3fs.info("p/a"), 1, 3) == b"p/"
    assert all(record.if_match for record in server.requests.select("get"))
    assert server.requests.count("head") == 0


@pytest.mark.parametrize("ignored", [[], [Fault.ignore_if_match(times=None)]], ids=["412", "If-Match ignored"])
def test_s3fs_never_reads_another_version(server: S3Server, opened: Opener, ignored: list[Fault]) -> None:
    """An overwritten object is ESTALE through s3fs too."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", transport="s3fs", **server.mount_options())
    info = one.info("o")
    server.put("data", "o", b"54321")
    server.faults.add(*ignored)
    with pytest.raises(errors.StaleObject):
        one.read(info)


def test_s3fs_from_a_running_event_loop(s3fs: Any) -> None:
    """A read works in a coroutine, and even on the loop that fsspec itself runs."""
    info = s3fs.info("p/a")

    async def read() -> bytes:
        return bytes(s3fs.read(info))

    assert asyncio.run(read()) == b"<p/a>"
    assert fsspec.asyn.sync(fsspec.asyn.get_loop(), read) == b"<p/a>"


def test_s3fs_tells_why_a_mount_fails(server: S3Server, opened: Opener) -> None:
    """A missing bucket and a denied one are told apart, as by the built-in client."""
    server.create_bucket("private")
    for bucket, reason in (("absent", "bucket-missing"), ("private", "access-denied")):
        with pytest.raises(errors.CannotAccessSource) as caught:
            opened(f"s3://{bucket}/", transport="s3fs", **server.mount_options()).store.check_access("")
        assert caught.value.reason == reason


@pytest.mark.parametrize("transport", ["auto", "s3fs"])
def test_object_of_another_age(server: S3Server, opened: Opener, transport: str) -> None:
    """A listing with a time that no file can have fails the mount and names the key, whatever fetches it."""
    server.create_bucket("data", public=True)
    server.put("data", "d/k", b"x", last_modified=10.0**10)
    with pytest.raises(errors.CannotAccessSource, match="'d/k' has a time that is not a date") as caught:
        opened("s3://data/", transport=transport, **server.mount_options()).rows()
    assert caught.value.reason == "failed"


def test_s3fs_listing_that_does_not_advance(server: S3Server, opened: Opener) -> None:
    """A listing through s3fs that goes on at the same place again ends in an error."""
    server.create_bucket("data", public=True)
    body = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        b"</ListBucketResult>"
    )
    server.faults.add(Fault("body", {"body": body}, purpose="list", times=None))
    with pytest.raises(errors.StoreUnavailable, match="goes on"):
        opened("s3://data/", transport="s3fs", **server.mount_options()).rows()
    assert server.requests.count("list") == 2


@pytest.mark.parametrize("transport", ["auto", "s3fs"])
@pytest.mark.parametrize(
    ("ends", "names"), [("<NextContinuationToken>t</NextContinuationToken>", "ab"), ("<MaxKeys>1</MaxKeys>", None)]
)
def test_a_page_that_does_not_say_whether_it_is_the_last(
    server: S3Server, opened: Opener, transport: str, ends: str, names: str | None
) -> None:
    """A server without IsTruncated gives all of the names or an error, never half of them, whatever fetches them."""
    server.create_bucket("data", public=True)
    for key, end in zip(names or "a", (ends, ""), strict=False):
        row = f"<Contents><Key>{key}</Key><LastModified>2020-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>"
        body = f"<ListBucketResult>{row}{end}</ListBucketResult>".encode()
        server.faults.add(Fault("body", {"body": body}, purpose="list", times=None, skip=int(key == "b")))
    store = opened("s3://data/", transport=transport, **server.mount_options())
    if names is None:
        with pytest.raises(errors.VFSOverlayError, match="goes on"):
            store.rows()
    else:
        assert "".join(row[0] for row in store.rows()) == names


def test_s3fs_without_credentials_is_anonymous(server: S3Server, opened: Opener) -> None:
    """anon=None means unsigned requests where no credentials are found, through s3fs too."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", transport="s3fs", endpoint_url=server.url, region=server.region)
    assert one.read(one.info("o")) == b"12345"
    assert {record.authorization for record in server.requests.records} == {"none"}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_s3fs_in_a_forked_child(s3fs: Any) -> None:
    """After reads in the parent, a forked child reads through a file system of its own."""
    info = s3fs.info("p/a")
    s3fs.read(info)
    child = os.fork()
    if child == 0:
        s3fs.store.after_fork()
        os._exit(0 if s3fs.read(info) == b"<p/a>" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
