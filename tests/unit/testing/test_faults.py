from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.client import IncompleteRead
from typing import Any

import pytest

from vfsoverlay.testing import Fault, S3Server

BODY = b"0123456789"
Ask = Callable[..., Any]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.slow_down(), 503, b"SlowDown"),
        (Fault.internal_error(), 500, b"InternalError"),
        (Fault.access_denied(), 403, b"AccessDenied"),
        (Fault.expired_token(), 400, b"ExpiredToken"),
        (Fault.wrong_region("eu-west-1"), 301, b"PermanentRedirect"),
        (Fault.error("Throttled", "wait", status=429), 429, b"Throttled"),
    ],
)
def test_errors(server: S3Server, ask: Ask, fault: Fault, status: int, code: bytes) -> None:
    """A fault that is an error answers one request with S3's status and XML, and the next one works."""
    server.faults.add(fault)
    answer = ask("/b/k")
    assert answer.status == status
    assert b"<Code>" + code + b"</Code>" in answer.body
    assert ask("/b/k").body == BODY
    assert [record.status for record in server.requests.records] == [status, 200]


def test_headers_of_errors(server: S3Server, ask: Ask) -> None:
    """SlowDown may say when to come again, and a wrong region names the right one."""
    server.faults.add(Fault.slow_down(retry_after=3), Fault.wrong_region("eu-west-1"))
    assert ask("/b/k").headers["retry-after"] == "3"
    assert ask("/b/k").status == 200
    server.faults.add(Fault.wrong_region("eu-west-1"))
    assert ask("/b/k").headers["x-amz-bucket-region"] == "eu-west-1"


def test_what_a_fault_meets(server: S3Server, ask: Ask) -> None:
    """Purpose, key and bucket choose the requests; ``skip`` and ``times`` choose which of them."""
    server.put("b", "other", BODY)
    server.faults.add(Fault.slow_down(purpose="get", bucket="b", key="k", skip=1, times=2))
    assert server.faults.pending == 1
    assert [ask(path).status for path in ("/b/other", "/b?list-type=2", "/b/k", "/b/k", "/b/other")] == [
        200, 200, 200, 503, 200,
    ]  # fmt: skip
    assert server.faults.pending == 1
    assert [ask("/b/k").status for _ in range(3)] == [503, 200, 200]
    assert server.faults.pending == 0


def test_endless_fault_until_cleared(server: S3Server, ask: Ask) -> None:
    """``times=None`` meets every request until the plan is cleared."""
    server.faults.add(Fault.slow_down(times=None))
    assert [ask("/b/k").status for _ in range(3)] == [503] * 3
    server.faults.clear()
    assert ask("/b/k").status == 200


@pytest.mark.parametrize("after_headers", [False, True])
def test_reset(server: S3Server, ask: Ask, after_headers: bool) -> None:
    """The connection is reset before the answer, or after its headers; the log tells which."""
    server.faults.add(Fault.reset(after_headers=after_headers))
    with pytest.raises(ConnectionResetError):
        ask("/b/k")
    record = server.requests.records[0]
    assert record.status == (200 if after_headers else 0)
    assert ask("/b/k").body == BODY


def test_cut_body(server: S3Server, ask: Ask) -> None:
    """The connection ends in the middle of the body, and the log has the bytes that really went out."""
    server.faults.add(Fault.cut_body(4))
    with pytest.raises(IncompleteRead) as error:
        ask("/b/k")
    assert error.value.partial == b"0123"
    assert ask("/b/k").body == BODY
    assert [record.bytes_sent for record in server.requests.records] == [4, 10]


def test_stall(server: S3Server, ask: Ask) -> None:
    """A stall delays the rest of the body, which then comes whole."""
    server.faults.add(Fault.stall(0.2, after=3))
    begin = time.monotonic()
    assert ask("/b/k").body == BODY
    assert time.monotonic() - begin >= 0.2


def test_closing_ends_a_stall(ask: Ask, server: S3Server) -> None:
    """close() does not wait for a stall that has an hour to go; the client sees the connection end."""
    server.faults.add(Fault.stall(3600, after=3))
    seen: list[Exception] = []

    def read() -> None:
        try:
            ask("/b/k")
        except (OSError, IncompleteRead) as error:
            seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    server.requests.wait_for(1)
    server.close()
    reader.join(20)
    assert len(seen) == 1


