"""The loop of one connection: read a request, ask the service, send the answer, again."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from vfsoverlay.testing._message import AT_ONCE, JOIN_BELOW, Body, MemoryBody, Request, Response

#: Reasons by status, looked up once: HTTPStatus(...) costs as much as the rest of a status line.
_REASONS = {status.value: status.phrase for status in HTTPStatus}

_RECEIVE = 64 * 1024
_PIECE = 1024 * 1024
#: A request head beyond this is an attack or a bug; S3 refuses 8 KiB of headers.
_HEAD_LIMIT = 256 * 1024
#: Close with RST instead of FIN.
_LINGER_NONE = struct.pack("ii", 1, 0)


class _ConnectionEndedError(Exception):
    """The peer went away, or an answer was cut on purpose."""


class Connection:
    """One accepted socket, served by the thread that calls ``run``."""

    def __init__(self, sock: socket.socket, answer: Callable[[Request], Response], closing: threading.Event) -> None:
        self.socket = sock
        self._answer = answer
        self._closing = closing
        self._buffer = bytearray()
        self._sent = 0

    def run(self, ssl_context: ssl.SSLContext | None) -> None:
        """Serve until the client goes, an answer says so, or the server closes."""
        try:
            if ssl_context is not None:
                # The handshake comes after the assignment, so that shut_down() from another thread can end it.
                self.socket = ssl_context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
                if self._closing.is_set():
                    return
                self.socket.do_handshake()
            while self._serve_one():
                pass
        except (OSError, _ConnectionEndedError):
            pass  # the peer went away or close() shut the socket down: both end a connection, neither is an error here
        finally:
            self.socket.close()

    def shut_down(self) -> None:
        """End the connection from another thread: wakes whatever it waits for."""
        with contextlib.suppress(OSError):  # it may have ended by itself
            self.socket.shutdown(socket.SHUT_RDWR)

    # ------------------------------------------------------------------------------ requests

    def _serve_one(self) -> bool:
        head = self._read_head()
        if head is None:
            return False
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        method, target, version = lines[0].split(" ", 2) if lines[0].count(" ") >= 2 else ("", "", "")
        if not method:
            self._refuse()
            return False
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        request = Request(method, target, headers)
        try:
            self._read_body(request)
        except ValueError:  # a length that is no number
            self._refuse()
            return False
        response = self._answer(request)
        self._sent = 0
        try:
            self._send(response, whole=method != "HEAD")
        except (OSError, _ConnectionEndedError):
            response.note_sent(self._sent)
            raise
        finally:
            response.close()
        return headers.get("connection", "").lower() != "close" and version != "HTTP/1.0"

    def _refuse(self) -> None:
        self.socket.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def _read_head(self) -> bytes | None:
        """The next request head without its empty line, or None when the client has gone."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            data = self.socket.recv(_RECEIVE)
            if not data or len(self._buffer) > _HEAD_LIMIT:
                return None
            self._buffer += data
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def _read_body(self, request: Request) -> None:
        headers = request.headers
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return
        if headers.get("expect", "").lower() == "100-continue":
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            request.body = self._read_pieces()
        else:
            request.body = self._read_exactly(int(headers["content-length"]))

    def _read_pieces(self) -> bytearray:
        """A body in HTTP's chunked coding, whose length is only known at its end."""
        body = bytearray()
        while size := int(self._read_line().partition(b";")[0], 16):
            body += self._read_exactly(size)
            self._read_line()
        while self._read_line():  # trailers of HTTP itself; those of S3 lie inside the body
            pass
        return body

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_exactly(self, size: int) -> bytes | bytearray:
        if len(self._buffer) >= size:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            return data
        body = bytearray(size)
        filled = len(self._buffer)
        body[:filled] = self._buffer
        self._buffer.clear()
        view = memoryview(body)
        while filled < size:
            count = self.socket.recv_into(view[filled:])
            if not count:
                raise _ConnectionEndedError
            filled += count
        return body

    def _fill(self) -> None:
        data = self.socket.recv(_RECEIVE)
        if not data:
            raise _ConnectionEndedError
        self._buffer += data

    # ------------------------------------------------------------------------------- answers

    def _send(self, response: Response, *, whole: bool) -> None:
        delivery = response.delivery
        if delivery.reset == "before":
            self._reset()
        lines = "".join([f"{name}: {value}\r\n" for name, value in response.headers.items()])
        head = (
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}\r\n{lines}"
            f"Content-Length: {response.length}\r\n\r\n"
        ).encode("utf-8", "surrogateescape")
        body = response.body
        if not whole or not body:
            self.socket.sendall(head)
        elif delivery is AT_ONCE and (isinstance(body, bytes) or len(body) <= JOIN_BELOW):
            # A document in one step whatever its size: between two, others may hold the interpreter for milliseconds.
            self.socket.sendall(head + (body if isinstance(body, bytes) else body.read(0, len(body))))
        else:
            self.socket.sendall(head)
            if delivery.reset:
                self._reset()
            self._send_body(MemoryBody(body) if isinstance(body, bytes) else body, response)

    def _send_body(self, body: Body, response: Response) -> None:
        delivery = response.delivery
        size = len(body)
        sent = 0
        if delivery.stall_after is not None:
            sent = self._send_part(body, 0, min(delivery.stall_after, size), delivery.bandwidth)
            self._wait(delivery.stall_seconds)
        if delivery.cut_after is not None:
            self._send_part(body, sent, min(delivery.cut_after, size), delivery.bandwidth)
            raise _ConnectionEndedError
        self._send_part(body, sent, size, delivery.bandwidth)

    def _send_part(self, body: Body, start: int, stop: int, bandwidth: float) -> int:
        """Send bytes *start* to *stop*, not faster than *bandwidth*; returns *stop*."""
        if bandwidth <= 0:
            self._send_span(body, start, stop)
            return stop
        step = max(1, int(bandwidth / 100))  # a hundredth of a second: smooth, and cheap to wait for
        begin = time.monotonic()
        for position in range(start, stop, step):
            end = min(position + step, stop)
            self._wait(begin + (end - start) / bandwidth - time.monotonic())
            self._send_span(body, position, end)
        return stop

    def _send_span(self, body: Body, start: int, stop: int) -> None:
        plain = type(self.socket) is socket.socket  # the kernel cannot encrypt for an SSLSocket
        while start < stop:
            count = body.send_to(self.socket.fileno(), start, stop) if plain else -1
            if count < 0:
                piece = body.read(start, min(stop, start + _PIECE))
                self.socket.sendall(piece)
                count = len(piece)
            if not count:
                raise _ConnectionEndedError  # a file became shorter: the client must see a cut answer
            start += count
            self._sent += count

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self._closing.wait(seconds):
            raise _ConnectionEndedError

    def _reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        raise _ConnectionEndedError
