"""Directory buckets and multi-region access points: other signatures, other rules of listing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import AUTH_TYPE_MAPS

from vfsoverlay import errors
from vfsoverlay._metrics import Metrics
from vfsoverlay._store.attempts import Clock
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.s3_session import S3Session
from vfsoverlay._store.s3_settings import Keys, S3Settings
from vfsoverlay._store.s3_store import S3Store
from vfsoverlay.testing import Fault, S3Server

BUCKET = "data--use1-az4--x-s3"
MULTI_REGION = "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap"
KEYS = [f"p/{name}" for name in ["a", "b", "d/1", "d/2", "e/1", "z", "é &"]]

Opener = Callable[..., Any]

has_sessions = pytest.mark.skipif("v4-s3express" not in AUTH_TYPE_MAPS, reason="botocore before 1.33 has no sessions")
has_sigv4a = pytest.mark.skipif("s3v4a" not in AUTH_TYPE_MAPS, reason="awscrt is not installed")


@pytest.fixture
def one(server: S3Server, opened: Opener) -> Any:
    """A store of a directory bucket, with credentials."""
    server.create_bucket(BUCKET)
    for key in KEYS:
        server.put(BUCKET, key, key)
    return opened(f"s3://{BUCKET}/p/", **server.mount_options(anon=False))


@has_sessions
@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_listing_in_no_order(one: Any, page_size: int) -> None:
    """All keys are listed once, in the order the bucket gives them, and the store says that it is none."""
    keys = [info.key for info in one.rows(page_size=page_size)]
    assert sorted(keys) == sorted(KEYS)
    assert keys != sorted(KEYS)
    assert not one.store.is_ordered


@has_sessions
def test_listing_of_one_level(one: Any) -> None:
    """With the delimiter, keys and common prefixes come once each, over pages as well."""
    pages = list(one.store.list_pages("p/", delimiter="/", page_size=2))
    assert sorted(row[0] for page in pages for row in page.rows) == ["p/a", "p/b", "p/z", "p/é &"]
    assert sorted(prefix for page in pages for prefix in page.prefixes) == ["p/d/", "p/e/"]


@has_sessions
def test_listing_from_a_key_on(one: Any, server: S3Server) -> None:
    """Where a listing begins is not asked of the bucket, which cannot: what lies before is left out here."""
    assert {info.key for info in one.rows(start_after="p/d/1", page_size=2)} == {key for key in KEYS if key > "p/d/1"}
    assert all("start-after" not in record.query for record in server.requests.select("list"))


@has_sessions
def test_one_session_signs_all_requests(one: Any, server: S3Server) -> None:
    """One CreateSession serves listings and reads; each is signed with its keys and carries its token."""
    for info in one.rows(page_size=2):
        assert one.read(info) == info.key.encode()
    first, *others = server.requests.records
    assert "session" in first.query
    assert len(others) == 4 + len(KEYS)
    assert all(record.headers["x-amz-s3session-token"] for record in others)
    assert {record.status for record in server.requests.records} == {200}


@has_sessions
def test_session_that_is_refused(one: Any, server: S3Server) -> None:
    """A mount whose session is refused is told as any other refusal, not as a fault of an address."""
    server.faults.add(Fault.access_denied(purpose="other", times=None))
    with pytest.raises(errors.CannotAccessSource, match="CreateSession") as caught:
        one.rows()
    assert caught.value.reason == "access-denied"


@has_sessions
def test_forked_child_opens_a_session_of_its_own(one: Any, server: S3Server) -> None:
    """What a child forgets of its parent's it finds again: the next request works, after a new CreateSession."""
    info = one.rows()[0]
    one.store.after_fork()
    assert one.read(info) == info.key.encode()
    assert sum("session" in record.query for record in server.requests.records) == 2


