from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from vfsoverlay.testing import Credentials, S3Server

KEY = "private/a b+\u00fc~(1)*.txt"
Send = Callable[..., tuple[int, str]]


@pytest.fixture
def send() -> Iterator[Send]:
    """Send a GET, signed by botocore as told, to a private bucket; status and error code."""
    with S3Server() as server:
        server.create_bucket("b")
        server.create_bucket("far", region="eu-west-1")
        for bucket in ("b", "far"):
            server.put(bucket, KEY, b"secret")

        def send(
            path: str = f"/b/{quote(KEY, safe='/~')}",
            *,
            access_key: str = server.credentials.access_key,
            secret_key: str = server.credentials.secret_key,
            token: str | None = None,
            region: str = "us-east-1",
            presigned_for: int = 0,
            change: Callable[[AWSRequest], object] = lambda request: None,
            before: Callable[[S3Server], object] = lambda server: None,
        ) -> tuple[int, str]:
            credentials = BotoCredentials(access_key, secret_key, token)
            request = AWSRequest("GET", server.url + path)
            if presigned_for:
                S3SigV4QueryAuth(credentials, "s3", region, expires=presigned_for).add_auth(request)
            else:
                S3SigV4Auth(credentials, "s3", region).add_auth(request)
            change(request)
            before(server)
            return _exchange(server, request)

        yield send


def _exchange(server: S3Server, request: Any) -> tuple[int, str]:
    connection = HTTPConnection(server.host, server.port, timeout=20)
    parts = urlsplit(request.url)
    connection.request(
        "GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=dict(request.headers)
    )
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body.partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize("presigned_for", [0, 60])
@pytest.mark.parametrize("path", [f"/b/{quote(KEY, safe='/~')}", "/b?list-type=2&prefix=a%20b%2B&delimiter=%2F"])
def test_right_signature(send: Send, path: str, presigned_for: int) -> None:
    """What botocore signs in a header or in a query is accepted, odd characters included."""
    assert send(path, presigned_for=presigned_for) == (200, "")


@pytest.mark.parametrize("presigned_for", [0, 60])
def test_wrong_keys(send: Send, presigned_for: int) -> None:
    """A wrong secret and an unknown access key are told apart."""
    assert send(secret_key="wrong", presigned_for=presigned_for) == (403, "SignatureDoesNotMatch")
    assert send(access_key="unknown", presigned_for=presigned_for) == (403, "InvalidAccessKeyId")


def _other_path(request: AWSRequest) -> None:
    request.url = f"{request.url}x"


def _other_date(request: AWSRequest) -> None:
    request.headers.replace_header("X-Amz-Date", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 5)))


def _other_body_hash(request: AWSRequest) -> None:
    request.headers.replace_header("X-Amz-Content-SHA256", "0" * 64)


@pytest.mark.parametrize("change", [_other_path, _other_date, _other_body_hash])
def test_signature_covers(send: Send, change: Callable[[AWSRequest], object]) -> None:
    """Path, time and body hash cannot be changed after signing."""
    assert send(change=change) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("offset", [-16 * 60, 16 * 60])
def test_clocks_that_differ(send: Send, offset: float) -> None:
    """A quarter of an hour between the clocks is too much, whichever is ahead."""
    assert send(before=lambda server: setattr(server, "clock_offset", offset)) == (403, "RequestTimeTooSkewed")
    assert send(before=lambda server: setattr(server, "clock_offset", offset * 0.9)) == (200, "")


def test_presigned_url_expires(send: Send) -> None:
    """A presigned URL is refused after its time."""
    assert send(presigned_for=60, before=lambda server: setattr(server, "clock_offset", 61)) == (403, "AccessDenied")


