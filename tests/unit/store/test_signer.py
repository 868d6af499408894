"""The signer: the signatures of botocore, for less."""

from __future__ import annotations

import datetime as dt
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest

from vfsoverlay._store.s3_settings import Keys
from vfsoverlay._store.signer import GetRequest, Signer

URLS = [
    "http://127.0.0.1:9000/bucket/key",
    "https://bucket.s3.eu-west-1.amazonaws.com/a//b/../c%20d%2B%C3%A9~(1)",
    "https://bucket.s3.eu-west-1.amazonaws.com/?list-type=2&prefix=a%2Fb&max-keys=1000&encoding-type=url",
    "https://bucket.s3.eu-west-1.amazonaws.com/key?versionId=",
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, dt.datetime]:
    """The time that botocore sees, whichever way its version asks for it."""
    shown = {"now": dt.datetime(2026, 11, 22, 23, 59, 59)}  # noqa: DTZ001 - as botocore has it

    class Frozen(dt.datetime):
        @classmethod
        def utcnow(cls) -> Any:
            return shown["now"]

    if hasattr(botocore.auth, "get_current_datetime"):
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: shown["now"])
    else:
        monkeypatch.setattr(botocore.auth.datetime, "datetime", Frozen)
    return shown


def _botocores(keys: Keys, url: str, headers: dict[str, str]) -> dict[str, str]:
    request = AWSRequest("GET", url, headers=headers)
    request.context = {}
    botocore.auth.S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize("token", ["", "tok/en+="])
@pytest.mark.parametrize("url", URLS)
def test_signature_is_botocores(clock: dict[str, Any], url: str, token: str) -> None:
    """For every form of URL, with a token and without, over midnight too, headers are those that botocore adds."""
    keys = Keys("AKID", "s3cret", token)
    signer = Signer(keys, "s3", "eu-west-1", now=lambda: clock["now"].replace(tzinfo=dt.timezone.utc).timestamp())
    headers = {"host": "bucket", "x-amz-checksum-mode": "ENABLED", "x-amz-request-payer": "a  b "}
    for seconds in (0, 0, 1):
        clock["now"] += dt.timedelta(seconds=seconds)
        request = GetRequest(url, dict(headers), {})
        signer.add_auth(request)
        assert request.headers == _botocores(keys, url, headers)


def test_signer_serves_one_set_of_credentials() -> None:
    """Other keys, another region or service are not signed for."""
    keys = Keys("AKID", "s3cret", "")
    signer = Signer(keys, "s3", "eu-west-1")
    assert signer.signs_for(Keys(*keys), "s3", "eu-west-1")
    for other in [
        (Keys("AKID", "s3cret", "tok"), "s3", "eu-west-1"),
        (keys, "s3", "us-east-1"),
        (keys, "s3-outposts", "eu-west-1"),
    ]:
        assert not signer.signs_for(*other)
