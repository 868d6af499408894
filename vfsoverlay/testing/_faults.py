"""Faults: small values that say which requests go wrong, how, and how often."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from vfsoverlay.testing._errors import S3Error
from vfsoverlay.testing._message import Request
from vfsoverlay.testing._request_log import RequestPurpose

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from 3.11 on


class When(TypedDict, total=False):
    """Which requests a fault meets; what is left out matches any."""

    purpose: RequestPurpose
    key: str
    bucket: str
    skip: int
    """How many matching requests pass first (default 0)."""
    times: int | None
    """How many are met after that (default 1); None is all of them."""


class Fault(NamedTuple):
    """One way for requests to go wrong; made by one of the class methods, which all take ``When``'s keywords.

    >>> Fault.slow_down(times=2, purpose="get", key="data.csv")  # doctest: +ELLIPSIS
    Fault(kind='error', ...)
    """

    kind: str
    settings: dict[str, Any]
    purpose: RequestPurpose | None = None
    key: str | None = None
    bucket: str | None = None
    skip: int = 0
    times: int | None = 1

    @classmethod
    def error(
        cls,
        code: str,
        message: str = "",
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        **when: Unpack[When],
    ) -> Fault:
        """Answer with S3's error *code*; *message* and *status* are S3's own by default."""
        return cls("error", {"code": code, "message": message, "status": status, "headers": headers}, **when)

    @classmethod
    def slow_down(cls, *, retry_after: int | None = None, **when: Unpack[When]) -> Fault:
        """503 SlowDown, with ``Retry-After`` in seconds if given."""
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        return cls.error("SlowDown", headers=headers, **when)

    @classmethod
    def internal_error(cls, **when: Unpack[When]) -> Fault:
        """500 InternalError."""
        return cls.error("InternalError", **when)

    @classmethod
    def access_denied(cls, **when: Unpack[When]) -> Fault:
        """403 AccessDenied."""
        return cls.error("AccessDenied", **when)

    @classmethod
    def expired_token(cls, **when: Unpack[When]) -> Fault:
        """400 ExpiredToken."""
        return cls.error("ExpiredToken", **when)

    @classmethod
    def wrong_region(cls, region: str, **when: Unpack[When]) -> Fault:
        """301 PermanentRedirect to *region*."""
        return cls.error("PermanentRedirect", headers={"x-amz-bucket-region": region}, **when)

    @classmethod
    def reset(cls, *, after_headers: bool = False, **when: Unpack[When]) -> Fault:
        """Reset the connection instead of answering, or when the headers of the answer are out."""
        return cls("reset", {"reset": "headers" if after_headers else "before"}, **when)

    @classmethod
    def cut_body(cls, after: int, **when: Unpack[When]) -> Fault:
        """Close the connection when *after* bytes of the body are out."""
        return cls("cut", {"cut_after": after}, **when)

    @classmethod
    def stall(cls, seconds: float, *, after: int = 0, **when: Unpack[When]) -> Fault:
        """Send nothing for *seconds* when *after* bytes of the body are out; closing the server ends it."""
        return cls("stall", {"stall_after": after, "stall_seconds": seconds}, **when)

    @classmethod
    def hold(cls, gate: threading.Event, **when: Unpack[When]) -> Fault:
        """Do not answer until *gate* is set, which lets a test decide what happens meanwhile."""
        return cls("hold", {"gate": gate}, **when)

    @classmethod
    def wrong_content_range(cls, shift: int = 1, **when: Unpack[When]) -> Fault:
        """Answer a ranged GET with a ``Content-Range`` that lies *shift* bytes further on."""
        return cls("content-range", {"shift": shift}, **when)

    @classmethod
    def short_body(cls, missing: int = 1, **when: Unpack[When]) -> Fault:
        """Leave out the last *missing* bytes, with a ``Content-Length`` that agrees."""
        return cls("short", {"missing": missing}, **when)

    @classmethod
    def flip_bit(cls, at: int = 0, **when: Unpack[When]) -> Fault:
        """Flip the lowest bit of byte *at* of the body."""
        return cls("flip", {"at": at}, **when)

    @classmethod
    def ignore_if_match(cls, **when: Unpack[When]) -> Fault:
        """Answer as if the request had no ``If-Match``, as some S3-compatible servers do."""
        return cls("ignore", {"header": "if-match"}, **when)

    @classmethod
    def ignore_range(cls, **when: Unpack[When]) -> Fault:
        """Answer a ranged GET with the whole object and status 200."""
        return cls("ignore", {"header": "range"}, **when)

    @classmethod
    def replace_object(cls, body: bytes, **when: Unpack[When]) -> Fault:
        """Overwrite the object just before the request is answered (after the n-th one: ``skip=n``)."""
        return cls("replace", {"body": body}, **when)

    @classmethod
    def wrong_etag(cls, etag: str = "0" * 32, **when: Unpack[When]) -> Fault:
        """Answer with another ETag than the object has."""
        return cls("etag", {"etag": etag}, **when)

    @classmethod
    def no_etag(cls, **when: Unpack[When]) -> Fault:
        """Answer without an ETag."""
        return cls("etag", {"etag": ""}, **when)

    @classmethod
    def garbage_xml(cls, **when: Unpack[When]) -> Fault:
        """Answer 200 with a page of a proxy instead of S3's XML."""
        return cls("body", {"body": b"<html><body>Welcome to the hotel network<br></body></html>"}, **when)

    @classmethod
    def truncated_page(cls, **when: Unpack[When]) -> Fault:
        """Answer with the first half of the body only, with a ``Content-Length`` that agrees."""
        return cls("half", {}, **when)

    def meets(self, request: Request, purpose: RequestPurpose) -> bool:
        """Whether *request* matches, leaving numbers aside."""
        return (
            self.purpose in (None, purpose)
            and self.key in (None, request.key)
            and self.bucket in (None, request.bucket)
        )


class FaultPlan:
    """The faults of a server, in the order they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._seen: list[int] = []

    def add(self, *faults: Fault) -> None:
        """Plan *faults*; each counts the requests it meets from now on."""
        with self._lock:
            self._faults += faults
            self._seen += [0] * len(faults)

    def clear(self) -> None:
        """Drop all faults."""
        with self._lock:
            self._faults.clear()
            self._seen.clear()

    @property
    def pending(self) -> int:
        """How many limited faults have not been used up: a test can assert that its fault did happen."""
        with self._lock:
            return sum(
                fault.times is not None and seen < fault.skip + fault.times
                for fault, seen in zip(self._faults, self._seen, strict=True)
            )

    def take(self, request: Request, purpose: RequestPurpose) -> list[Fault]:
        """The faults that meet *request*; counts it."""
        if not self._faults:  # without a lock: the usual case costs nothing
            return []
        taken = []
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.meets(request, purpose):
                    nth = self._seen[place]
                    self._seen[place] += 1
                    if nth >= fault.skip and (fault.times is None or nth < fault.skip + fault.times):
                        taken.append(fault)
        return taken


def raise_error(faults: list[Fault]) -> None:
    """Raise the error that the first error fault asks for, if there is one."""
    for fault in faults:
        if fault.kind == "error":
            settings = fault.settings
            raise S3Error(settings["code"], settings["message"], status=settings["status"], headers=settings["headers"])
