"""Signatures are those of botocore."""

from __future__ import annotations

import calendar
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from vfsoverlay._store.sigv4 import Keys, Scope, quote_path, quote_query, sign

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


def botocore_signature(url: str, headers: dict[str, str], keys: Keys, scope: Scope) -> str:
    auth: Any = S3SigV4Auth(
        Credentials(keys.access_key, keys.secret_key, keys.token or None), scope.service, scope.region
    )
    request: Any = AWSRequest("GET", url, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    request.context["payload_signing_enabled"] = True
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


@settings(deadline=None)
@given(key=TEXT, prefix=TEXT, token=st.sampled_from(["", "a/token=="]))
def test_signature_is_the_one_botocore_makes(key: str, prefix: str, token: str) -> None:
    """For any key and any query, the signature is the one that botocore computes over the same request."""
    keys, scope = Keys("AKID", "se/cret", token), Scope("eu-west-1", "s3")
    path, query = "/bucket/" + quote_path(key), quote_query([("prefix", prefix), ("list-type", "2"), ("a b", "")])
    headers = {"host": "example.com:9000", "x-amz-request-payer": "requester"}
    sign("GET", path, query, headers, keys, scope, now=1_700_000_000)
    ours = headers.pop("authorization").rpartition("Signature=")[2]
    assert ours == botocore_signature(f"http://example.com:9000{path}?{query}", headers, keys, scope)


def test_headers_that_proxies_change_are_not_signed() -> None:
    """Only the host and the x-amz- headers are signed."""
    headers = {"host": "h", "range": "bytes=0-1", "if-match": '"e"', "x-amz-meta": "1"}
    sign("GET", "/", "", headers, Keys("a", "b", ""), Scope("r", "s3"))
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta," in headers["authorization"]


def test_date_is_the_present_by_default() -> None:
    """Without a given time, the signature carries the current one."""
    headers = {"host": "h"}
    before = int(time.time())
    sign("GET", "/", "", headers, Keys("a", "b", ""), Scope("r", "s3"))
    stamp = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    assert before <= calendar.timegm(stamp.timetuple()) <= time.time()


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_keys_are_never_shown(show: type[str]) -> None:
    """No way of showing credentials shows the secret."""
    assert "se/cret" not in show(Keys("AKID", "se/cret", "token"))