@has_sessions
def test_server_refuses_what_directory_buckets_cannot(server: S3Server, one: Any) -> None:
    """The test server is as strict as S3: no request without a session, no start-after, no half names as prefixes."""
    import boto3
    from botocore.exceptions import ClientError

    key = server.credentials
    client = boto3.client(
        "s3", endpoint_url=server.url, region_name=server.region, aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
    )  # fmt: skip
    asked: list[tuple[dict[str, str], str]] = [({"StartAfter": "p/a"}, "NotImplemented")]
    asked += [({"Prefix": "p/a"}, "InvalidArgument"), ({"Delimiter": "-"}, "InvalidArgument")]
    for arguments, code in asked:
        with pytest.raises(ClientError) as caught:
            client.list_objects_v2(Bucket=BUCKET, **arguments)
        assert caught.value.response["Error"]["Code"] == code
    client.close()
    from urllib.error import HTTPError
    from urllib.request import urlopen

    with pytest.raises(HTTPError) as refused:
        urlopen(f"{server.url}/{BUCKET}/?list-type=2")
    assert ET.fromstring(refused.value.read()).findtext("Code") == "AccessDenied"
    refused.value.close()


@has_sessions
def test_session_is_made_anew_before_it_expires(server: S3Server, one: Any) -> None:
    """A session that is about to expire is replaced before a request is signed with it."""
    info = one.rows()[0]
    made = one.store._session._signing.how["identity_cache"].get_credentials(BUCKET)
    made._expiry_time = made._time_fetcher()
    assert one.read(info) == info.key.encode()
    assert sum("session" in record.query for record in server.requests.records) == 2


@has_sessions
def test_session_that_is_refused_as_expired(server: S3Server, one: Any) -> None:
    """A session that the server holds for expired, as where a clock is behind, is made anew, once."""
    first, second, *_ = one.rows()
    # The minutes of a session pass on the server only.
    server.clock_offset = 400
    assert one.read(first) == first.key.encode()
    assert one.read(second) == second.key.encode()
    assert sum("session" in record.query for record in server.requests.records) == 2


@has_sessions
def test_sessions_that_are_always_refused_as_expired(server: S3Server, one: Any) -> None:
    """Where a new session is refused as the old one was, a read ends after it, and is told."""
    info = one.rows()[0]
    server.faults.add(Fault.expired_token(purpose="get", times=None))
    with pytest.raises(errors.AccessDenied, match=f"s3://{BUCKET}/.*ExpiredToken"):
        one.read(info)
    assert sum("session" in record.query for record in server.requests.records) == 2
    assert server.requests.count("get") == 2


@has_sessions
def test_endpoint_of_sessions_that_is_not_there() -> None:
    """A directory bucket whose endpoint cannot be reached is told as unreachable, as any other bucket is."""
    settings = S3Settings(keys=Keys("AKID", "s3cret", ""), region="us-east-1", endpoint_url="http://127.0.0.1:1")
    store = S3Store(BUCKET, settings, Metrics(), clock=Clock(lambda: 0.0, lambda _: None, lambda: 0.0))
    with pytest.raises(errors.CannotAccessSource, match=r"127\.0\.0\.1:1") as caught:
        store.check_access("")
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize(
    ("bucket", "needed", "told"),
    [(MULTI_REGION, "s3v4a", "pip install awscrt"), (BUCKET, "v4-s3express", "botocore 1.33")],
)
def test_signature_that_botocore_cannot_make(
    bucket: str, needed: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where botocore lacks the signature that a bucket needs, the error says what to install; none is sent."""
    monkeypatch.delitem(AUTH_TYPE_MAPS, needed, raising=False)
    session = S3Session(bucket, S3Settings(keys=Keys("AKID", "s3cret", ""), region="us-east-1"))
    with pytest.raises(Failure) as caught:
        session.endpoint()
    assert told in f"{caught.value.detail}; {caught.value.next_step}"


@has_sigv4a
def test_multi_region_access_point_is_signed_for_all_regions() -> None:
    """Requests to a multi-region access point carry a SigV4a signature, which holds in every region."""
    keys = Keys("AKID", "s3cret", "")
    session = S3Session(MULTI_REGION, S3Settings(keys=keys, region="us-east-1"))
    endpoint = session.endpoint()
    assert endpoint.host == "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
    headers = {name.lower(): value for name, value in
               session.signed(f"{endpoint.url}/o", {"host": endpoint.host}, keys).items()}  # fmt: skip
    assert headers["authorization"].startswith("AWS4-ECDSA-P256-SHA256 ")
    assert headers["x-amz-region-set"] == "*"
