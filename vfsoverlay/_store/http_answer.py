"""The answer to a GET, read from a socket: its head, and its body straight into the reader's buffer.

``http.client`` parses a head as if it were an e-mail, which takes as long as all the rest of a small
GET. What an HTTP/1.1 client must do with an answer (RFC 9112, sections 4 to 7) is little.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

#: Seconds of silence after which an answer is given up. S3's slowest healthy answers take about ten.
READ_TIMEOUT: Final = 20.0
_AT_ONCE: Final = 64 * 1024
#: S3 limits the metadata of an object to 2 KB; a head far beyond that is none.
_LONGEST_HEAD: Final = 256 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(r"HTTP/1\.([01]) (\d{3})(?: .*)?")
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_BODYLESS: Final = (204, 304)

_Received = TypeVar("_Received", bytes, int)


class HttpAnswer:
    """Status, headers (by lower-case name) and body of one answer on *sock*.

    Args:
        sock: A connected socket on which a GET was sent.
        remaining: Seconds there are still to wait, asked before each wait: a server that sends a byte
            now and then does not get them anew with each.

    Raises ``Failure`` of kind network, timeout or malformed.
    """

    __slots__ = ("_chunked", "_held", "_left", "_remaining", "_sock", "headers", "keeps_alive", "status")

    def __init__(self, sock: socket.socket, remaining: Callable[[], float]) -> None:
        self._sock = sock
        self._remaining = remaining
        self._held = b""
        self.status = 100
        self.headers: dict[str, str] = {}
        self.keeps_alive = False
        while self.status < 200:  # "100 Continue" and its kind come before the answer
            self._read_head()
        encoding = self.headers.get("transfer-encoding", "").lower()
        self._chunked = encoding == "chunked"
        #: Bytes of the body (or chunk) that are still to come; None: until the connection is closed.
        self._left = self._announced(encoding)
        closes = self.headers.get("connection", "").lower() == "close"
        self.keeps_alive = self.keeps_alive and not closes and self._left is not None

    # ----------------------------------------------------------------------------------------- head

    def _read_head(self) -> None:
        while (end := self._held.find(_END_OF_HEAD)) < 0:
            if len(self._held) > _LONGEST_HEAD:
                raise Failure(Kind.MALFORMED, "the head of the answer does not end")
            more = self._receive()
            if not more:
                raise Failure(Kind.NETWORK, "the store closed the connection without an answer")
            self._held += more
        head = self._held[:end].decode("latin-1")
        self._held = self._held[end + len(_END_OF_HEAD) :]
        first, *lines = head.split("\r\n")
        match = _STATUS.fullmatch(first)
        if match is None:
            raise Failure(Kind.MALFORMED, f"the answer is not HTTP/1.1: {first[:60]!r}")
        self.keeps_alive = match[1] == "1"
        self.status = int(match[2])
        self.headers = _parse_headers(lines)

    def _announced(self, encoding: str) -> int | None:
        if self.status in _BODYLESS:
            return 0
        if encoding:
            if not self._chunked:
                raise Failure(Kind.MALFORMED, f"the answer has the transfer encoding {encoding!r}")
            return 0
        length = self.headers.get("content-length")
        if length is None:
            return None
        if not length.isdecimal():
            raise Failure(Kind.MALFORMED, f"the answer has the length {length[:40]!r}")
        return int(length)

    # ----------------------------------------------------------------------------------------- body

    @property
    def ended(self) -> bool:
        """Whether the whole body was read, so that the connection can be used again."""
        return self._left == 0 and not self._chunked and not self._held

    def readinto(self, buffer: memoryview) -> int:
        """Fill *buffer* as far as the body goes, and say how far; 0 at its end."""
        filled = 0
        while filled < len(buffer):
            size = self._read_some(buffer[filled:])
            if not size:
                break
            filled += size
        return filled

    def read(self) -> bytes:
        """The whole body, which must be as long as announced."""
        pieces = []
        buffer = memoryview(bytearray(_AT_ONCE))
        while size := self._read_some(buffer):
            pieces.append(bytes(buffer[:size]))
        if self._left:
            raise Failure(Kind.NETWORK, f"the body ended {self._left} bytes before its announced length")
        return b"".join(pieces)

    def _read_some(self, buffer: memoryview) -> int:
        if self._chunked and self._left == 0:
            self._begin_chunk()
        wanted = len(buffer) if self._left is None else min(len(buffer), self._left)
        if self._held:
            size = min(wanted, len(self._held))
            buffer[:size] = self._held[:size]
            self._held = self._held[size:]
        else:
            size = self._timed(lambda: self._sock.recv_into(buffer, wanted)) if wanted else 0
        if self._left is not None:
            self._left -= size
        return size

    def _begin_chunk(self) -> None:
        """Read the line that begins a chunk (and the end of the one before); at the last, the trailers too."""
        line = self._read_line() or self._read_line()
        size = line.partition(b";")[0].strip()
        if not _HEXADECIMAL.fullmatch(size):
            raise Failure(Kind.MALFORMED, f"not the size of a chunk: {size[:40]!r}")
        self._left = int(size, 16)
        if self._left == 0:
            while self._read_line():
                pass
            self._chunked = False

    def _read_line(self) -> bytes:
        while (end := self._held.find(b"\r\n")) < 0:
            more = self._receive()
            if not more or len(self._held) > _LONGEST_HEAD:
                raise Failure(Kind.NETWORK, "the body ended in the middle of a chunk")
            self._held += more
        line, self._held = self._held[:end], self._held[end + 2 :]
        return line

    # --------------------------------------------------------------------------------------- socket

    def _receive(self) -> bytes:
        return self._timed(lambda: self._sock.recv(_AT_ONCE))

    def _timed(self, receive: Callable[[], _Received]) -> _Received:
        try:
            self._sock.settimeout(min(READ_TIMEOUT, self._remaining()))
            return receive()
        except OSError as error:
            raise broken(error) from error


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Failure(Kind.MALFORMED, f"the answer has the header {line[:60]!r}")
        name, value = name.lower(), value.strip()
        if headers.setdefault(name, value) != value:
            if name == "content-length":
                raise Failure(Kind.MALFORMED, "the answer has two lengths")
            headers[name] += f", {value}"
    return headers


def broken(error: OSError) -> Failure:
    """What an exception of a connection in use means."""
    if isinstance(error, TimeoutError):
        return Failure(Kind.TIMEOUT, "the store stopped sending")
    return Failure(Kind.NETWORK, f"the connection broke ({type(error).__name__}: {error})")
