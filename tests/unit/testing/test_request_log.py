from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vfsoverlay.testing import S3Server

Ask = Callable[..., Any]


def test_purposes(server: S3Server, ask: Ask) -> None:
    """Each request is counted under what it was for."""
    server.create_bucket("open", public=("list", "get", "put", "delete"))
    ask("/open/k", method="PUT", body=b"body")
    for target in ("/open/k", "/open?list-type=2", "/open", "/open?versions", "/open?location"):
        ask(target)
    ask("/open/k", method="HEAD")
    ask("/open", method="HEAD")
    ask("/open/k", method="DELETE")
    ask("/open/k?uploads", method="POST")
    purposes = ("put", "get", "list", "head", "delete", "other")
    assert [server.requests.count(purpose) for purpose in purposes] == [2, 1, 3, 2, 1, 1]  # type: ignore[arg-type]


def test_records(server: S3Server, ask: Ask) -> None:
    """A record has what was asked and what was answered; a HEAD has no bytes."""
    ask("/b/k?versionId=null&x-id=GetObject", Range="bytes=0-3", If_Match='"x"')
    ask("/b/k", Range="bytes=0-3")
    ask("/b/missing", method="HEAD")
    first, second, third = server.requests.records
    assert (first.method, first.bucket, first.key, first.query) == (
        "GET", "b", "k", {"versionId": "null", "x-id": "GetObject"},
    )  # fmt: skip
    assert (first.range, first.if_match, first.status, first.authorization) == ("bytes=0-3", '"x"', 412, "none")
    assert (second.status, second.bytes_sent) == (206, 4)
    assert (third.purpose, third.status, third.bytes_sent) == ("head", 404, 0)
    assert first.time <= second.time
    assert repr(second) == "<GET b/k bytes=0-3 -> 206, 4 bytes>"


def test_counts(server: S3Server, ask: Ask) -> None:
    """Requests are counted by key, bucket and status, since a mark, and from zero after a reset."""
    ask("/b/k")
    mark = len(server.requests)
    ask("/b/k")
    ask("/b/missing")
    log = server.requests
    assert (log.count(), log.count("get"), log.count(key="k"), log.count(status=404)) == (3, 3, 2, 1)
    assert (log.count(bucket="b"), log.count(bucket="c")) == (3, 0)
    assert [record.key for record in log.since(mark)] == ["k", "missing"]
    assert log.since(len(log)) == []
    assert log.bytes_sent("get", key="k") == 20
    log.reset()
    assert (len(log), log.records) == (0, [])


def test_kinds_of_authorization(server: S3Server, ask: Ask) -> None:
    """A record tells whether a request was signed, in a header or in its query."""
    ask("/b/k", Authorization="AWS4-HMAC-SHA256 x")
    ask("/b/k?X-Amz-Signature=x")
    assert [record.authorization for record in server.requests.records] == ["header", "query"]


def test_only_the_last_are_kept() -> None:
    """A log of a long run forgets the oldest requests, and still knows how many there were."""
    with S3Server(keep_requests=2) as server:
        from urllib.error import HTTPError
        from urllib.request import urlopen

        for key in "abc":
            with pytest.raises(HTTPError):
                urlopen(f"{server.url}/b/{key}")
        assert [record.key for record in server.requests.records] == ["b", "c"]
        assert len(server.requests) == 3


def test_waiting(server: S3Server, ask: Ask) -> None:
    """A test waits for requests to arrive, and is told when they do not."""
    ask("/b/k")
    server.requests.wait_for(1)
    with pytest.raises(TimeoutError, match="1 of 2"):
        server.requests.wait_for(2, timeout=0.01)
