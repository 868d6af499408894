"""One request and its answer on a connection of ``http.client``, with no wait longer than the time there is."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from functools import partial
from io import BufferedReader, RawIOBase
from types import TracebackType
from typing import Any, Final, cast

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

#: Seconds of silence after which an answer is given up. S3's slowest healthy answers take about ten.
READ_TIMEOUT: Final = 20.0
#: What the parser of heads notes, instead of raising, where it leaves out the headers that follow.
_LOST_HEADERS: Final = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)


class Exchange:
    """A GET and the answer to it; leaving it keeps the connection, or closes it when bytes are left on it.

    Args:
        connection: Connected, and waiting for a request.
        target: Path and query, or the whole URL for a proxy.
        headers: Of the request, the Host included.
        remaining: Seconds there are still to wait, asked before each wait: a server that sends a byte
            now and then does not get them anew with each.
        keep: Takes the connection back when it can be used again.

    Raises ``Failure`` of kind network, timeout, malformed or refused, here and wherever the body is read.
    """

    __slots__ = ("_connection", "_keep", "_response", "headers", "status")

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        target: str,
        headers: dict[str, str],
        remaining: Callable[[], float],
        keep: Callable[[http.client.HTTPConnection], None],
    ) -> None:
        self._connection = connection
        self._keep = keep
        try:
            self._response = _ask(connection, target, headers, remaining)
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise _failure_of(error) from error
        except BaseException:
            connection.close()
            raise
        self.status = self._response.status
        try:
            self.headers = _headers_of(self._response)
        except Failure:
            self.close()
            raise

    def readinto(self, buffer: memoryview) -> int:
        """Fill *buffer* as far as the body goes, and say how far; 0 at its end, be it the announced one or not."""
        try:
            return self._response.readinto(buffer)
        except (OSError, http.client.HTTPException) as error:
            raise _failure_of(error) from error

    def read(self) -> bytes:
        """The whole body, which must be as long as announced."""
        try:
            return self._response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _failure_of(error) from error

    def close(self) -> None:
        """Give up the rest of the answer, and the connection with it."""
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # http.client has taken the socket away where the server said that it would close it.
        if self._response.isclosed() and self._connection.sock is not None:
            self._keep(self._connection)
        else:
            self.close()


def _ask(
    connection: http.client.HTTPConnection, target: str, headers: dict[str, str], remaining: Callable[[], float]
) -> _Response:
    _limit(connection.sock, remaining())
    connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    patient = partial(_Response, remaining=remaining)
    connection.response_class = patient  # type: ignore[assignment]  # it is only ever called
    return cast("_Response", connection.getresponse())


def _limit(sock: Any, seconds: float) -> None:
    """Bound the next wait; mostly it is bounded already, and to say so again is a system call."""
    seconds = min(READ_TIMEOUT, seconds)
    if sock.gettimeout() != seconds:
        sock.settimeout(seconds)


class _Response(http.client.HTTPResponse):
    """An answer that is read from a ``_Wire``."""

    def __init__(self, sock: socket.socket, *args: Any, remaining: Callable[[], float], **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.wire = _Wire(self.fp.detach(), sock, remaining)
        self.fp = BufferedReader(self.wire)


class _Wire(RawIOBase):
    """What comes from a socket; each wait is bounded anew, and the end is noted."""

    def __init__(self, raw: RawIOBase, sock: socket.socket, remaining: Callable[[], float]) -> None:
        self._raw = raw
        self._sock = sock
        self._remaining = remaining
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _limit(self._sock, self._remaining())
        size = self._raw.readinto(buffer)
        self.ended = not size
        return size

    def close(self) -> None:
        # The raw side counts as a user of the socket until it is closed.
        self._raw.close()
        super().close()


def _headers_of(response: _Response) -> dict[str, str]:
    """The headers by lower-case name; refuses what ``http.client`` lets pass although it cannot be believed."""
    if response.wire.ended:
        # A 404 of which no more came is no proof of absence.
        raise Failure(Kind.NETWORK, "the store closed the connection in the middle of a head")
    if response.status < 200:
        # Only "100 Continue" is skipped; after another of its kind the answer is still to come.
        raise Failure(Kind.MALFORMED, f"the answer has the status {response.status}")
    if any(isinstance(defect, _LOST_HEADERS) for defect in response.headers.defects):
        raise Failure(Kind.MALFORMED, "the answer has a line among its headers that is none")
    headers: dict[str, str] = {}
    # Looking each one up where they are costs as much as parsing them.
    for field, text in response.headers.raw_items():
        name, value = field.lower(), text.strip()
        if headers.setdefault(name, value) != value:
            headers[name] += f", {value}"
    if "," in headers.get("content-length", ""):
        raise Failure(Kind.MALFORMED, "the answer has two lengths")
    if "transfer-encoding" in headers and not response.chunked:
        raise Failure(Kind.MALFORMED, f"the answer has the transfer encoding {headers['transfer-encoding'][:40]!r}")
    return headers


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure(Kind.TIMEOUT, "the store stopped sending")
    if isinstance(error, (OSError, http.client.IncompleteRead)):
        return Failure(Kind.NETWORK, f"the connection broke ({type(error).__name__}: {error})")
    if isinstance(error, (ValueError, http.client.InvalidURL)):
        # An ETag from a listing with a line break, for instance: it must not become a header of its own.
        return Failure(Kind.REFUSED, f"this cannot be asked for over HTTP: {error}")
    return Failure(Kind.MALFORMED, f"the answer is not HTTP/1.1 ({type(error).__name__}: {str(error)[:60]})")
