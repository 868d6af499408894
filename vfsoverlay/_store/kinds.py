"""Kinds of failure, and how an answer that is no success is recognised as one of them."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Kind(Enum):
    """What went wrong; ``errno_map.MEANINGS`` says what follows from it."""

    MISSING_KEY = "missing-key"
    MISSING_BUCKET = "missing-bucket"
    CHANGED = "changed"
    """Another version than the pinned one."""
    DENIED = "denied"
    DENIED_UNSIGNED = "denied-unsigned"
    NO_CREDENTIALS = "no-credentials"
    EXPIRED = "expired"
    INVALID_CREDENTIALS = "invalid-credentials"
    CLOCK_SKEW = "clock-skew"
    ENCRYPTION = "encryption"
    ARCHIVED = "archived"
    WRONG_REGION = "wrong-region"
    THROTTLED = "throttled"
    SERVER = "server"
    MALFORMED = "malformed"
    """An answer that S3 would not give."""
    CORRUPT = "corrupt"
    """Wrong bytes, of which none was delivered."""
    DAMAGED = "damaged"
    """Wrong bytes, found out after some were delivered."""
    NETWORK = "network"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    PROXY = "proxy"
    """A proxy wants to know who asks."""
    REFUSED = "refused"


#: S3 error code -> kind; the code says more than the HTTP status, so it is looked up first.
KIND_OF_CODE: Final[dict[str, Kind]] = {
    "NoSuchKey": Kind.MISSING_KEY,
    "NoSuchVersion": Kind.MISSING_KEY,
    "NoSuchBucket": Kind.MISSING_BUCKET,
    "NoSuchAccessPoint": Kind.MISSING_BUCKET,
    "InvalidBucketName": Kind.MISSING_BUCKET,
    "PreconditionFailed": Kind.CHANGED,
    "InvalidRange": Kind.CHANGED,
    "AccessDenied": Kind.DENIED,
    "AllAccessDisabled": Kind.DENIED,
    "AccountProblem": Kind.DENIED,
    "Forbidden": Kind.DENIED,
    "AuthenticationRequired": Kind.DENIED,
    "MissingSecurityHeader": Kind.DENIED,
    "ExpiredToken": Kind.EXPIRED,
    "TokenRefreshRequired": Kind.EXPIRED,
    "RequestExpired": Kind.EXPIRED,
    "InvalidToken": Kind.INVALID_CREDENTIALS,
    "InvalidAccessKeyId": Kind.INVALID_CREDENTIALS,
    "SignatureDoesNotMatch": Kind.INVALID_CREDENTIALS,
    "InvalidSecurity": Kind.INVALID_CREDENTIALS,
    "NotSignedUp": Kind.INVALID_CREDENTIALS,
    "RequestTimeTooSkewed": Kind.CLOCK_SKEW,
    "InvalidObjectState": Kind.ARCHIVED,
    "KMS.DisabledException": Kind.ENCRYPTION,
    "KMS.InvalidStateException": Kind.ENCRYPTION,
    "KMS.NotFoundException": Kind.ENCRYPTION,
    "PermanentRedirect": Kind.WRONG_REGION,
    "Redirect": Kind.WRONG_REGION,
    "TemporaryRedirect": Kind.WRONG_REGION,
    "AuthorizationHeaderMalformed": Kind.WRONG_REGION,
    "AuthorizationQueryParametersError": Kind.WRONG_REGION,
    "IllegalLocationConstraintException": Kind.WRONG_REGION,
    "SlowDown": Kind.THROTTLED,
    "ServiceUnavailable": Kind.THROTTLED,
    "RequestLimitExceeded": Kind.THROTTLED,
    "Throttling": Kind.THROTTLED,
    "ThrottlingException": Kind.THROTTLED,
    "RequestThrottled": Kind.THROTTLED,
    "TooManyRequests": Kind.THROTTLED,
    "BandwidthLimitExceeded": Kind.THROTTLED,
    "InternalError": Kind.SERVER,
    "OperationAborted": Kind.SERVER,
    "RequestTimeout": Kind.TIMEOUT,
    "RequestTimeoutException": Kind.TIMEOUT,
}

#: HTTP status -> kind where the code says nothing. A 403 or 404 without an S3 body may come from a proxy in between
#: (and R2 throttles with 403), so those two are doubted first: see ``kind_of``.
_KIND_OF_STATUS: Final[dict[int, Kind]] = {
    301: Kind.WRONG_REGION,
    307: Kind.WRONG_REGION,
    401: Kind.DENIED,
    403: Kind.DENIED,
    404: Kind.MISSING_KEY,
    407: Kind.PROXY,
    408: Kind.TIMEOUT,
    412: Kind.CHANGED,
    416: Kind.CHANGED,
    429: Kind.THROTTLED,
    500: Kind.SERVER,
    502: Kind.SERVER,
    503: Kind.THROTTLED,
    504: Kind.SERVER,
    509: Kind.THROTTLED,
}

#: Exceptions of botocore, aiohttp and fsspec by name: their libraries may not be installed, and need not be loaded to
#: be recognised.
KIND_OF_EXCEPTION: Final[dict[str, Kind]] = {
    "NoCredentialsError": Kind.NO_CREDENTIALS,
    "PartialCredentialsError": Kind.NO_CREDENTIALS,
    "UnauthorizedSSOTokenError": Kind.EXPIRED,
    "SSOTokenLoadError": Kind.EXPIRED,
    "TokenRetrievalError": Kind.EXPIRED,
    "EndpointConnectionError": Kind.UNREACHABLE,
    "ProxyConnectionError": Kind.UNREACHABLE,
    "ClientConnectorError": Kind.UNREACHABLE,
    "ConnectTimeoutError": Kind.TIMEOUT,
    "ReadTimeoutError": Kind.TIMEOUT,
    "FSTimeoutError": Kind.TIMEOUT,
    "SSLError": Kind.TLS,
    "ClientConnectorCertificateError": Kind.TLS,
    "ClientPayloadError": Kind.NETWORK,
    "ServerDisconnectedError": Kind.NETWORK,
    "ConnectionClosedError": Kind.NETWORK,
    "IncompleteRead": Kind.NETWORK,
    "HTTPClientError": Kind.NETWORK,
}

_SPEAKS_OF_RATES: Final = ("reduce your", "request rate", "rate limit", "too many requests")


def kind_of(status: int, code: str, message: str, *, has_body: bool) -> Kind:
    """The kind of an answer that is no success.

    Args:
        status: HTTP status.
        code: S3 error code; empty when the body was not S3's XML.
        message: S3 error message, or empty.
        has_body: Whether there was any body. A page of HTML with status 404 comes from something
            that is not the store, and must not make an object look absent.
    """
    told = message.lower()
    if any(words in told for words in _SPEAKS_OF_RATES):
        return Kind.THROTTLED
    if code in ("AccessDenied", "AccessDeniedException") and "kms" in told:
        return Kind.ENCRYPTION
    if code == "InvalidRequest" and "encryption" in told:
        return Kind.ENCRYPTION
    if code in KIND_OF_CODE:
        return KIND_OF_CODE[code]
    if status in (403, 404) and has_body and not code:
        return Kind.MALFORMED
    return _KIND_OF_STATUS.get(status, Kind.SERVER if status >= 500 else Kind.REFUSED)
