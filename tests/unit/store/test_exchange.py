"""Answers of HTTP/1.1 servers of every habit, got over connections that are kept where they may be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from vfsoverlay._store.connections import Connections
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.exchange import Exchange
from vfsoverlay._store.kinds import Kind


class Server:
    """Sends the same bytes after each request, in pieces, and then closes the connection or waits for another one."""

    def __init__(self, raw: bytes, step: int, *, closes: bool) -> None:
        self.connections: list[socket.socket] = []
        self.requests: list[bytes] = []
        self._pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
        self._closes = closes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while request := connection.recv(65536):
                    self.requests.append(request)
                    for piece in self._pieces:
                        connection.sendall(piece)
                    if self._closes:
                        return
            except OSError:
                pass  # the client has seen enough

    def close(self) -> None:
        """Stop, and wait until every client has gone."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


class Client:
    """Asks a server that answers with some bytes."""

    def __init__(self, raw: bytes, *, step: int = 1 << 20, closes: bool = True) -> None:
        self.server = Server(raw, step, closes=closes)
        self.connections = Connections(self.server.url, proxies={})

    def ask(self, seconds: float = 5.0) -> Exchange:
        return self.connections.get("/o", {"host": "h"}, lambda: seconds)


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(raw: bytes, *, step: int = 1 << 20, closes: bool = True) -> Client:
        made.append(Client(raw, step=step, closes=closes))
        return made[-1]

    yield make
    for one in made:
        one.connections.close()
        # Ends only when the client has closed each of its connections.
        one.server.close()


PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\n\r\nhello'
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
VERSION_0 = PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0")
CLOSING = PLAIN.replace(b"ETag", b"Connection: close\r\nETag")


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "kept"),
    [(PLAIN, True), (CHUNKED, True), (UNTIL_CLOSE, False), (INTERIM, True), (VERSION_0, False), (CLOSING, False)],
    ids=["plain", "chunked", "until close", "interim", "HTTP/1.0", "closing"],
)
def test_body_however_it_is_framed(client: Callable[..., Client], raw: bytes, kept: bool, step: int) -> None:
    """A body arrives whole however it is framed and cut, and the connection is kept where it may be."""
    one = client(raw, step=step, closes=not kept)
    for _ in range(2):
        with one.ask() as answer:
            assert answer.read() == b"hello"
    assert len(one.server.connections) == (1 if kept else 2)


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED, UNTIL_CLOSE], ids=["plain", "chunked", "until close"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_body_into_buffers(client: Callable[..., Client], raw: bytes, size: int) -> None:
    """Read into buffers of any size, the body is complete, and its end is zero bytes."""
    buffer, got = memoryview(bytearray(size)), b""
    with client(raw).ask() as answer:
        while filled := answer.readinto(buffer):
            got += bytes(buffer[:filled])
    assert got == b"hello"


def test_headers(client: Callable[..., Client]) -> None:
    """Headers are found by lower-case name, without blanks around the value; repeated ones are joined."""
    with client(b"HTTP/1.1 206 Partial\r\nX-A:  1 \r\nx-a: 2\r\ncontent-length: 0\r\n\r\n").ask() as answer:
        assert (answer.status, answer.headers["x-a"]) == (206, "1, 2")


def test_request_is_as_it_was_composed(client: Callable[..., Client]) -> None:
    """Nothing but the given headers is sent: a signature covers them."""
    one = client(PLAIN)
    one.ask().close()
    assert one.server.requests == [b"GET /o HTTP/1.1\r\nhost: h\r\n\r\n"]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", Kind.NETWORK),
        (b"HTTP/1.1 404 Not Found\r\nContent", Kind.NETWORK),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", Kind.NETWORK),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/2 200 OK\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + PLAIN, Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000, Kind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 20_000 + b"\r\n", Kind.MALFORMED),
        (PLAIN[:-1], Kind.NETWORK),
        (CHUNKED[:-20], Kind.NETWORK),
        (CHUNKED.replace(b"2\r\nlo", b"zz\r\nlo"), Kind.MALFORMED),
    ],
)
def test_answer_that_cannot_be_trusted(client: Callable[..., Client], raw: bytes, kind: Kind) -> None:
    """A head or body that is cut, or not what HTTP allows, is a failure and never a shorter body or an absence."""
    one = client(raw)
    with pytest.raises(Failure) as caught, one.ask() as answer:
        answer.read()
    assert caught.value.kind is kind


@pytest.mark.parametrize("raw", [b"", PLAIN[:20], PLAIN[:-1]], ids=["nothing", "half a head", "half a body"])
def test_silence_is_a_timeout(client: Callable[..., Client], raw: bytes) -> None:
    """A server that stops sending is given up after the time there is, wherever it stops."""
    one = client(raw, closes=False)
    with pytest.raises(Failure) as caught, one.ask(0.01) as answer:
        answer.read()
    assert caught.value.kind is Kind.TIMEOUT


def test_trickled_head_does_not_gain_time(client: Callable[..., Client]) -> None:
    """Each byte of a head is waited for only as long as there is time, which does not begin anew with it."""
    one, asked = client(PLAIN[:1], closes=False), 0

    def remaining() -> float:
        nonlocal asked
        asked += 1
        # Connecting, sending, the first byte; then the time is over.
        return 5.0 if asked <= 3 else 0.001

    with pytest.raises(Failure) as caught:
        one.connections.get("/o", {"host": "h"}, remaining)
    assert (caught.value.kind, asked) == (Kind.TIMEOUT, 4)


def test_connection_with_bytes_left_is_not_kept(client: Callable[..., Client]) -> None:
    """An answer that was not read to its end costs its connection: the next one would begin with its rest."""
    one = client(PLAIN, closes=False)
    with one.ask() as answer:
        assert answer.readinto(memoryview(bytearray(3))) == 3
    with one.ask() as answer:
        assert answer.read() == b"hello"
    assert len(one.server.connections) == 2


@pytest.mark.parametrize("more", [PLAIN, b"\x00"], ids=["another answer", "anything else"])
@pytest.mark.parametrize("raw", [PLAIN, CHUNKED], ids=["plain", "chunked"])
def test_connection_with_bytes_behind_an_answer_is_not_kept(
    client: Callable[..., Client], raw: bytes, more: bytes
) -> None:
    """An answer that is followed by more is right, and costs its connection: the next one on it would not be ours."""
    one = client(raw + more, closes=False)
    for _ in range(2):
        with one.ask() as answer:
            assert answer.read() == b"hello"
    assert len(one.server.connections) == 2


def test_connection_in_use_at_the_end_is_closed_by_its_user(client: Callable[..., Client]) -> None:
    """An answer that is still read when the connections are closed is read to its end, and its connection not kept."""
    one = client(PLAIN, closes=False)
    with one.ask() as answer:
        one.connections.close()
        assert answer.read() == b"hello"
    # Ends only when the client has closed each of its connections.
    one.server.close()


def test_connection_that_was_closed_while_idle_is_replaced(client: Callable[..., Client]) -> None:
    """A kept connection that the server has closed meanwhile costs no failure."""
    one = client(PLAIN)
    for _ in range(3):
        with one.ask() as answer:
            assert answer.read() == b"hello"
    assert len(one.server.connections) == 3


def test_reader_that_fails_leaves_no_connection_open(client: Callable[..., Client]) -> None:
    """Whatever is raised while an answer is read, its connection is closed and another one serves the next request."""
    one = client(PLAIN, closes=False)
    with pytest.raises(ZeroDivisionError), one.ask():
        _ = 1 / 0
    with one.ask() as answer:
        assert answer.read() == b"hello"
    assert len(one.server.connections) == 2
