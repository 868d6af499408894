"""Signatures of many small GETs: botocore's Signature Version 4, less what it does anew for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth

#: botocore's name for what ``Signer`` does.
SIGNED_BY_SIGNER: Final = "s3v4"


class GetRequest:
    """A GET as botocore's signers see one; ``AWSRequest`` takes a third of the time of a signature to be made."""

    __slots__ = ("body", "context", "data", "headers", "method", "params", "to_sign", "url")

    def __init__(self, url: str, headers: dict[str, str], context: dict[str, Any]) -> None:
        self.method = "GET"
        self.url = url
        self.headers = headers
        """The Host included; the signer adds its own."""
        self.to_sign: _SignedHeaders | None = None
        """The headers in canonical order, once they are complete."""
        self.context = context
        self.params: dict[str, str] = {}
        self.data = self.body = b""


class _SignedHeaders(dict[str, str]):
    """Headers by lower-case name and in its order, as the canonical form asks for them."""

    def get_all(self, name: str) -> tuple[str, ...]:
        """All values of *name*, of which a dict has one."""
        return (self[name],)


class Signer(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer of S3, for one set of credentials; safe to use from many threads.

    It signs all headers that it is given, and derives the signing key once a day.
    """

    def __init__(
        self, credentials: Any, service_name: str, region_name: str, *, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(credentials, service_name, region_name)
        self._now = now
        # One tuple, so that no thread sees the key of another day.
        self._derived = ("", b"")

    def signs_for(self, credentials: Any, service_name: str, region_name: str) -> bool:
        """Whether it is the signer of these."""
        mine = (self.credentials, self._service_name, self._region_name)
        return mine == (credentials, service_name, region_name)

    def add_auth(self, request: GetRequest) -> None:
        """See ``SigV4Auth``, which does the same, and logs the request with the token and the customer's key in it."""
        request.context["timestamp"] = time.strftime(SIGV4_TIMESTAMP, time.gmtime(self._now()))
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))

    def canonical_request(self, request: GetRequest) -> str:
        """See ``SigV4Auth``, which takes the URL of each request apart."""
        url, headers = request.url, self.headers_to_sign(request)
        if "?" in url:
            text: str = super().canonical_request(request)
            return text
        # The path begins behind the host: the first slash behind those of "https://".
        lines = ["GET", url[url.index("/", 8) :], "", self.canonical_headers(headers), "", self.signed_headers(headers)]
        return "\n".join([*lines, request.headers["X-Amz-Content-SHA256"]])

    def headers_to_sign(self, request: GetRequest) -> _SignedHeaders:
        """See ``SigV4Auth``, which asks twice, when all are there."""
        if request.to_sign is None:
            request.to_sign = _SignedHeaders(sorted((name.lower(), value) for name, value in request.headers.items()))
        return request.to_sign

    def canonical_headers(self, headers_to_sign: _SignedHeaders) -> str:
        """See ``SigV4Auth``."""
        return "\n".join([f"{name}:{' '.join(value.split())}" for name, value in headers_to_sign.items()])

    def signed_headers(self, headers_to_sign: _SignedHeaders) -> str:
        """See ``SigV4Auth``."""
        return ";".join(headers_to_sign)

    def signature(self, string_to_sign: str, request: GetRequest) -> str:
        """See ``SigV4Auth``."""
        day = request.context["timestamp"][:8]
        known, key = self._derived
        if known != day:
            key = f"AWS4{self.credentials.secret_key}".encode()
            for part in (day, self._region_name, self._service_name, "aws4_request"):
                key = self._sign(key, part)
            self._derived = (day, key)
        signed: str = self._sign(key, string_to_sign, hex=True)
        return signed