def test_hold(server: S3Server, ask: Ask) -> None:
    """A held request is in the log and not answered until its gate opens."""
    gate = threading.Event()
    server.faults.add(Fault.hold(gate))
    bodies: list[bytes] = []
    reader = threading.Thread(target=lambda: bodies.append(ask("/b/k").body))
    reader.start()
    server.requests.wait_for(1)
    assert (server.requests.records[0].status, bodies) == (0, [])
    gate.set()
    reader.join(20)
    assert (server.requests.records[0].status, bodies) == (200, [BODY])


def test_wrong_content_range(server: S3Server, ask: Ask) -> None:
    """The Content-Range lies; the bytes are those asked for."""
    server.faults.add(Fault.wrong_content_range(2))
    answer = ask("/b/k", Range="bytes=1-3")
    assert (answer.status, answer.headers["content-range"], answer.body) == (206, "bytes 3-5/10", b"123")


def test_short_body(server: S3Server, ask: Ask) -> None:
    """Bytes are missing, and the Content-Length agrees with what is there."""
    server.faults.add(Fault.short_body(4))
    answer = ask("/b/k")
    assert (answer.headers["content-length"], answer.body) == ("6", b"012345")


def test_flip_bit(server: S3Server, ask: Ask) -> None:
    """One bit differs."""
    server.faults.add(Fault.flip_bit(9))
    assert ask("/b/k").body == b"0123456788"


def test_ignore_if_match(server: S3Server, ask: Ask) -> None:
    """The condition is not looked at, but stays in the log."""
    server.faults.add(Fault.ignore_if_match())
    assert [ask("/b/k", If_Match='"x"').status for _ in range(2)] == [200, 412]
    assert [record.if_match for record in server.requests.records] == ['"x"', '"x"']


def test_ignore_range(server: S3Server, ask: Ask) -> None:
    """A ranged GET gets 200 and the whole object."""
    server.faults.add(Fault.ignore_range())
    answer = ask("/b/k", Range="bytes=1-2")
    assert (answer.status, answer.body) == (200, BODY)
    assert "content-range" not in answer.headers


def test_replace_object(server: S3Server, ask: Ask) -> None:
    """The object is overwritten between the first and the second request."""
    server.faults.add(Fault.replace_object(b"new", key="k", skip=1))
    first, second = ask("/b/k"), ask("/b/k")
    assert (first.body, second.body) == (BODY, b"new")
    assert first.headers["etag"] != second.headers["etag"]


def test_etags(server: S3Server, ask: Ask) -> None:
    """The ETag can be wrong or missing."""
    server.faults.add(Fault.wrong_etag("abc"))
    assert ask("/b/k").headers["etag"] == '"abc"'
    server.faults.add(Fault.no_etag())
    assert "etag" not in ask("/b/k").headers


@pytest.mark.parametrize("fault", [Fault.garbage_xml(purpose="list"), Fault.truncated_page(purpose="list")])
def test_listings_that_do_not_parse(server: S3Server, ask: Ask, fault: Fault) -> None:
    """A page is answered 200, and is no listing."""
    server.faults.add(fault)
    answer = ask("/b?list-type=2")
    assert answer.status == 200
    assert not answer.body.endswith(b"</ListBucketResult>")
    assert ask("/b?list-type=2").body.endswith(b"</ListBucketResult>")


def test_faults_of_large_files(server: S3Server, ask: Ask, tmp_path: Any) -> None:
    """Faults work on bodies that the kernel sends from a file as well."""
    data = bytes(range(256)) * 1024
    (tmp_path / "large").write_bytes(data)
    server.create_bucket("files", public=True, directory=tmp_path)
    server.faults.add(Fault.flip_bit(1, times=1))
    assert ask("/files/large").body == b"\0\0" + data[2:]
    server.faults.add(Fault.cut_body(100_000))
    with pytest.raises(IncompleteRead) as error:
        ask("/files/large")
    assert error.value.partial == data[:100_000]
