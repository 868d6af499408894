"""One request and its answer on a connected socket, with no wait longer than the time there is."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final

from vfsoverlay._store.answer_parser import AnswerParser
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

#: Seconds of silence after which an answer is given up. S3's slowest healthy answers take about ten.
READ_TIMEOUT: Final = 20.0
#: Bytes asked of the socket while a head is expected: a small object comes with its head at once.
_HEAD_READ: Final = 64 * 1024
#: Bytes of an answer that is read as a whole. A page of a listing has a thousand keys, of 1,024 bytes at most; each
#: byte may be written as three, and there may be as much beside the key.
_LONGEST_READ: Final = 32 * 1024**2
#: Bytes that are taken of an answer before anybody has looked at it; what is asked for without a wait is smaller.
_MOST_TAKEN: Final = 1024**2
#: An ETag from a listing with a line break, for instance, must not become a header of its own.
_UNSENDABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


class Exchange:
    """A GET and the answer to it; leaving it keeps the socket, or closes it when bytes are left on it.

    Args:
        sock: Connected, and waiting for a request.
        target: Path and query, or the whole URL for a proxy.
        headers: Of the request, the Host included.
        remaining: Seconds there are still to wait, asked before each wait: a server that sends a byte
            now and then does not get them anew with each.
        keep: Takes the socket back when it can be used again.
        at_once: Whether the request must leave without a wait; its answer may be taken so as well, by ``take``.

    Raises ``Failure`` of kind network, timeout, malformed or refused, here and wherever the answer is read.
    """

    __slots__ = ("_answer", "_keep", "_left", "_remaining", "_sock", "_spoilt", "_taken", "headers", "status")

    def __init__(
        self,
        sock: socket.socket,
        target: str,
        headers: dict[str, str],
        remaining: Callable[[], float],
        keep: Callable[[socket.socket], None],
        *,
        at_once: bool = False,
    ) -> None:
        self._sock = sock
        self._remaining = remaining
        self._keep = keep
        self._answer = AnswerParser()
        self._left: int | None = None
        self._spoilt: Failure | None = None
        self._taken = 0
        self.status = 0
        """0 until ``head`` was called."""
        self.headers: dict[str, str] = {}
        """By lower-case name; empty until ``head`` was called."""
        try:
            self._send(target, headers, at_once=at_once)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            sock.close()
            raise

    def head(self) -> Exchange:
        """Wait for the head of the answer; itself."""
        answer = self._answer
        try:
            self._raise_if_spoilt()
            while not answer.status:
                self._receive_parsed("the store closed the connection in the middle of a head")
            self.status, self.headers = answer.status, _believable(answer.headers)
        except BaseException:  # cleans up after Ctrl-C as well, and raises it again
            self._sock.close()
            raise
        # The rest of a body of known length need not pass the parser: it goes from the socket to its place.
        length = answer.length()
        self._left = None if length is None else length - sum(map(len, answer.body))
        return self

    def _raise_if_spoilt(self) -> None:
        if self._spoilt is not None:
            raise self._spoilt

    def fileno(self) -> int:
        """What can be read when more of the answer has come."""
        return self._sock.fileno()

    def take(self) -> bool:
        """Take what has come, without a wait. True: no more is waited for: it is complete, too much, or no answer.

        Before ``head`` and the body are asked for: what is not complete, they wait for.
        """
        answer, sock = self._answer, self._sock
        try:
            if sock.gettimeout():
                sock.settimeout(0)
            while not answer.complete and self._taken < _MOST_TAKEN:
                data = sock.recv(_HEAD_READ)
                if not data:
                    return True
                self._taken += len(data)
                answer.feed(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            # Whoever reads on meets the end of the connection.
            return True
        except Failure as failure:
            # The parser does not take more after that.
            self._spoilt = failure
        return True

    @property
    def is_complete(self) -> bool:
        """Whether all of the answer is here."""
        return self._answer.complete

    def peek(self) -> bytes:
        """What is here of the body and was not read yet; it is there to be read still."""
        body = self._answer.body
        if len(body) != 1:
            self._answer.body = body = [b"".join(body)]
        return body[0]

    def done(self) -> None:
        """Keep the socket, or close it: what was not read of the answer is not wanted."""
        self._answer.body = []
        self.__exit__(None, None, None)

    def readinto(self, buffer: memoryview) -> int:
        """Fill *buffer* as far as the body goes, and say how far; 0 at its end, be it the announced one or not."""
        answer = self._answer
        while not answer.body:
            if answer.complete:
                return 0
            if self._left is not None:
                return self._receive_into(buffer[: self._left])
            if not self._receive_parsed("the body broke off"):
                return 0
        piece = answer.body[0]
        size = min(len(piece), len(buffer))
        if size == len(piece):
            buffer[:size] = piece
            del answer.body[0]
        else:
            buffer[:size] = piece[:size]
            answer.body[0] = piece[size:]
        return size

    def read(self) -> bytes:
        """The whole body, which must be as long as announced."""
        # In as few pieces as there can be: after each, another thread may keep the interpreter lock for milliseconds.
        size = max(_HEAD_READ, min(self._left or 0, _LONGEST_READ))
        whole, buffer = bytearray(), memoryview(bytearray(size))
        while size := self.readinto(buffer):
            whole += buffer[:size]
            if len(whole) > _LONGEST_READ:
                raise Failure(Kind.MALFORMED, f"the answer is longer than {_LONGEST_READ >> 20} MiB")
        if not self._answer.complete:
            raise Failure(Kind.NETWORK, f"the body broke off after {len(whole)} bytes")
        return bytes(whole)

    def close(self) -> None:
        """Give up the rest of the answer, and the connection with it."""
        self._sock.close()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        answer = self._answer
        if answer.complete and answer.keeps and not answer.body:
            self._keep(self._sock)
        else:
            self.close()

    # ------------------------------------------------------------------------------------- the wire

    def _send(self, target: str, headers: dict[str, str], *, at_once: bool) -> None:
        lines = [f"GET {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
        if _UNSENDABLE.search("".join(lines)):
            raise Failure(Kind.REFUSED, "this cannot be asked for over HTTP: it has a control character")
        try:
            data = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        except UnicodeEncodeError as error:
            raise Failure(Kind.REFUSED, f"this cannot be asked for over HTTP: {error}") from error
        if not at_once:
            self._wait_as_told()
        elif self._sock.gettimeout():
            self._sock.settimeout(0)
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise _failure_of(error) from error

    def _receive_parsed(self, told: str) -> bool:
        """Give the parser what comes next; False at the end of the connection where that ends the body."""
        self._wait_as_told()
        try:
            data = self._sock.recv(_HEAD_READ)
        except OSError as error:
            raise _failure_of(error) from error
        if data:
            self._answer.feed(data)
            return True
        if not (self._answer.status and self._answer.ends_with_connection()):
            raise Failure(Kind.NETWORK, told)
        self._answer.complete = True
        return False

    def _receive_into(self, buffer: memoryview) -> int:
        self._wait_as_told()
        try:
            size = self._sock.recv_into(buffer)
        except OSError as error:
            raise _failure_of(error) from error
        assert self._left is not None  # noqa: S101
        self._left -= size
        self._answer.complete = not self._left
        return size

    def _wait_as_told(self) -> None:
        seconds = min(READ_TIMEOUT, self._remaining())
        # Setting it is a system call.
        if self._sock.gettimeout() != seconds:
            self._sock.settimeout(seconds)


def _believable(headers: dict[str, str]) -> dict[str, str]:
    """*headers*, unless they frame the body in a way that is not undone here."""
    coding = headers.get("transfer-encoding", "chunked")
    if coding.lower() != "chunked":
        raise Failure(Kind.MALFORMED, f"the answer has the transfer encoding {coding[:40]!r}")
    return headers


def _failure_of(error: OSError) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure(Kind.TIMEOUT, "the store stopped sending")
    return Failure(Kind.NETWORK, f"the connection broke ({type(error).__name__}: {error})")
