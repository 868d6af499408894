"""An answer of HTTP/1.1 as llhttp finds it in the bytes of a connection: its head, and what came of its body."""

from __future__ import annotations

from typing import Final

import httptools

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

#: A head beyond this is no answer of S3, whose metadata ends at 8 KiB.
_LONGEST_HEAD: Final = 64 * 1024


class AnswerParser:
    """Takes the bytes of one answer; interim ones (100 to 199) before it are passed over.

    The methods ``on_...`` are httptools' names: it calls them while it is fed.
    """

    __slots__ = ("_fed", "_parser", "body", "complete", "headers", "keeps", "status")

    def __init__(self) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.headers: dict[str, str] = {}
        """By lower-case name; repeated ones are joined."""
        self.body: list[bytes] = []
        """What was fed of the body, and not taken from here yet."""
        self.complete = False
        """Whether the last byte of the body was fed."""
        self.keeps = False
        """Whether the connection may be used again, once the answer is complete."""
        self._fed = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what came next; raises ``Failure`` where it is not HTTP, or not to be believed."""
        if not self.status:
            if self._fed >= _LONGEST_HEAD:
                raise Failure(Kind.MALFORMED, f"the head of the answer is longer than {_LONGEST_HEAD} bytes")
            self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                told = f"the answer is not HTTP/1.1 ({type(error).__name__}: {str(error)[:60]})"
                raise Failure(Kind.MALFORMED, told) from error
            self.keeps = False

    def length(self) -> int | None:
        """Bytes of the body as announced; None: it tells its end itself, or ends with the connection."""
        if "transfer-encoding" in self.headers:
            return None
        told = self.headers.get("content-length")
        return None if told is None else int(told)

    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection is the end of the body."""
        return not self.headers.keys() & {"transfer-encoding", "content-length"}

    # ------------------------------------------------------------------------- called by httptools

    def on_message_begin(self) -> None:
        """Where an answer is complete, something follows it: the next one on this connection would not be ours."""
        if self.complete:
            self.keeps = False

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """One header, or behind the body a trailer, which says nothing that we ask."""
        if self.status:
            return
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        if self.headers.setdefault(name, value) != value:
            self.headers[name] += f", {value}"

    def on_headers_complete(self) -> None:
        """The end of a head."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
            return
        self.status = status
        self.keeps = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A piece of the body, without its framing."""
        if not self.complete:
            self.body.append(data)

    def on_message_complete(self) -> None:
        """The end of an answer, also of an interim one."""
        if self.status:
            self.complete = True
