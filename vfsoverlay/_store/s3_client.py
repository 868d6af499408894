"""One request to S3 and its answer: signed, sent, redirected, signed again where that helps, retried."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlencode

from vfsoverlay._store.attempts import Attempts, Clock
from vfsoverlay._store.connections import Connections
from vfsoverlay._store.errno_map import Failure, to_error, to_mount_error
from vfsoverlay._store.exchange import Exchange
from vfsoverlay._store.kinds import Kind, kind_of
from vfsoverlay._store.list_strict import parse_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfsoverlay._metrics import Metrics, Purpose
    from vfsoverlay._store.addressing import Endpoint
    from vfsoverlay._store.protocol import Sink
    from vfsoverlay._store.s3_session import S3Session
    from vfsoverlay._store.s3_settings import Keys

LOG: Final = logging.getLogger("vfsoverlay")

#: Refusals that an unsigned request for public data would not meet.
_CURED_BY_ANONYMITY: Final = (Kind.DENIED, Kind.EXPIRED, Kind.INVALID_CREDENTIALS, Kind.CLOCK_SKEW)


class Request(NamedTuple):
    """What is asked of the bucket; always a GET."""

    action: str
    """IAM action, as messages name it."""
    purpose: Purpose
    key: str
    """Empty for a listing."""
    query: list[tuple[str, str]]
    headers: dict[str, str]


class Sent(NamedTuple):
    """A request on its way: the exchange, where it went and who signed it."""

    exchange: Exchange
    endpoint: Endpoint
    keys: Keys | None


class S3Client:
    """Sends requests for one bucket; safe to use from many threads."""

    def __init__(self, session: S3Session, metrics: Metrics, *, deadline: float, clock: Clock | None = None) -> None:
        self.session = session
        self.proved = False
        """Whether a listing has worked: before that, failures mean that the mount cannot be made."""
        self._metrics = metrics
        self._deadline = deadline
        self._clock = clock or Clock()
        self._connections: dict[str, Connections] = {}
        self._lock = threading.Lock()
        self._unsigned_lock = threading.Lock()
        # Actions that are sent unsigned, and those for which that was tried.
        self._unsigned: set[str] = set()
        self._tried_unsigned: set[str] = set()

    def attempts(self, *, listing: bool, sink: Sink | None = None) -> Attempts:
        """A new count for one operation, for *sink*; the first *listing* makes or breaks the mount."""
        mounting = listing and not self.proved
        return Attempts(self._deadline, self._clock, self._metrics, mounting=mounting, sink=sink)

    @contextmanager
    def telling(self, action: str, name: str, attempts: Attempts) -> Iterator[None]:
        """Turn a ``Failure`` in the block into the exception that the caller gets."""
        try:
            yield
        except Failure as failure:
            told = to_mount_error if attempts.mounting else to_error
            raise told(failure, action, name, attempts.count) from failure

    def open(self, request: Request, attempts: Attempts, sent: Sent | None = None) -> Exchange:
        """The answer (200 or 206) to *request*; raises ``Failure`` when no further attempt makes sense.

        *sent* is the first attempt, if ``begin`` has made it.
        """
        while True:
            endpoint = keys = None
            try:
                if sent is not None:
                    (exchange, endpoint, keys), sent = sent, None
                    if _has_answer(exchange):
                        return _accepted(exchange, request, signed=keys is not None)
                else:
                    attempts.count += 1
                endpoint, keys = self.session.endpoint(), self._keys(request)
                return self._send(request, attempts, endpoint, keys)
            except Failure as failure:
                if not self._cured(failure, request, attempts, endpoint, keys):
                    attempts.again(failure)

    def begin(self, request: Request, attempts: Attempts) -> Sent | None:
        """Make the first attempt without waiting for its answer; None: only ``open`` can, which may have to wait."""
        try:
            endpoint, keys = self.session.endpoint(), self._keys(request)
            target, headers = self._compose(request, endpoint, keys)
            exchange = self._connections_to(endpoint.url).begin(target, headers, attempts.remaining)
        except Failure:
            # Met again by open(), which knows what follows from it.
            return None
        if exchange is None:
            return None
        attempts.count += 1
        self._metrics.add(f"requests.{request.purpose}")
        return Sent(exchange, endpoint, keys)

    def _keys(self, request: Request) -> Keys | None:
        if request.action in self._unsigned:
            return None
        keys = self.session.credentials.keys()
        if keys is None and self.session.settings.anon is False:
            raise Failure(Kind.NO_CREDENTIALS, "anon=False was given and no AWS credentials were found")
        return keys

    def _send(self, request: Request, attempts: Attempts, endpoint: Endpoint, keys: Keys | None) -> Exchange:
        target, headers = self._compose(request, endpoint, keys)
        self._metrics.add(f"requests.{request.purpose}")
        exchange = self._connections_to(endpoint.url).get(target, headers, attempts.remaining)
        return _accepted(exchange, request, signed=keys is not None)

    def _compose(self, request: Request, endpoint: Endpoint, keys: Keys | None) -> tuple[str, dict[str, str]]:
        """Path with query, and headers; only what no proxy changes is signed: the Host and those of S3's own."""
        path = endpoint.path + quote(request.key, safe="/~", errors="surrogateescape")
        target = path if request.key else endpoint.path.rstrip("/") or "/"
        if request.query:
            # Surrogates stand for bytes that are not UTF-8.
            target += "?" + urlencode(request.query, quote_via=quote, safe="~", errors="surrogateescape")
        plain = {"accept-encoding": "identity", "user-agent": "vfsoverlay"}
        s3 = {"host": endpoint.host}
        for name, value in request.headers.items():
            (s3 if name.startswith("x-amz-") else plain)[name] = value
        if keys is not None:
            if self.session.settings.requester_pays:
                s3["x-amz-request-payer"] = "requester"
            s3 = self.session.signed(endpoint.url + target, s3, keys)
        return target, {**s3, **plain}

    def _connections_to(self, url: str) -> Connections:
        with self._lock:
            found = self._connections.get(url)
            if found is None:
                verify = self.session.ca_bundle() if url.startswith("https:") else None
                found = self._connections[url] = Connections(url, verify=verify)
        return found

    # ---------------------------------------------------------------------------------------- cures

    def _cured(
        self, failure: Failure, request: Request, attempts: Attempts, endpoint: Endpoint | None, keys: Keys | None
    ) -> bool:
        """Whether the cause is gone (other threads may have seen to that), so that the request may go again at once."""
        if endpoint is None:
            return False
        # What comes back after its cure would come back after each.
        is_new = failure.kind not in attempts.cured
        attempts.cured.add(failure.kind)
        if failure.kind is Kind.WRONG_REGION:
            return is_new and self.session.follow(failure.region, endpoint)
        if keys is None:
            never_signed = request.action not in self._unsigned
            return failure.kind is Kind.DENIED_UNSIGNED and never_signed and self.session.credentials.appeared()
        if failure.kind is Kind.EXPIRED and is_new and self.session.renew(keys, endpoint):
            return True
        return failure.kind in _CURED_BY_ANONYMITY and self._is_public(request, failure)

    def _is_public(self, request: Request, refusal: Failure) -> bool:
        """Whether *request*, refused when it was signed, is answered unsigned; then its action stays unsigned."""
        settings, action = self.session.settings, request.action
        # SSE-C needs a signature.
        if settings.anon is not None or request.headers.keys() & settings.sse_headers.keys():
            return False
        with self._unsigned_lock:
            # Threads whose requests were refused together wait here, and profit from the first one's attempt.
            if action not in self._tried_unsigned:
                self._tried_unsigned.add(action)
                self._try_unsigned(request, refusal)
            return action in self._unsigned

    def _try_unsigned(self, request: Request, refusal: Failure) -> None:
        try:
            exchange = self._send(request, self.attempts(listing=True), self.session.endpoint(), None)
        except Failure:
            return  # the refusal is the one to tell
        exchange.close()
        self._unsigned.add(request.action)
        LOG.warning(
            "%s on s3://%s: the credentials found were refused (%s), and the data is public: going on unsigned; "
            "anon=True saves the attempt, anon=False forbids this",
            request.action, self.session.bucket, refusal.code or refusal.status,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------- rest

    def after_fork(self) -> None:
        """Leave connections, locks and credentials to the parent."""
        self._lock = threading.Lock()
        self._unsigned_lock = threading.Lock()
        for connections in self._connections.values():
            connections.after_fork()
        self.session.after_fork()

    def close(self) -> None:
        """Close idle connections."""
        for connections in self._connections.values():
            connections.close()


def _has_answer(exchange: Exchange) -> bool:
    """Wait for the head of an answer; False where the server had closed the idle connection before it was asked."""
    try:
        exchange.head()
    except Failure as failure:
        # As of any idle connection: that is no failure of the request.
        if failure.kind is not Kind.NETWORK:
            raise
        return False
    return True


def _accepted(exchange: Exchange, request: Request, *, signed: bool) -> Exchange:
    """*exchange*, if its answer is what was asked for."""
    if exchange.status in (200, 206):
        return exchange
    with exchange:
        body = exchange.read()
    raise _failure_of(exchange, body, request, signed=signed)


def _failure_of(answer: Exchange, body: bytes, request: Request, *, signed: bool) -> Failure:
    get = answer.headers.get
    fields = parse_error(body)
    code, message = fields.get("Code", ""), fields.get("Message", "")
    kind = kind_of(answer.status, code, message, has_body=bool(body))
    if kind is Kind.MISSING_KEY and not request.key:
        kind = Kind.MISSING_BUCKET
    if kind is Kind.DENIED and not signed:
        kind = Kind.DENIED_UNSIGNED
    # S3 refuses another customer's key in the words of any refusal.
    is_of_key = kind is Kind.DENIED and any("customer-key" in name for name in request.headers)
    return Failure(
        kind,
        message or "no reason given",
        status=answer.status,
        code=code,
        request_id=get("x-amz-request-id") or fields.get("RequestId", ""),
        retry_after=retry_after(get("retry-after")),
        region=(get("x-amz-bucket-region") or fields.get("Region", "")) if kind is Kind.WRONG_REGION else "",
        next_step="allow the action, and check that sse_customer_key is the key of this object" if is_of_key else "",
    )


def retry_after(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3); None if it says nothing."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
