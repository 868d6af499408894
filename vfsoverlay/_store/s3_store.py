"""A bucket of S3 as an ``ObjectStore``: its pages and its ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, TypeVar

from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.attempts import Attempts, Clock
from vfsoverlay._store.begun_get import BegunGet
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.head_row import FIRST_BYTE, head_row
from vfsoverlay._store.kinds import Kind, kind_of
from vfsoverlay._store.list_answer import ListAnswer, MalformedListing, VersionsAnswer, parse_date
from vfsoverlay._store.list_parser import parse_list
from vfsoverlay._store.list_strict import parse_error, parse_versions
from vfsoverlay._store.listing_course import ListingCourse, Place
from vfsoverlay._store.protocol import ObjectRow, Page, Sink
from vfsoverlay._store.range_read import GET_OBJECT, Buffers, RangeRead
from vfsoverlay._store.s3_client import Request, S3Client
from vfsoverlay._store.s3_session import S3Session
from vfsoverlay._store.s3_settings import S3Settings
from vfsoverlay._store.versions import following_versions, pages_at

_LIST: Final = "s3:ListBucket"
_LIST_VERSIONS: Final = "s3:ListBucketVersions"
_Answer = TypeVar("_Answer", ListAnswer, VersionsAnswer)


class S3Store:
    """One bucket, read-only; safe to use from many threads.

    Args:
        bucket: Bucket name or access point ARN.
        settings: How it is reached and who asks.
        metrics: Where requests, bytes and retries are counted.
        deadline: Seconds one operation may go without progress.
        version_at: ISO 8601 time: the bucket as it was then. None: as it is.
        session: botocore's side; default: a new one. A seam for tests, like *clock*.
        clock: Time, sleep and chance.

    Raises ``CannotAccessSource`` where botocore can already tell that it will not work. Nothing is
    sent before the first listing or read.
    """

    def __init__(
        self,
        bucket: str,
        settings: S3Settings,
        metrics: Metrics,
        *,
        deadline: float = 120.0,
        version_at: str | None = None,
        session: S3Session | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._bucket = bucket
        self._metrics = metrics
        self._session = session or S3Session(bucket, settings)
        self._client = S3Client(self._session, metrics, deadline=deadline, clock=clock)
        self._at = None if version_at is None else parse_date(version_at)
        self._buffers = Buffers()
        with self._client.telling(_LIST, f"s3://{bucket}/", self._client.attempts(listing=True)):
            self._origin = _origin(self._session)

    @property
    def origin(self) -> str:
        """Endpoint and bucket: what makes equal keys of two stores different objects."""
        return self._origin

    @property
    def is_ordered(self) -> bool:
        """False for directory buckets (S3 API reference, "ListObjectsV2")."""
        return not self._session.is_directory_bucket

    def check_access(self, prefix: str) -> None:
        """Prove that *prefix* can be listed; no request if a listing has worked before.

        The first page of ``list_pages`` proves as much, so a mount that lists needs no check.
        """
        if not self._client.proved:
            next(self.list_pages(prefix, page_size=1), None)

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """Pages of all keys that begin with *prefix* and follow *start_after*.

        Until a first listing has worked, failures are ``CannotAccessSource``; later they are the
        errors of ``ReadError`` and plain OSErrors.
        """
        query = [("prefix", prefix), ("max-keys", str(page_size)), ("encoding-type", "url")]
        if delimiter:
            query.append(("delimiter", delimiter))
        if self._at is not None:
            return self._pages_at(prefix, query, start_after, self._at)
        return self._pages_now(prefix, query, start_after)

    def head(self, key: str) -> ObjectRow:
        """What a listing would say of *key*, from a GET of its first byte: S3 does not say why it refuses a HEAD."""
        attempts = self._client.attempts(listing=False)
        with self._client.telling(GET_OBJECT, f"s3://{self._bucket}/{key}", attempts):
            try:
                return self._head(key, FIRST_BYTE, attempts)
            except Failure as failure:
                if failure.status != 416:
                    raise
                return self._head(key, {}, attempts)

    def _head(self, key: str, headers: dict[str, str], attempts: Attempts) -> ObjectRow:
        headers = {**self._session.settings.sse_headers, **headers}
        with self._client.open(Request(GET_OBJECT, "list", key, [], headers), attempts) as answer:
            answer.read()
            return head_row(key, answer.headers.get)

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """Give bytes *start* to *stop* of this very version to *sink*, once each and in order.

        One GET when nothing goes wrong, never a HEAD. See ``ObjectStore.read_range``.
        """
        attempts = self._client.attempts(listing=False, sink=sink)
        with self._client.telling(GET_OBJECT, f"s3://{self._bucket}/{info.key}", attempts):
            read = RangeRead(self._client, self._buffers, info, start, stop, purpose)
            read.run(sink, attempts, self._metrics)

    def begin(self, info: ObjectInfo, purpose: Purpose) -> BegunGet | None:
        """Ask for all of *info* and do not wait for the answer; None: there is no idle connection for it."""
        attempts = self._client.attempts(listing=False)
        read = RangeRead(self._client, self._buffers, info, 0, info.size, purpose)
        sent = self._client.begin(read.request(), attempts)
        if sent is None:
            return None
        name = f"s3://{self._bucket}/{info.key}"
        return BegunGet(read, sent, attempts, self._metrics, partial(self._client.telling, GET_OBJECT, name, attempts))

    def after_fork(self) -> None:
        """Drop connections, locks and credentials of the parent; called in the child."""
        self._client.after_fork()

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    # ------------------------------------------------------------------------------------- listings

    def _pages_now(self, prefix: str, query: Place, start_after: str) -> Iterator[Page]:
        query = [("list-type", "2"), *query]
        where = [("start-after", start_after)] if start_after and not self._session.is_directory_bucket else []
        course = ListingCourse()
        while True:
            answer = self._page(_LIST, prefix, [*query, *where], parse_list)
            # A server that knows only the first version of the listing begins at the beginning.
            rows = [row for row in answer.rows if row[0] > start_after] if start_after else answer.rows
            yield Page(rows, answer.prefixes)
            if not answer.truncated:
                return
            where = _following(answer)
            with self._telling_end(prefix):
                course.goes_on(_beginning(answer.rows[:1], answer.prefixes), where)

    def _telling_end(self, prefix: str) -> AbstractContextManager[None]:
        """Turns the ``Failure`` of a listing of *prefix* that has no end into an exception."""
        return self._client.telling(_LIST, f"s3://{self._bucket}/{prefix}", self._client.attempts(listing=True))

    def _pages_at(self, prefix: str, query: Place, start_after: str, at: int) -> Iterator[Page]:
        course = ListingCourse()

        def page(markers: Place) -> VersionsAnswer:
            answer = self._page(_LIST_VERSIONS, prefix, [("versions", ""), *query, *markers], parse_versions)
            if answer.truncated:
                with self._telling_end(prefix):
                    rows = [version.row for version in answer.versions[:1]]
                    course.goes_on(_beginning(rows, answer.prefixes), following_versions(answer))
            return answer

        return pages_at(page, at, start_after)

    def _page(
        self,
        action: str,
        prefix: str,
        query: list[tuple[str, str]],
        parse: Callable[[bytes], _Answer],
    ) -> _Answer:
        # A restored object says so only when asked; servers without archives ignore the header.
        headers = {} if self._session.is_directory_bucket else {"x-amz-optional-object-attributes": "RestoreStatus"}
        request = Request(action, "list", "", query, headers)
        attempts = self._client.attempts(listing=True)
        with self._client.telling(action, f"s3://{self._bucket}/{prefix}", attempts):
            while (answer := self._try_page(request, attempts, parse, prefix)) is None:
                pass
        self._client.proved = True
        return answer

    def _try_page(
        self, request: Request, attempts: Attempts, parse: Callable[[bytes], _Answer], prefix: str
    ) -> _Answer | None:
        try:
            return self._parsed(request, attempts, parse, prefix)
        except Failure as failure:
            attempts.again(failure)
            return None

    def _parsed(self, request: Request, attempts: Attempts, parse: Callable[[bytes], _Answer], prefix: str) -> _Answer:
        with self._client.open(request, attempts) as page:
            body = page.read()
        self._metrics.add("bytes.list", len(body))
        try:
            answer = parse(body)
        except MalformedListing as error:
            fields = parse_error(body)
            # An error in the middle of a 200 is how S3 tells one that it met late.
            code, message = fields.get("Code", ""), fields.get("Message", str(error))
            kind = kind_of(500, code, message, has_body=True) if code else Kind.MALFORMED
            raise Failure(kind, message, code=code) from error
        if not _all_below(answer, prefix):
            raise Failure(Kind.MALFORMED, "the listing has keys outside the prefix that was asked for")
        return answer


def _following(answer: ListAnswer) -> Place:
    """Where the page behind *answer* begins."""
    if answer.token:
        return [("continuation-token", answer.token)]
    last = max([answer.rows[-1][0] if answer.rows else "", *answer.prefixes[-1:]])
    # A server that knows only the first version of the listing gives no token and wants a marker.
    return [("start-after", last), ("marker", last)]


def _beginning(rows: list[ObjectRow], prefixes: list[str]) -> tuple[str, str] | None:
    """What a page begins with: a key and its version, or a common prefix; None for an empty one."""
    if rows:
        return rows[0][0], rows[0][5]
    return (prefixes[0], "") if prefixes else None


def _all_below(answer: ListAnswer | VersionsAnswer, prefix: str) -> bool:
    if not prefix:
        return True
    rows = answer.rows if isinstance(answer, ListAnswer) else [version.row for version in answer.versions]
    keys = [row[0] for row in rows]
    # What is between two texts that begin alike begins so as well.
    return not keys or (min(keys).startswith(prefix) and max(keys).startswith(prefix))


def _origin(session: S3Session) -> str:
    endpoint = session.endpoint()
    host = endpoint.host
    for suffix in ("amazonaws.com", "amazonaws.com.cn"):
        if host.endswith(suffix):
            # One bucket name is one bucket in a partition, whichever of its hosts answers.
            return f"s3://{session.bucket}@{suffix}"
    return f"{endpoint.url}/{session.bucket}"
