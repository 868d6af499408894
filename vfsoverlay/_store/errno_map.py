"""What each refusal or failure of a store means to a caller: one table from answers to exceptions."""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

from vfsoverlay.errors import (
    AccessDenied,
    CannotAccessSource,
    ObjectArchived,
    StaleObject,
    StoreTimeout,
    StoreUnavailable,
)


class Meaning(NamedTuple):
    """How one kind of failure is treated and told."""

    error: type[OSError]
    """Raised when an object was being read, or a mount that once worked was being listed."""
    number: int
    """Its errno."""
    reason: str
    """``CannotAccessSource.reason`` when the mount itself was being made."""
    retried: bool
    next_step: str


_RETRY_LATER = "the store may recover: try again later, or raise the deadline option"

#: Kinds of failure. Sources: "Error responses" of the S3 API reference, and answers of MinIO, Ceph, R2, GCS and moto.
MEANINGS: Final[dict[str, Meaning]] = {
    "missing-key": Meaning(FileNotFoundError, errno.ENOENT, "failed", False, "refresh() lists again"),
    "missing-bucket": Meaning(
        FileNotFoundError, errno.ENOENT, "bucket-missing", False, "check the spelling, and endpoint_url if it is not AWS"
    ),
    "changed": Meaning(
        StaleObject, errno.ESTALE, "failed", False, "refresh() lists again; on_change='reopen' reads the new version"
    ),
    "denied": Meaning(
        AccessDenied, errno.EACCES, "access-denied", False, "allow the action to these credentials, or use others"
    ),
    "denied-unsigned": Meaning(
        AccessDenied,
        errno.EACCES,
        "no-credentials",
        False,
        "the request was unsigned and the bucket is not public: configure AWS credentials (option profile, environment)",
    ),
    "expired": Meaning(
        AccessDenied, errno.EACCES, "expired-token", False, "log in again (for instance 'aws sso login') or renew the token"
    ),
    "invalid-credentials": Meaning(
        AccessDenied, errno.EACCES, "invalid-credentials", False, "check the access key id and the secret key"
    ),
    "clock-skew": Meaning(
        AccessDenied, errno.EACCES, "clock-skew", False, "this machine's clock is wrong: set it, signatures carry the time"
    ),
    "encryption": Meaning(
        AccessDenied,
        errno.EACCES,
        "access-denied",
        False,
        "the object is encrypted: allow kms:Decrypt on its KMS key, or give the customer key as sse_customer_key",
    ),
    "archived": Meaning(
        ObjectArchived,
        errno.EACCES,
        "failed",
        False,
        "restore it first ('aws s3api restore-object'), wait until that is done, then refresh()",
    ),
    "wrong-region": Meaning(StoreUnavailable, errno.EIO, "wrong-region", False, "give the option region"),
    "throttled": Meaning(StoreUnavailable, errno.EIO, "failed", True, _RETRY_LATER),
    "server": Meaning(StoreUnavailable, errno.EIO, "failed", True, _RETRY_LATER),
    "malformed": Meaning(
        StoreUnavailable, errno.EIO, "failed", True, "the answer is not what S3 sends: check endpoint_url and proxies"
    ),
    "corrupt": Meaning(StoreUnavailable, errno.EIO, "failed", True, "the bytes were damaged on the way or in the store"),
    "damaged": Meaning(StoreUnavailable, errno.EIO, "failed", False, "read it again"),
    "network": Meaning(StoreUnavailable, errno.EIO, "unreachable", True, "check the network, then try again"),
    "unreachable": Meaning(
        StoreUnavailable, errno.EIO, "unreachable", True, "check endpoint_url, region, DNS and proxy settings"
    ),
    "timeout": Meaning(StoreTimeout, errno.ETIMEDOUT, "timeout", True, _RETRY_LATER),
    "tls": Meaning(
        StoreUnavailable, errno.EIO, "tls", False, "check the certificate authority (AWS_CA_BUNDLE) and the URL's scheme"
    ),
    "no-credentials": Meaning(
        AccessDenied, errno.EACCES, "no-credentials", False, "configure AWS credentials, or mount with anon=True"
    ),
    "refused": Meaning(StoreUnavailable, errno.EIO, "failed", False, "the store cannot do this as asked"),
}

