"""One range of one version, carried from the store to a sink through all interruptions."""

from __future__ import annotations

from typing import Final

from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.answer_checks import Body, check_answer
from vfsoverlay._store.attempts import Attempts
from vfsoverlay._store.checksums import Checksum, checksum_of
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.exchange import Exchange
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.protocol import Sink
from vfsoverlay._store.s3_client import Request, S3Client, Sent

#: Bytes handed over at once; measured: smaller pieces cost more system calls, larger ones leave the processor's cache.
PIECE: Final = 256 * 1024
#: Below this a buffer of its own is cheaper than a large one kept for every reader.
_SMALL: Final = 64 * 1024

GET_OBJECT: Final = "s3:GetObject"


class Buffers:
    """Buffers that the next reader uses again; there are as many as there were readers at once."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def take(self, size: int) -> memoryview:
        """A buffer for pieces of a body of *size* bytes."""
        if size <= _SMALL:
            return memoryview(bytearray(size))
        try:
            return self._free.pop()
        except IndexError:
            return memoryview(bytearray(PIECE))

    def give_back(self, buffer: memoryview) -> None:
        """Offer *buffer* to the next reader."""
        if len(buffer) == PIECE:
            self._free.append(buffer)


class RangeRead:
    """Bytes *start* to *stop* of *info*, on their way to a sink."""

    def __init__(
        self, client: S3Client, buffers: Buffers, info: ObjectInfo, start: int, stop: int, purpose: Purpose
    ) -> None:
        self._client = client
        self._buffers = buffers
        self._info = info
        self._position = start
        self._stop = stop
        self.purpose = purpose
        self._whole = start == 0 and stop == info.size
        self._sse_headers = client.session.settings.sse_headers

    def run(self, sink: Sink, attempts: Attempts, metrics: Metrics, sent: Sent | None = None) -> None:
        """Deliver everything, resuming behind the last byte delivered; raises ``Failure``, or what the sink raises.

        *sent* is this read's ``request``, if that is on its way already.
        """
        while self._position < self._stop:
            before = self._position
            try:
                first, sent = sent, None
                with self._client.open(self.request(), attempts, first) as answer:
                    self._deliver(answer, sink, attempts)
            except Failure as failure:
                if not self._needs_no_customer_key(failure):
                    attempts.again(failure)
            finally:
                metrics.add(f"bytes.{self.purpose}", self._position - before)

    def _needs_no_customer_key(self, failure: Failure) -> bool:
        """Whether the object is not encrypted by the customer's key, which S3 then refuses to be given."""
        if not self._sse_headers or failure.kind is not Kind.ENCRYPTION or "not applicable" not in failure.detail:
            return False
        self._sse_headers = {}
        return True

    def request(self) -> Request:
        """What asks for the bytes that were not delivered yet."""
        info = self._info
        headers = dict(self._sse_headers)
        if info.etag:
            headers["if-match"] = f'"{info.etag}"'
        if self._whole and self._position == 0:
            # Without a Range the answer may carry the checksum of the whole object.
            headers["x-amz-checksum-mode"] = "ENABLED"
        else:
            headers["range"] = f"bytes={self._position}-{self._stop - 1}"
        query = [("versionId", info.version_id)] if info.version_id else []
        return Request(GET_OBJECT, self.purpose, info.key, query, headers)

    def whole(self, answer: Exchange) -> bytes | None:
        """The object, from the answer to a first ``request`` of all of it; None where it is another, or not all.

        Then nothing was taken from it, and ``run`` goes on from there and finds out what is the matter.
        """
        if not answer.is_complete:
            return None
        try:
            get = answer.head().headers.get
            if answer.status not in (200, 206):
                return None
            if check_answer(answer.status, get, self._info, 0, self._stop) != (0, self._stop):
                return None
        except Failure:
            return None
        content, checksum = answer.peek(), checksum_of(get)
        if checksum is not None:
            checksum.update(memoryview(content))
        if len(content) != self._stop or (checksum is not None and not checksum.matches()):
            return None
        answer.done()
        return content

    def _deliver(self, answer: Exchange, sink: Sink, attempts: Attempts) -> None:
        start = self._position
        body = check_answer(answer.status, answer.headers.get, self._info, start, self._stop)
        whole = self._whole and start == 0 and body.length == self._stop
        checksum = checksum_of(answer.headers.get) if whole else None
        buffer = self._buffers.take(max(body.length, body.skip))
        try:
            _skip(answer, body, buffer, attempts)
            self._pump(answer, start + body.length, buffer, checksum, sink, attempts)
        finally:
            self._buffers.give_back(buffer)

    def _pump(
        self, answer: Exchange, stop: int, buffer: memoryview, checksum: Checksum | None, sink: Sink, attempts: Attempts
    ) -> None:
        while self._position < stop:
            room = buffer[: stop - self._position]
            size = _fill(answer, room, attempts)
            while checksum is not None and size < len(room):
                # In as few pieces as there can be: one that is all of a damaged object can be asked for again.
                size += _fill(answer, room[size:], attempts)
            piece = room[:size]
            if checksum is not None:
                checksum.update(piece)
                # The last piece is held back until all is known to be right: a damaged object is never complete.
                if self._position + size == stop and not checksum.matches():
                    raise self._damaged(checksum)
            if self._position + size == stop and "content-length" not in answer.headers:
                self._check_end(answer, stop)
            sink(piece)
            self._position += size

    def _check_end(self, answer: Exchange, stop: int) -> None:
        """An answer that did not say how long it is must end where it should: with the range, or with the object."""
        if ("content-range" in answer.headers or stop == self._info.size) and answer.readinto(memoryview(bytearray(1))):
            raise Failure(Kind.CORRUPT, "the answer goes on behind the bytes that were asked for")

    def _damaged(self, checksum: Checksum) -> Failure:
        told = f"the bytes that came do not have the {checksum.name} checksum the store sent with them"
        # What the sink has taken cannot be taken back; only an object of one piece may be asked for again.
        return Failure(Kind.CORRUPT if self._position == 0 else Kind.DAMAGED, told)


def _fill(answer: Exchange, buffer: memoryview, attempts: Attempts) -> int:
    size = answer.readinto(buffer)
    if not size:
        raise Failure(Kind.NETWORK, "the body ended before its announced length")
    attempts.arrived(size)
    return size


def _skip(answer: Exchange, body: Body, buffer: memoryview, attempts: Attempts) -> None:
    left = body.skip
    while left:
        left -= _fill(answer, buffer[:left], attempts)
