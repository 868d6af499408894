"""The request log: what clients asked of the server, in order, and how often."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from vfsoverlay.testing._message import Request

#: What a request was for. "list" also covers versions and buckets; multipart uploads are "put".
RequestPurpose = Literal["list", "get", "head", "put", "delete", "other"]

Authorization = Literal["none", "header", "query"]


class RequestRecord:
    """One request and its answer; what concerns the answer is filled in just before it is sent."""

    __slots__ = (
        "authorization", "bucket", "bytes_sent", "headers", "key", "method", "purpose", "query", "status", "time",
    )  # fmt: skip

    def __init__(self, request: Request, purpose: RequestPurpose, time: float) -> None:
        self.time = time
        """Seconds since the epoch, when the request had arrived whole."""
        self.method = request.method
        self.bucket = request.bucket
        self.key = request.key
        """Empty for requests about a bucket or the service."""
        self.query = request.query
        self.headers = request.headers
        """Request headers by lower-case name."""
        self.purpose: RequestPurpose = purpose
        self.authorization: Authorization = (
            "header"
            if "authorization" in request.headers
            else "query"
            if "X-Amz-Signature" in request.query
            else "none"
        )
        self.status = 0
        """HTTP status of the answer; 0 before it, and when the connection was reset instead."""
        self.bytes_sent = 0
        """Bytes of the body; what was announced until it is sent, then what really went out."""

    def set_bytes_sent(self, count: int) -> None:
        """Correct ``bytes_sent``; called by the server when an answer was cut."""
        self.bytes_sent = count

    @property
    def range(self) -> str | None:
        """The ``Range`` header, such as ``bytes=0-99``."""
        return self.headers.get("range")

    @property
    def if_match(self) -> str | None:
        """The ``If-Match`` header, with its quotes."""
        return self.headers.get("if-match")

    def __repr__(self) -> str:
        what = f"{self.bucket}/{self.key}" if self.bucket else "/"
        return f"<{self.method} {what} {self.range or ''} -> {self.status}, {self.bytes_sent} bytes>"


class RequestLog:
    """The last *keep* requests of a server, oldest first; safe to read while it serves."""

    def __init__(self, keep: int) -> None:
        self._lock = threading.Condition(threading.Lock())
        self._waiters = 0
        self._records: deque[RequestRecord] = deque(maxlen=keep)
        self._total = 0

    def append(self, record: RequestRecord) -> None:
        """Add one; called by the server."""
        with self._lock:
            self._records.append(record)
            self._total += 1
            if self._waiters:  # telling nobody costs as much as the rest
                self._lock.notify_all()

    def wait_for(self, count: int, timeout: float = 10.0) -> None:
        """Wait until *count* requests have arrived since the last ``reset()``.

        Raises:
            TimeoutError: They have not after *timeout* seconds.
        """
        with self._lock:
            self._waiters += 1
            try:
                arrived = self._lock.wait_for(lambda: self._total >= count, timeout)
            finally:
                self._waiters -= 1
        if not arrived:
            msg = f"only {self._total} of {count} requests arrived in {timeout} s"
            raise TimeoutError(msg)

    def __len__(self) -> int:
        """How many requests came since the last ``reset()``, also those no longer kept."""
        return self._total

    @property
    def records(self) -> list[RequestRecord]:
        """A copy of what is kept."""
        with self._lock:
            return list(self._records)

    def since(self, mark: int) -> list[RequestRecord]:
        """The requests after the first *mark*; take the mark with ``len(server.requests)``."""
        with self._lock:
            new = self._total - mark
            return list(self._records)[-new:] if new > 0 else []

    def select(
        self,
        purpose: RequestPurpose | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        status: int | None = None,
    ) -> list[RequestRecord]:
        """The kept requests that match everything given."""
        return [
            record
            for record in self.records
            if (purpose is None or record.purpose == purpose)
            and (bucket is None or record.bucket == bucket)
            and (key is None or record.key == key)
            and (status is None or record.status == status)
        ]

    def count(
        self,
        purpose: RequestPurpose | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        status: int | None = None,
    ) -> int:
        """How many kept requests match everything given."""
        return len(self.select(purpose, bucket=bucket, key=key, status=status))

    def bytes_sent(self, purpose: RequestPurpose | None = None, *, key: str | None = None) -> int:
        """Bytes of the bodies of the kept requests that match."""
        return sum(record.bytes_sent for record in self.select(purpose, key=key))

    def reset(self) -> None:
        """Forget everything so far."""
        with self._lock:
            self._records.clear()
            self._total = 0


def purpose_of(request: Request) -> RequestPurpose:
    """What *request* is for, by its method and query."""
    method, query = request.method, request.query
    if method == "HEAD":
        return "head"
    if method == "DELETE" or (method == "POST" and "delete" in query):
        return "delete"
    if method in ("PUT", "POST"):
        return "put"
    if request.key:
        return "get"
    return "other" if query.keys() & {"location", "versioning", "uploads", "session"} else "list"
