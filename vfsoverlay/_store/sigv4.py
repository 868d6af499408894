"""AWS Signature Version 4 in the Authorization header, for requests without a body.

botocore's signer costs about ten times as much for each request, which is the largest single cost of
a small GET. The rules are those of "Signature Calculations for the Authorization Header" in the S3 API
reference; the tests compare each signature with botocore's. Everything but the plain header form
(SigV4a, sessions of directory buckets) is left to botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
#: The SHA-256 of no bytes: none of our requests has a body.
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """Credentials as a signature needs them; never shown."""

    access_key: str
    secret_key: str
    token: str

    def __repr__(self) -> str:
        return "Keys(...)"


class Scope(NamedTuple):
    """What a signature is good for, besides the day."""

    region: str
    service: str


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, scope: Scope) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def quote_path(key: str) -> str:
    """An object's key as it stands in a URL; surrogates stand for bytes that are not UTF-8."""
    return quote(key, safe="/~", errors="surrogateescape")


def quote_query(query: list[tuple[str, str]]) -> str:
    """The query string in the canonical form: sorted, everything but unreserved characters escaped."""
    pairs = [(quote(k, safe="~"), quote(v, safe="~", errors="surrogateescape")) for k, v in query]
    return "&".join(f"{k}={v}" for k, v in sorted(pairs))


def sign(
    method: str, path: str, query: str, headers: dict[str, str], keys: Keys, scope: Scope, *, now: float | None = None
) -> None:
    """Add the date, the token and the signature to *headers*.

    Args:
        method: HTTP method.
        path: Absolute path of the URL, as ``quote_path`` makes it.
        query: Query string, as ``quote_query`` makes it.
        headers: Lower-case names; ``host`` and all ``x-amz-`` headers must be there already. Only
            those are signed: a proxy may change the others.
        keys: Who asks.
        scope: Region and service that will check it.
        now: Seconds since the epoch; default: the current time.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    headers["x-amz-date"] = stamp
    headers["x-amz-content-sha256"] = _EMPTY_SHA256
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    signed = sorted(name for name in headers if name == "host" or name.startswith("x-amz-"))
    names = ";".join(signed)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{_EMPTY_SHA256}"
    day = stamp[:8]
    reach = f"{day}/{scope.region}/{scope.service}/aws4_request"
    to_sign = f"{_ALGORITHM}\n{stamp}\n{reach}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(keys.secret_key, day, scope), to_sign.encode(), "sha256").hex()
    headers["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key}/{reach}, SignedHeaders={names}, Signature={signature}"
    )
