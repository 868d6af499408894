from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay.testing import GeneratedKeys, S3Server

Ask = Callable[..., Any]


@pytest.fixture
def disk(server: S3Server, tmp_path: Path) -> Path:
    """The directory behind the bucket "d", which holds two files."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "sub" / "large").write_bytes(bytes(range(256)) * 1024)
    server.create_bucket("d", public=True, directory=tmp_path)
    return tmp_path


def keys_of(answer: Any) -> list[str]:
    return [part.partition("</Key>")[0] for part in answer.body.decode().split("<Key>")[1:]]


@pytest.mark.parametrize("span", [(0, 5), (100, 200_000), (262_000, 262_144)])
def test_files_are_objects(ask: Ask, disk: Path, span: tuple[int, int]) -> None:
    """Files are read in whole and in ranges, whether Python or the kernel sends them."""
    assert ask("/d/small").body == b"small"
    data = (disk / "sub" / "large").read_bytes()
    assert ask("/d/sub/large").body == data
    assert ask("/d/sub/large", Range=f"bytes={span[0]}-{span[1] - 1}").body == data[span[0] : span[1]]
    assert keys_of(ask("/d?list-type=2")) == ["small", "sub/large"]


def test_changed_file_has_a_new_etag(ask: Ask, disk: Path) -> None:
    """A file that is changed behind the server's back is another version; a removed one is missing."""
    first = ask("/d/small").headers["etag"]
    (disk / "small").write_bytes(b"changed")
    second = ask("/d/small")
    assert (second.body, second.headers["etag"] != first) == (b"changed", True)
    (disk / "small").unlink()
    assert ask("/d/small").status == 404
    assert keys_of(ask("/d?list-type=2")) == ["sub/large"]


def test_rescan(server: S3Server, ask: Ask, disk: Path) -> None:
    """New files are seen after a rescan, links to directories are not followed, other encodings left out."""
    (disk / "new").write_bytes(b"new")
    (disk / "loop").symlink_to(disk)
    (disk / "link").symlink_to(disk / "new")
    with open(os.fsencode(disk) + b"/\xff", "wb"):
        pass
    server.bucket("d").rescan()  # type: ignore[attr-defined]
    assert keys_of(ask("/d?list-type=2")) == ["link", "new", "small", "sub/large"]


@pytest.mark.parametrize("key", ["plain", "sub/deep/er", "new\nline"])
def test_put_writes_a_file(server: S3Server, ask: Ask, disk: Path, key: str) -> None:
    """What is stored lies in the directory, with its MD5 as ETag, and its deletion removes the file."""
    server.put("d", key, b"body", last_modified=1_000_000_000.0)
    assert (disk / key).read_bytes() == b"body"
    assert (disk / key).stat().st_mtime == 1_000_000_000.0
    answer = ask(f"/d/{key}".replace("\n", "%0A"))
    assert (answer.body, answer.headers["etag"]) == (b"body", '"841a2d689ad86bd1611447453c22c6fc"')
    server.delete("d", key)
    assert not (disk / key).exists()


@pytest.mark.parametrize("key", ["sub", "small/below", "marker/", "a//b", "../up", "./x", "n" * 300])
def test_keys_that_a_directory_cannot_hold(server: S3Server, ask: Ask, disk: Path, key: str) -> None:
    """They are objects all the same, kept in memory, and nothing is written outside the directory."""
    before = sorted(disk.parent.rglob("*"))
    server.put("d", key, b"body")
    assert ask(f"/d/{key}").body == b"body"
    assert key in keys_of(ask("/d?list-type=2"))
    assert sorted(disk.parent.rglob("*")) == before
    assert ask("/d/small").body == b"small"


def test_server_kept_in_a_directory(tmp_path: Path) -> None:
    """Directories below the server's directory are its buckets, and new buckets are new directories."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "k").write_bytes(b"x")
    with S3Server(directory=tmp_path) as server:
        assert server.get("old", "k") == b"x"
        server.create_bucket("new")
        server.put("new", "a/b", b"y")
        with pytest.raises(ValueError, match="directory"):
            server.create_bucket("other", versioned=True)
    assert (tmp_path / "new" / "a" / "b").read_bytes() == b"y"


def test_generated_keys(server: S3Server, ask: Ask) -> None:
    """A formula makes a million objects that can be listed from any place, looked up and read."""
    server.create_bucket("g", public=True, keys=GeneratedKeys(1_000_000, size=20))
    assert keys_of(ask("/g?list-type=2&max-keys=2")) == ["d0000/f000", "d0000/f001"]
    assert keys_of(ask("/g?list-type=2&start-after=d0999/f997")) == ["d0999/f998", "d0999/f999"]
    page = ask("/g?list-type=2&delimiter=/&max-keys=3").body
    assert page.count(b"<CommonPrefixes>") == 3
    answer = ask("/g/d0500/f007")
    assert (answer.body, answer.headers["content-length"]) == (b"d0500/f007\nd0500/f00", "20")
    assert answer.headers["etag"].strip('"') in ask("/g?list-type=2&prefix=d0500/f007").body.decode()
    assert ask("/g/d0500/none").status == 404
    assert ask("/g/d0500/f007?versionId=x").status == 404


def test_own_formula(server: S3Server, ask: Ask) -> None:
    """The formula may be the test's own."""
    server.create_bucket("g", public=True, keys=GeneratedKeys(3, "k{}&".format))
    assert keys_of(ask("/g?list-type=2")) == ["k0&amp;", "k1&amp;", "k2&amp;"]


def test_a_page_has_a_thousand_keys_at_most(server: S3Server, ask: Ask) -> None:
    """More is never given, whatever is asked for."""
    server.create_bucket("g", public=True, keys=GeneratedKeys(1003))
    page = ask("/g?list-type=2&max-keys=5000")
    assert (len(keys_of(page)), b"<IsTruncated>true<" in page.body) == (1000, True)
    token = page.body.decode().partition("<NextContinuationToken>")[2].partition("<")[0]
    rest = ask(f"/g?list-type=2&continuation-token={token}")
    assert (len(keys_of(rest)), b"<IsTruncated>false<" in rest.body) == (3, True)


@pytest.mark.parametrize(
    "query", ["max-keys=x", "max-keys=-1", "encoding-type=xml", "continuation-token=%21", "continuation-token=%ff"]
)
def test_senseless_listings(ask: Ask, query: str) -> None:
    """What S3 does not understand is 400 InvalidArgument."""
    answer = ask(f"/b?list-type=2&{query}")
    assert (answer.status, b"<Code>InvalidArgument</Code>" in answer.body) == (400, True)


def test_control_characters_in_xml(server: S3Server, ask: Ask) -> None:
    """Without encoding-type they are references that XML 1.0 forbids, as S3 writes them; with it they are encoded."""
    server.put("b", "x\x01 +", b"")
    assert b"<Key>x&#x1; +</Key>" in ask("/b?list-type=2&prefix=x").body
    assert b"<Key>x%01+%2B</Key>" in ask("/b?list-type=2&prefix=x&encoding-type=url").body


@pytest.mark.parametrize("query", ["acl", "policy", "uploads"])
def test_what_is_not_there(ask: Ask, query: str) -> None:
    """Requests that the server does not know are 501, not a listing."""
    assert ask(f"/b?{query}").status == 501
