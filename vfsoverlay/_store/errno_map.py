"""What each refusal or failure of a store means to a caller: one table from answers to exceptions."""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

from vfsoverlay._store.kinds import Kind
from vfsoverlay.errors import (
    AccessDenied,
    CannotAccessSource,
    ObjectArchived,
    ObjectDamaged,
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


_RETRY_LATER: Final = "the store may recover: try again later, or raise the deadline option"
_CHECK_THE_WAY: Final = "check endpoint_url, region, DNS and proxy settings"

#: What the message of a definite absence begins with, as that of any other.
_ABSENT: Final = f"{os.strerror(errno.ENOENT)}: "

#: Letters of what a server said that are told.
_LONGEST_TOLD: Final = 500

#: What each kind of failure means.
MEANINGS: Final[dict[Kind, Meaning]] = {
    Kind.MISSING_KEY: Meaning(FileNotFoundError, errno.ENOENT, "failed", False, "refresh() lists again"),
    Kind.MISSING_BUCKET: Meaning(
        FileNotFoundError,
        errno.ENOENT,
        "bucket-missing",
        False,
        "check the spelling, and endpoint_url if it is not AWS",
    ),
    Kind.CHANGED: Meaning(
        StaleObject, errno.ESTALE, "failed", False, "refresh() lists again; on_change='reopen' reads the new version"
    ),
    Kind.DENIED: Meaning(
        AccessDenied,
        errno.EACCES,
        "access-denied",
        False,
        "allow the action to these credentials, use others, or give requester_pays=True where readers pay",
    ),
    Kind.DENIED_UNSIGNED: Meaning(
        AccessDenied,
        errno.EACCES,
        "no-credentials",
        False,
        "the request was unsigned, and the bucket is not public: configure AWS credentials",
    ),
    Kind.EXPIRED: Meaning(
        AccessDenied,
        errno.EACCES,
        "expired-token",
        False,
        "log in again (such as 'aws sso login'), or renew the token",
    ),
    Kind.INVALID_CREDENTIALS: Meaning(
        AccessDenied, errno.EACCES, "invalid-credentials", False, "check the access key id and the secret key"
    ),
    Kind.CLOCK_SKEW: Meaning(
        AccessDenied,
        errno.EACCES,
        "clock-skew",
        False,
        "this machine's clock is wrong: set it, signatures carry the time",
    ),
    Kind.ENCRYPTION: Meaning(
        AccessDenied,
        errno.EACCES,
        "access-denied",
        False,
        "the object is encrypted: allow kms:Decrypt on its KMS key, or give the customer key as sse_customer_key",
    ),
    Kind.ARCHIVED: Meaning(
        ObjectArchived,
        errno.EACCES,
        "failed",
        False,
        "restore it first ('aws s3api restore-object'), wait until that is done, then refresh()",
    ),
    Kind.WRONG_REGION: Meaning(StoreUnavailable, errno.EIO, "wrong-region", False, "give the option region"),
    Kind.THROTTLED: Meaning(StoreUnavailable, errno.EIO, "failed", True, _RETRY_LATER),
    Kind.SERVER: Meaning(StoreUnavailable, errno.EIO, "failed", True, _RETRY_LATER),
    Kind.MALFORMED: Meaning(
        StoreUnavailable, errno.EIO, "failed", True, "the answer is not what S3 sends: check endpoint_url and proxies"
    ),
    Kind.CORRUPT: Meaning(
        StoreUnavailable, errno.EIO, "failed", True, "the bytes were damaged on the way or in the store"
    ),
    Kind.DAMAGED: Meaning(ObjectDamaged, errno.EIO, "failed", False, "read it again"),
    Kind.NETWORK: Meaning(StoreUnavailable, errno.EIO, "unreachable", True, "check the network, then try again"),
    Kind.UNREACHABLE: Meaning(StoreUnavailable, errno.EIO, "unreachable", True, _CHECK_THE_WAY),
    Kind.TIMEOUT: Meaning(StoreTimeout, errno.ETIMEDOUT, "timeout", True, _RETRY_LATER),
    Kind.TLS: Meaning(
        StoreUnavailable,
        errno.EIO,
        "tls",
        False,
        "check the certificate authority (AWS_CA_BUNDLE) and the URL's scheme",
    ),
    Kind.PROXY: Meaning(
        StoreUnavailable,
        errno.EIO,
        "unreachable",
        False,
        "the proxy wants a name and a password: write them into its URL, as in HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT",
    ),
    Kind.NO_CREDENTIALS: Meaning(
        AccessDenied, errno.EACCES, "no-credentials", False, "configure AWS credentials, or mount with anon=True"
    ),
    Kind.REFUSED: Meaning(StoreUnavailable, errno.EIO, "failed", False, "the store cannot do this as asked"),
}


class Failure(Exception):  # noqa: N818 - it never leaves the room; the errors that do are in vfsoverlay.errors
    """One attempt that failed, before it is known whether another one follows."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        region: str = "",
        connecting: bool = False,
        next_step: str = "",
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
        self.next_step = next_step or self.meaning.next_step

    @property
    def meaning(self) -> Meaning:
        """The row of ``MEANINGS``."""
        return MEANINGS[self.kind]


def _one_line(text: str) -> str:
    """What a server said, without line breaks and control characters that would forge lines of a log, and cut short."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_TOLD else f"{line[:_LONGEST_TOLD]}..."


def _sentence(failure: Failure, action: str, name: str, attempts: int) -> str:
    told = f"{action} on {name if name.isprintable() else repr(name)}: "
    if failure.status:
        told += f"HTTP {failure.status} {_one_line(failure.code)}".rstrip() + ", "
    told += _one_line(failure.detail)
    if failure.request_id:
        told += f", request id {failure.request_id}"
    if attempts > 1:
        told += f", {attempts} attempts"
    hint = f"; the bucket is in region {failure.region}" if failure.region else ""
    return f"{told}{hint}; {failure.next_step}"


def to_error(failure: Failure, action: str, name: str, attempts: int) -> OSError:
    """The exception for a caller who was reading or listing a mount that had worked before."""
    meaning = failure.meaning
    message = _sentence(failure, action, name, attempts)
    if meaning.error is FileNotFoundError:
        return FileNotFoundError(meaning.number, _ABSENT + message)
    return meaning.error(meaning.number, message)


def to_mount_error(failure: Failure, action: str, name: str, attempts: int) -> CannotAccessSource:
    """The exception for a caller who is making the mount."""
    return CannotAccessSource.because(failure.meaning.reason, _sentence(failure, action, name, attempts))


def as_mount_error(error: OSError) -> CannotAccessSource | None:
    """What *error*, told to one who was listing, is to one who is making the mount; None where no store failed."""
    failure = error.__cause__
    if isinstance(error, CannotAccessSource) or not isinstance(failure, Failure):
        return None
    return CannotAccessSource.because(failure.meaning.reason, str(error.strerror).removeprefix(_ABSENT))
