"""One HTTP request as it came and one answer as it will be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote

#: Answers up to this size leave in one piece with their headers: one system call and one packet train.
JOIN_BELOW: Final = 64 * 1024


class Body(Protocol):
    """Bytes that an answer takes from somewhere, piece by piece."""

    def __len__(self) -> int:
        """How many bytes it will give."""

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Some bytes from *start* on, at least one and at most to *stop*."""

    def send_to(self, descriptor: int, start: int, stop: int) -> int:
        """Let the kernel copy some of the bytes to the socket *descriptor*; how many, or -1 if it cannot."""

    def close(self) -> None:
        """Give the source back."""


class MemoryBody:
    """A range of bytes in memory."""

    __slots__ = ("_view",)

    def __init__(self, data: bytes | bytearray | memoryview, start: int = 0, stop: int | None = None) -> None:
        self._view = memoryview(data)[start:stop]

    def __len__(self) -> int:
        return len(self._view)

    def read(self, start: int, stop: int) -> memoryview:
        """See ``Body``."""
        return self._view[start:stop]

    def send_to(self, descriptor: int, start: int, stop: int) -> int:  # noqa: ARG002 - as Body has it
        """See ``Body``; memory needs no help of the kernel."""
        return -1

    def close(self) -> None:
        """See ``Body``."""


class Delivery(NamedTuple):
    """How an answer goes over the wire; the default is at once and whole."""

    bandwidth: float = 0.0
    """Bytes a second; 0 is no limit."""
    reset: str = ""
    """Reset the connection "before" the answer, or after its "headers"."""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    stall_after: int | None = None
    """Send nothing for ``stall_seconds`` after so many bytes of the body."""
    stall_seconds: float = 0.0


AT_ONCE: Final = Delivery()


def _ignore(count: int) -> None:
    """Nobody wants to know how much was sent."""


class Response:
    """Status, headers and body of one answer."""

    __slots__ = ("body", "delivery", "headers", "length", "note_sent", "status")

    def __init__(
        self, status: int, headers: dict[str, str], body: bytes | Body = b"", *, length: int | None = None
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.length = len(body) if length is None else length
        """The ``Content-Length``, which an answer to HEAD has without a body."""
        self.delivery = AT_ONCE
        self.note_sent: Callable[[int], object] = _ignore
        """Called with the bytes of the body that went out, where they are fewer than announced."""

    def close(self) -> None:
        """Give the body's source back."""
        if not isinstance(self.body, bytes):
            self.body.close()


class Request:
    """One request; ``bucket`` and ``key`` are set by the server once it knows the style of address."""

    __slots__ = ("body", "bucket", "headers", "key", "method", "path", "query", "query_text", "virtual_host")

    def __init__(self, method: str, target: str, headers: dict[str, str]) -> None:
        self.method = method
        if target.startswith(("http://", "https://")):  # a client that takes this server for its proxy
            target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
        self.path, _, self.query_text = target.partition("?")
        """Path and query as sent, still percent-encoded: signatures cover this spelling."""
        self.query = dict(parse_qsl(self.query_text, keep_blank_values=True)) if self.query_text else {}
        self.headers = headers
        """By lower-case name."""
        self.body: bytes | bytearray = b""
        self.bucket = ""
        self.key = ""
        self.virtual_host = False

    def address(self, bucket_of_host: str) -> None:
        """Find bucket and key in the path, or the key alone where the host names the bucket."""
        path = unquote(self.path[1:])
        if bucket_of_host:
            self.bucket, self.key, self.virtual_host = bucket_of_host, path, True
        else:
            self.bucket, _, self.key = path.partition("/")