@pytest.mark.parametrize("presigned_for", [0, 60])
def test_session_token(send: Send, presigned_for: int) -> None:
    """Temporary credentials need their token, and expire on the server's clock."""

    def temporary(expires: float) -> Callable[[S3Server], object]:
        return lambda server: server.add_credentials(Credentials("temp", "s", "token", expires))

    future = time.time() + 600

    def get(token: str | None, expires: float) -> tuple[int, str]:
        before = temporary(expires)
        return send(access_key="temp", secret_key="s", token=token, presigned_for=presigned_for, before=before)

    assert get("token", future) == (200, "")
    assert get("other", future) == (400, "InvalidToken")
    assert get(None, future) == (400, "InvalidToken")
    assert get("token", time.time() - 1) == (400, "ExpiredToken")


def test_limited_credentials(send: Send) -> None:
    """A key pair may be allowed less than everything."""
    limited = lambda server: server.add_credentials(Credentials("less", "s", actions=("list",)))
    assert send("/b?list-type=2", access_key="less", secret_key="s", before=limited) == (200, "")
    assert send(access_key="less", secret_key="s", before=limited) == (403, "AccessDenied")


def test_removed_credentials(send: Send) -> None:
    """A key pair can be withdrawn."""
    removed = send(before=lambda server: server.remove_credentials(server.credentials.access_key))
    assert removed == (403, "InvalidAccessKeyId")


def test_wrong_region(send: Send) -> None:
    """A signature for another region is malformed at the bucket's endpoint, and redirected at another one."""
    path = f"/far/{quote(KEY, safe='/~')}"
    assert send(region="eu-west-1") == (400, "AuthorizationHeaderMalformed")
    assert send(path, region="us-east-1") == (301, "PermanentRedirect")
    assert send(path, region="eu-west-1") == (200, "")


def _without_hash(request: AWSRequest) -> None:
    del request.headers["X-Amz-Content-SHA256"]


def _old_scheme(request: AWSRequest) -> None:
    request.headers.replace_header("Authorization", "AWS key:signature")


def _bad_scope(request: AWSRequest) -> None:
    request.headers.replace_header("Authorization", "AWS4-HMAC-SHA256 Credential=key/s3, SignedHeaders=, Signature=")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_without_hash, "InvalidRequest"),
        (_old_scheme, "InvalidRequest"),
        (_bad_scope, "AuthorizationHeaderMalformed"),
    ],
)
def test_malformed_authorization(send: Send, change: Callable[[AWSRequest], object], code: str) -> None:
    """What is no Signature Version 4 is refused with S3's code."""
    assert send(change=change) == (400, code)


def test_presigned_for_too_long(send: Send) -> None:
    """A presigned URL lasts a week at most."""
    assert send(presigned_for=8 * 24 * 3600) == (400, "AuthorizationQueryParametersError")


def _later_date(request: AWSRequest) -> None:
    request.url = str(request.url).replace("X-Amz-Date=2", "X-Amz-Date=3")


def _no_date(request: AWSRequest) -> None:
    request.headers.replace_header("X-Amz-Date", "now")


def _other_algorithm(request: AWSRequest) -> None:
    request.url = str(request.url).replace("AWS4-HMAC", "AWS5-HMAC")


@pytest.mark.parametrize(
    ("change", "presigned_for", "answer"),
    [
        (_later_date, 60, (403, "AccessDenied")),
        (_no_date, 0, (403, "AccessDenied")),
        (_other_algorithm, 60, (400, "AuthorizationQueryParametersError")),
    ],
)
def test_dates_and_algorithms(
    send: Send, change: Callable[[AWSRequest], object], presigned_for: int, answer: tuple[int, str]
) -> None:
    """A signature from the future, without a date or with another algorithm is refused."""
    assert send(change=change, presigned_for=presigned_for) == answer


def test_old_presigned_urls(send: Send) -> None:
    """Presigned URLs of Signature Version 2 are not supported any more."""
    assert send("/b/k?AWSAccessKeyId=k&Signature=s&Expires=1", change=_unsigned) == (400, "InvalidRequest")


def _unsigned(request: AWSRequest) -> None:
    del request.headers["Authorization"]
