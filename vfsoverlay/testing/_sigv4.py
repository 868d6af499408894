"""Signatures: whether a request was signed by who it says, with Signature Version 4, and is still in time."""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Collection, Mapping
from functools import lru_cache
from time import strptime
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from vfsoverlay.testing._errors import S3Error
from vfsoverlay.testing._message import Request

#: Clocks may differ by a quarter of an hour.
#: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (RequestTimeTooSkewed)
_SKEW: Final = 15 * 60
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
#: S3 itself, and its directory buckets.
_SERVICES: Final = ("s3", "s3express")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SPACES = re.compile(" +")


class Credentials(NamedTuple):
    """A key pair that the server accepts."""

    access_key: str
    secret_key: str
    session_token: str = ""
    """Of temporary credentials; requests must carry it."""
    expires: float | None = None
    """Seconds since the epoch on the server's clock; later requests get ExpiredToken."""
    actions: Collection[str] | None = None
    """What may be done with it: "list", "get", "put", "delete"; None is everything."""


class Signature(NamedTuple):
    """What a signed request says about its signature."""

    credentials: Credentials
    region: str


class _Claim(NamedTuple):
    """The parts of a signature, from the header or from the query of a presigned URL."""

    access_key: str
    scope: list[str]
    signed_headers: list[str]
    signature: str
    date: str
    token: str
    payload_hash: str
    expires: float | None


def verify(request: Request, accepted: Mapping[str, Credentials], now: float) -> Signature | None:
    """Who signed *request*; None if nobody did. Raises ``S3Error`` as S3 would for anything wrong."""
    if "authorization" in request.headers:
        claim = _claim_of_header(request)
    elif "X-Amz-Algorithm" in request.query or "X-Amz-Signature" in request.query:
        claim = _claim_of_query(request)
    elif "AWSAccessKeyId" in request.query:
        raise _unsupported_version()
    else:
        return None
    credentials = accepted.get(claim.access_key)
    if credentials is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
    _check_time(claim, now)
    if claim.token != credentials.session_token:
        raise S3Error("InvalidToken")
    if credentials.expires is not None and now >= credentials.expires:
        raise S3Error("ExpiredToken")
    _check_signature(request, claim, credentials)
    if _DIGEST.fullmatch(claim.payload_hash) and hashlib.sha256(request.body).hexdigest() != claim.payload_hash:
        raise S3Error("XAmzContentSHA256Mismatch", ClientComputedContentSHA256=claim.payload_hash)
    return Signature(credentials, claim.scope[1])


def _unsupported_version() -> S3Error:
    msg = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    return S3Error("InvalidRequest", msg)


def _claim_of_header(request: Request) -> _Claim:
    headers = request.headers
    algorithm, _, rest = headers["authorization"].partition(" ")
    if algorithm != _ALGORITHM:
        raise _unsupported_version()
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    access_key, scope = _split_credential(parts.get("Credential", ""), "AuthorizationHeaderMalformed")
    if "x-amz-content-sha256" not in headers:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return _Claim(
        access_key,
        scope,
        parts.get("SignedHeaders", "").split(";"),
        parts.get("Signature", ""),
        headers.get("x-amz-date", ""),
        headers.get("x-amz-security-token") or headers.get("x-amz-s3session-token", ""),
        headers["x-amz-content-sha256"],
        None,
    )


def _claim_of_query(request: Request) -> _Claim:
    query = request.query
    if query.get("X-Amz-Algorithm") != _ALGORITHM:
        raise S3Error("AuthorizationQueryParametersError", "X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    access_key, scope = _split_credential(query.get("X-Amz-Credential", ""), "AuthorizationQueryParametersError")
    expires = query.get("X-Amz-Expires", "")
    if not expires.isdigit() or int(expires) > 7 * 24 * 3600:
        msg = "X-Amz-Expires must be a number of seconds, at most a week"
        raise S3Error("AuthorizationQueryParametersError", msg)
    return _Claim(
        access_key,
        scope,
        query.get("X-Amz-SignedHeaders", "").split(";"),
        query.get("X-Amz-Signature", ""),
        query.get("X-Amz-Date", ""),
        query.get("X-Amz-Security-Token", ""),
        request.headers.get("x-amz-content-sha256", _UNSIGNED),
        float(expires),
    )


def _split_credential(text: str, error: str) -> tuple[str, list[str]]:
    """Access key and scope (date, region, service, "aws4_request")."""
    access_key, *scope = text.rsplit("/", 4)
    if len(scope) != 4 or scope[2] not in _SERVICES or scope[3] != "aws4_request":
        msg = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        raise S3Error(error, msg)
    return access_key, scope


def _check_time(claim: _Claim, now: float) -> None:
    try:
        signed = timegm(strptime(claim.date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        msg = "AWS authentication requires a valid Date or x-amz-date header"
        raise S3Error("AccessDenied", msg) from None
    if claim.expires is None:
        if abs(now - signed) > _SKEW:
            raise S3Error("RequestTimeTooSkewed", RequestTime=claim.date, MaxAllowedSkewMilliseconds=str(_SKEW * 1000))
    elif now > signed + claim.expires:
        raise S3Error("AccessDenied", "Request has expired")
    elif now < signed - _SKEW:
        raise S3Error("AccessDenied", "Request is not valid yet")


def _check_signature(request: Request, claim: _Claim, credentials: Credentials) -> None:
    canonical = "\n".join(
        (
            request.method,
            quote(unquote_to_bytes(request.path), safe="/-._~"),
            _canonical_query(request.query_text),
            *(f"{name}:{_SPACES.sub(' ', request.headers.get(name, ''))}" for name in claim.signed_headers),
            "",
            ";".join(claim.signed_headers),
            claim.payload_hash,
        )
    )
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = "\n".join((_ALGORITHM, claim.date, "/".join(claim.scope), digest))
    key = _signing_key(credentials.secret_key, *claim.scope)
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise S3Error(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=credentials.access_key,
            StringToSign=text,
            SignatureProvided=claim.signature,
            CanonicalRequest=canonical,
        )


def _canonical_query(text: str) -> str:
    pairs = []
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        if name != "X-Amz-Signature":
            pairs.append((quote(unquote_to_bytes(name), safe="-._~"), quote(unquote_to_bytes(value), safe="-._~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


@lru_cache(maxsize=64)
def _signing_key(secret: str, date: str, region: str, service: str, terminator: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, terminator):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
