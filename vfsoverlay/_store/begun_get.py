"""A GET of a whole object that was sent without a wait, and whose answer is taken as it comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from vfsoverlay._metrics import Metrics
from vfsoverlay._store.attempts import Attempts
from vfsoverlay._store.protocol import Sink
from vfsoverlay._store.range_read import RangeRead
from vfsoverlay._store.s3_client import Sent


class BegunGet:
    """One read on its way; see ``vfsoverlay._store.protocol.Begun``.

    Args:
        read: All of an object; nothing of it was delivered.
        sent: Its first request.
        attempts: Counts that one already.
        metrics: Where bytes are counted.
        telling: Turns a ``Failure`` in its block into the exception that the caller gets.
    """

    __slots__ = ("_attempts", "_metrics", "_read", "_sent", "_telling")

    def __init__(
        self,
        read: RangeRead,
        sent: Sent,
        attempts: Attempts,
        metrics: Metrics,
        telling: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._read = read
        self._sent = sent
        self._attempts = attempts
        self._metrics = metrics
        self._telling = telling

    def fileno(self) -> int:
        """Of the socket."""
        return self._sent.exchange.fileno()

    def take(self) -> bool:
        """Take what has come, without a wait. True: there is nothing more to wait for."""
        return self._sent.exchange.take()

    def content(self) -> bytes | None:
        """All of the object, if the answer is complete and right; its connection is another's then."""
        content = self._read.whole(self._sent.exchange)
        if content is not None:
            self._metrics.add(f"bytes.{self._read.purpose}", len(content))
        return content

    def finish(self, sink: Sink) -> None:
        """Wait for the rest, and try again what can be tried again; as ``ObjectStore.read_range``."""
        self._attempts.sink = sink
        with self._telling():
            self._read.run(sink, self._attempts, self._metrics, self._sent)

    def close(self) -> None:
        """Give up the answer, and the connection with it."""
        self._sent.exchange.close()
