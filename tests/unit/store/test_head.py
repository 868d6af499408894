"""One object by its key, for those who may read but not list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay import errors
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.head_row import head_row
from vfsoverlay._store.kinds import Kind
from vfsoverlay.testing import MemoryStore, S3Server

Opener = Callable[..., Any]


@pytest.mark.parametrize("transport", ["auto", "s3fs"])
def test_what_a_listing_would_say(server: S3Server, opened: Opener, transport: str) -> None:
    """The row of an object is that of a listing, but for fractions of a second; an empty object has one as well."""
    server.create_bucket("b", public=True)
    server.put("b", "k +", b"12345")
    server.put("b", "empty", b"")
    server.put("b", "rare", b"1", storage_class="STANDARD_IA")
    one = opened("s3://b/", transport=transport, **server.mount_options())
    for row in one.rows():
        told = one.store.head(row.key)
        second = told[2] // 10**9
        assert second == row.mtime_ns // 10**9
        assert told == row._replace(mtime_ns=told[2])


def test_one_request_for_one_byte(server: S3Server, opened: Opener) -> None:
    """It is a GET of the first byte: S3 does not say why it refuses a HEAD."""
    server.create_bucket("b", public=True)
    server.put("b", "k", b"12345")
    opened("s3://b/", **server.mount_options()).store.head("k")
    (record,) = server.requests.records
    assert (record.method, record.range) == ("GET", "bytes=0-0")


@pytest.mark.parametrize("transport", ["auto", "s3fs"])
def test_absent_object(server: S3Server, opened: Opener, transport: str) -> None:
    """What is not there is FileNotFoundError."""
    server.create_bucket("b", public=True)
    with pytest.raises(FileNotFoundError):
        opened("s3://b/", transport=transport, **server.mount_options()).store.head("k")


def test_archived_object(server: S3Server, opened: Opener) -> None:
    """An archived object says that it is one, and how to get it back."""
    server.create_bucket("b", public=True)
    server.put("b", "k", b"1", storage_class="GLACIER")
    with pytest.raises(errors.ObjectArchived, match="restore"):
        opened("s3://b/", **server.mount_options()).store.head("k")


def test_denied_object(server: S3Server, opened: Opener) -> None:
    """What may not be read is AccessDenied, which names the key and the action."""
    server.create_bucket("b", public=True, deny=("get",))
    server.put("b", "k", b"12345")
    with pytest.raises(errors.AccessDenied, match=r"s3:GetObject on s3://b/k"):
        opened("s3://b/", **server.mount_options()).store.head("k")


def test_file_of_another_file_system(tmp_path: Path, opened: Opener) -> None:
    """A file of any fsspec source has its row; a directory has none."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"12345")
    one = opened(f"file://{tmp_path}/")
    assert one.store.head("d/a") == one.info("d/a")
    for key in ("d", "none"):
        with pytest.raises(FileNotFoundError):
            one.store.head(key)


def test_memory_store() -> None:
    """The store in memory answers as well, and counts it."""
    store = MemoryStore({"k": b"12345"})
    assert store.head("k") == store.info("k")
    with pytest.raises(FileNotFoundError):
        store.head("none")
    assert store.requests["head"] == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-length": "5"},
        {"content-length": "5", "last-modified": "yesterday"},
        {"content-length": "5", "last-modified": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"content-range": "bytes 0-0/*", "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
def test_answer_that_says_too_little(headers: dict[str, str]) -> None:
    """An answer without size or date is malformed, not a file of no size."""
    with pytest.raises(Failure) as caught:
        head_row("k", headers.get)
    assert caught.value.kind is Kind.MALFORMED
