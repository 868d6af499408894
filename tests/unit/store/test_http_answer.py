"""Answers of HTTP/1.1 servers of every habit, read from a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.http_answer import HttpAnswer
from vfsoverlay._store.kinds import Kind


@pytest.fixture
def answer_to(request: pytest.FixtureRequest) -> Callable[..., HttpAnswer]:
    """The answer that some bytes are, sent by another thread in pieces."""

    def make(raw: bytes, *, step: int = 1 << 20) -> HttpAnswer:
        ours, theirs = socket.socketpair()
        request.addfinalizer(ours.close)

        def send() -> None:
            with theirs:
                for at in range(0, len(raw), step):
                    theirs.sendall(raw[at : at + step])

        sender = threading.Thread(target=send)
        request.addfinalizer(sender.join)
        sender.start()
        return HttpAnswer(ours, lambda: 5.0)

    return make


PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\n\r\nhello'
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
VERSION_0 = PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0")
CLOSING = PLAIN.replace(b"ETag", b"Connection: close\r\nETag")


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "kept"),
    [(PLAIN, True), (CHUNKED, True), (UNTIL_CLOSE, False), (INTERIM, True), (VERSION_0, False), (CLOSING, False)],
    ids=["plain", "chunked", "until close", "interim", "HTTP/1.0", "closing"],
)
def test_body_however_it_is_framed(answer_to: Callable[..., HttpAnswer], raw: bytes, kept: bool, step: int) -> None:
    """A body arrives whole however it is framed and cut, and the connection is kept where it may be."""
    answer = answer_to(raw, step=step)
    assert answer.read() == b"hello"
    assert (answer.ended and answer.keeps_alive) is kept


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED, UNTIL_CLOSE], ids=["plain", "chunked", "until close"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_body_into_buffers(answer_to: Callable[..., HttpAnswer], raw: bytes, size: int) -> None:
    """Read into buffers of any size, the body is complete, and its end is zero bytes."""
    answer, buffer, got = answer_to(raw), memoryview(bytearray(size)), b""
    while filled := answer.readinto(buffer):
        got += bytes(buffer[:filled])
    assert got == b"hello"


def test_headers(answer_to: Callable[..., HttpAnswer]) -> None:
    """Headers are found by lower-case name, without blanks around the value; repeated ones are joined."""
    answer = answer_to(b"HTTP/1.1 206 Partial\r\nX-A:  1 \r\nx-a: 2\r\ncontent-length: 0\r\n\r\n")
    assert (answer.status, answer.headers["x-a"]) == (206, "1, 2")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", Kind.NETWORK),
        (b"HTTP/1.1 200 OK\r\nContent", Kind.NETWORK),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/2 200 OK\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Kind.MALFORMED),
        (b"x" * 300_000, Kind.MALFORMED),
        (PLAIN[:-1], Kind.NETWORK),
        (CHUNKED[:-20], Kind.NETWORK),
        (CHUNKED.replace(b"2\r\nlo", b"zz\r\nlo"), Kind.MALFORMED),
        (CHUNKED.replace(b"2\r\nlo", b"-2\r\nlo"), Kind.MALFORMED),
    ],
)
def test_answer_that_cannot_be_trusted(answer_to: Callable[..., HttpAnswer], raw: bytes, kind: Kind) -> None:
    """A head or body that is cut, or not what HTTP allows, is a failure and never a shorter body."""
    with pytest.raises(Failure) as caught:
        answer_to(raw).read()
    assert caught.value.kind is kind


def test_silence_is_a_timeout() -> None:
    """A server that sends nothing is given up after the time it has."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Failure) as caught:
        HttpAnswer(ours, lambda: 0.01)
    assert caught.value.kind is Kind.TIMEOUT