#: S3 error code -> kind; the code says more than the HTTP status, so it is looked up first.
KIND_OF_CODE: Final[dict[str, str]] = {
    "NoSuchKey": "missing-key",
    "NoSuchVersion": "missing-key",
    "NoSuchBucket": "missing-bucket",
    "NoSuchAccessPoint": "missing-bucket",
    "InvalidBucketName": "missing-bucket",
    "PreconditionFailed": "changed",
    "InvalidRange": "changed",
    "AccessDenied": "denied",
    "AllAccessDisabled": "denied",
    "AccountProblem": "denied",
    "Forbidden": "denied",
    "AuthenticationRequired": "denied",
    "MissingSecurityHeader": "denied",
    "ExpiredToken": "expired",
    "TokenRefreshRequired": "expired",
    "RequestExpired": "expired",
    "InvalidToken": "invalid-credentials",
    "InvalidAccessKeyId": "invalid-credentials",
    "SignatureDoesNotMatch": "invalid-credentials",
    "InvalidSecurity": "invalid-credentials",
    "NotSignedUp": "invalid-credentials",
    "RequestTimeTooSkewed": "clock-skew",
    "InvalidObjectState": "archived",
    "KMS.DisabledException": "encryption",
    "KMS.InvalidStateException": "encryption",
    "KMS.NotFoundException": "encryption",
    "PermanentRedirect": "wrong-region",
    "Redirect": "wrong-region",
    "TemporaryRedirect": "wrong-region",
    "AuthorizationHeaderMalformed": "wrong-region",
    "AuthorizationQueryParametersError": "wrong-region",
    "IllegalLocationConstraintException": "wrong-region",
    "SlowDown": "throttled",
    "ServiceUnavailable": "throttled",
    "RequestLimitExceeded": "throttled",
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "RequestThrottled": "throttled",
    "TooManyRequests": "throttled",
    "BandwidthLimitExceeded": "throttled",
    "InternalError": "server",
    "OperationAborted": "server",
    "RequestTimeout": "timeout",
    "RequestTimeoutException": "timeout",
}

#: HTTP status -> kind where the code says nothing. A 403 or 404 without an S3 body may come from a proxy in between
#: (and R2 throttles with 403), so those two are doubted first: see ``kind_of``.
_KIND_OF_STATUS: Final[dict[int, str]] = {
    301: "wrong-region",
    307: "wrong-region",
    401: "denied",
    403: "denied",
    404: "missing-key",
    407: "tls",
    408: "timeout",
    412: "changed",
    416: "changed",
    429: "throttled",
    500: "server",
    502: "server",
    503: "throttled",
    504: "server",
    509: "throttled",
}

_SPEAKS_OF_RATES: Final = ("reduce your", "request rate", "rate limit", "too many requests")


def kind_of(status: int, code: str, message: str, *, has_body: bool) -> str:
    """The kind of an answer that is no success: a key of ``MEANINGS``.

    Args:
        status: HTTP status.
        code: S3 error code; empty when the body was not S3's XML.
        message: S3 error message, or empty.
        has_body: Whether there was any body. A page of HTML with status 404 comes from something
            that is not the store, and must not make an object look absent.
    """
    told = message.lower()
    if any(words in told for words in _SPEAKS_OF_RATES):
        return "throttled"
    if code in ("AccessDenied", "AccessDeniedException") and "kms" in told:
        return "encryption"
    if code == "InvalidRequest" and "encryption" in told:
        return "encryption"
    if code in KIND_OF_CODE:
        return KIND_OF_CODE[code]
    if status in (403, 404) and has_body and not code:
        return "malformed"
    return _KIND_OF_STATUS.get(status, "server" if status >= 500 else "refused")


class Failure(Exception):  # noqa: N818 - it never leaves the room; the errors that do are in vfsoverlay.errors
    """One attempt that failed, before it is known whether another one follows."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        region: str = "",
        connecting: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.region = region
        self.connecting = connecting

    @property
    def meaning(self) -> Meaning:
        """The row of ``MEANINGS``."""
        return MEANINGS[self.kind]


def _sentence(failure: Failure, action: str, name: str, attempts: int) -> str:
    told = f"{action} on {name}: "
    if failure.status:
        told += f"HTTP {failure.status} {failure.code}".rstrip() + ", "
    told += failure.detail
    if failure.request_id:
        told += f", request id {failure.request_id}"
    if attempts > 1:
        told += f", {attempts} attempts"
    hint = f"; the bucket is in region {failure.region}" if failure.region else ""
    return f"{told}{hint}; {failure.meaning.next_step}"


def to_error(failure: Failure, action: str, name: str, attempts: int) -> OSError:
    """The exception for a caller who was reading or listing a mount that had worked before."""
    meaning = failure.meaning
    message = _sentence(failure, action, name, attempts)
    if meaning.error is FileNotFoundError:
        return FileNotFoundError(meaning.number, f"{os.strerror(meaning.number)}: {message}")
    return meaning.error(meaning.number, message)


def to_mount_error(failure: Failure, action: str, name: str, attempts: int) -> CannotAccessSource:
    """The exception for a caller who is making the mount."""
    return CannotAccessSource.because(failure.meaning.reason, _sentence(failure, action, name, attempts))
