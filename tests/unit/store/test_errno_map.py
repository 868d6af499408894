"""Each answer of a store means one exception to a reader and one reason to whoever mounts."""

from __future__ import annotations

import errno
import pickle

import pytest

from vfsoverlay import errors
from vfsoverlay._store.errno_map import MEANINGS, Failure, to_error, to_mount_error
from vfsoverlay._store.kinds import Kind, kind_of

#: HTTP status, S3 code, S3 message; kind; class and errno for a reader; reason for a mount.
ROWS = [
    (404, "NoSuchKey", "", Kind.MISSING_KEY, FileNotFoundError, errno.ENOENT, "failed"),
    (404, "NoSuchVersion", "", Kind.MISSING_KEY, FileNotFoundError, errno.ENOENT, "failed"),
    (404, "NoSuchBucket", "", Kind.MISSING_BUCKET, FileNotFoundError, errno.ENOENT, "bucket-missing"),
    (400, "InvalidBucketName", "", Kind.MISSING_BUCKET, FileNotFoundError, errno.ENOENT, "bucket-missing"),
    (412, "PreconditionFailed", "", Kind.CHANGED, errors.StaleObject, errno.ESTALE, "failed"),
    (416, "InvalidRange", "", Kind.CHANGED, errors.StaleObject, errno.ESTALE, "failed"),
    (403, "AccessDenied", "", Kind.DENIED, errors.AccessDenied, errno.EACCES, "access-denied"),
    (403, "AllAccessDisabled", "", Kind.DENIED, errors.AccessDenied, errno.EACCES, "access-denied"),
    (401, "", "", Kind.DENIED, errors.AccessDenied, errno.EACCES, "access-denied"),
    (403, "", "", Kind.DENIED, errors.AccessDenied, errno.EACCES, "access-denied"),
    (400, "ExpiredToken", "", Kind.EXPIRED, errors.AccessDenied, errno.EACCES, "expired-token"),
    (400, "TokenRefreshRequired", "", Kind.EXPIRED, errors.AccessDenied, errno.EACCES, "expired-token"),
    (400, "InvalidToken", "", Kind.INVALID_CREDENTIALS, errors.AccessDenied, errno.EACCES, "invalid-credentials"),
    (403, "InvalidAccessKeyId", "", Kind.INVALID_CREDENTIALS, errors.AccessDenied, errno.EACCES, "invalid-credentials"),
    (403, "SignatureDoesNotMatch", "", Kind.INVALID_CREDENTIALS, errors.AccessDenied, errno.EACCES,
     "invalid-credentials"),
    (403, "RequestTimeTooSkewed", "", Kind.CLOCK_SKEW, errors.AccessDenied, errno.EACCES, "clock-skew"),
    (403, "AccessDenied", "not authorized to perform: kms:Decrypt", Kind.ENCRYPTION, errors.AccessDenied, errno.EACCES,
     "access-denied"),
    (400, "KMS.DisabledException", "", Kind.ENCRYPTION, errors.AccessDenied, errno.EACCES, "access-denied"),
    (400, "InvalidRequest", "stored using a form of Server Side Encryption", Kind.ENCRYPTION, errors.AccessDenied,
     errno.EACCES, "access-denied"),
    (403, "InvalidObjectState", "", Kind.ARCHIVED, errors.ObjectArchived, errno.EACCES, "failed"),
    (301, "PermanentRedirect", "", Kind.WRONG_REGION, errors.StoreUnavailable, errno.EIO, "wrong-region"),
    (307, "", "", Kind.WRONG_REGION, errors.StoreUnavailable, errno.EIO, "wrong-region"),
    (400, "AuthorizationHeaderMalformed", "", Kind.WRONG_REGION, errors.StoreUnavailable, errno.EIO, "wrong-region"),
    (503, "SlowDown", "", Kind.THROTTLED, errors.StoreUnavailable, errno.EIO, "failed"),
    (503, "", "", Kind.THROTTLED, errors.StoreUnavailable, errno.EIO, "failed"),
    (429, "", "", Kind.THROTTLED, errors.StoreUnavailable, errno.EIO, "failed"),
    (403, "AccessDenied", "Please reduce your request rate.", Kind.THROTTLED, errors.StoreUnavailable, errno.EIO,
     "failed"),
    (404, "NoSuchKey", "rate limit exceeded", Kind.THROTTLED, errors.StoreUnavailable, errno.EIO, "failed"),
    (500, "InternalError", "", Kind.SERVER, errors.StoreUnavailable, errno.EIO, "failed"),
    (502, "", "", Kind.SERVER, errors.StoreUnavailable, errno.EIO, "failed"),
    (599, "", "", Kind.SERVER, errors.StoreUnavailable, errno.EIO, "failed"),
    (400, "RequestTimeout", "", Kind.TIMEOUT, errors.StoreTimeout, errno.ETIMEDOUT, "timeout"),
    (408, "", "", Kind.TIMEOUT, errors.StoreTimeout, errno.ETIMEDOUT, "timeout"),
    (405, "MethodNotAllowed", "", Kind.REFUSED, errors.StoreUnavailable, errno.EIO, "failed"),
    (400, "SomethingNew", "", Kind.REFUSED, errors.StoreUnavailable, errno.EIO, "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "message", "kind", "error", "number", "reason"), ROWS)
def test_meaning_of_an_answer(
    status: int, code: str, message: str, kind: Kind, error: type[OSError], number: int, reason: str
) -> None:
    """An answer is of one kind, which has one class and errno for a reader and one reason for a mount."""
    assert kind_of(status, code, message, has_body=bool(code)) is kind
    failure = Failure(kind, message, status=status, code=code)
    told = to_error(failure, "s3:GetObject", "s3://b/k", 1)
    assert (type(told), told.errno) == (error, number)
    mounting = to_mount_error(failure, "s3:ListBucket", "s3://b/", 1)
    assert (type(mounting), mounting.reason) == (errors.CannotAccessSource, reason)
    assert mounting.errno == errors.REASONS[reason]


@pytest.mark.parametrize("status", [403, 404])
def test_page_of_a_proxy_proves_nothing(status: int) -> None:
    """A 403 or 404 whose body is not S3's is neither a refusal nor an absence."""
    assert kind_of(status, "", "", has_body=True) is Kind.MALFORMED


def test_absence_is_never_made_of_trouble() -> None:
    """Nothing that is retried turns into ENOENT, and nothing final is retried."""
    assert not [kind for kind, meaning in MEANINGS.items() if meaning.retried and meaning.number == errno.ENOENT]
    assert set(MEANINGS) == set(Kind)


def test_message_names_everything_needed() -> None:
    """The message has action, object, status, code, reason, request id, attempts, region and the next step."""
    failure = Failure(Kind.WRONG_REGION, "told so", status=301, code="Moved", request_id="R1", region="eu-west-1")
    text = str(to_error(failure, "s3:GetObject", "s3://bucket/key", 3))
    for part in (
        "s3:GetObject",
        "s3://bucket/key",
        "HTTP 301 Moved",
        "told so",
        "R1",
        "3 attempts",
        "eu-west-1",
        "region",
    ):
        assert part in text


@pytest.mark.parametrize("kind", list(Kind))
def test_errors_survive_pickling(kind: Kind) -> None:
    """Every exception of the store keeps class, errno and message when it travels between processes."""
    for error in (to_error(Failure(kind, "x"), "a", "n", 1), to_mount_error(Failure(kind, "x"), "a", "n", 1)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.errno, str(again)) == (type(error), error.errno, str(error))
