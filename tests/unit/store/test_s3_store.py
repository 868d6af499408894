"""A bucket through the built-in client: requests, versions, signatures and features of S3."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

import pytest

from vfsoverlay import errors
from vfsoverlay._metrics import Metrics
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.credentials import CredentialChain
from vfsoverlay._store.s3_session import S3Session
from vfsoverlay._store.s3_settings import S3Settings
from vfsoverlay._store.s3_store import S3Store
from vfsoverlay.testing import Credentials, Fault, S3Server

ODD_KEYS = ["p/a", "p/a/b", "p/ +%&é\n", "p/x//y", "p/d/", "p/~'()*!@:;=,?#[]", "p/../z", "p/\U0001f600", "p/\x01"]

Opener = Callable[..., Any]


@pytest.fixture(params=[True, False], ids=["anonymous", "signed"])
def anon(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_every_odd_key_is_listed_and_read(server: S3Server, opened: Opener, anon: bool) -> None:
    """Keys with spaces, signs, dots, control characters and emoji are listed as they are and read, signed or not."""
    server.create_bucket("data", public=anon)
    for key in ODD_KEYS:
        server.put("data", key, f"<{key}>")
    one = opened("s3://data/p/", **server.mount_options(anon=anon))
    rows = one.rows()
    assert sorted(row.key for row in rows) == sorted(ODD_KEYS)
    assert all(one.read(row) == f"<{row.key}>".encode() for row in rows)
    assert all(one.read(row, 1, row.size - 1) == row.key.encode() for row in rows)
    assert server.requests.count("head") == 0


@pytest.mark.parametrize("page_size", [1, 2, 1000])
@pytest.mark.parametrize("start_after", ["", "p/k3", "p/k35"])
def test_pages_cover_all_keys_once(server: S3Server, opened: Opener, page_size: int, start_after: str) -> None:
    """Whatever the page size, all keys behind start_after come once and in order."""
    server.create_bucket("data", public=True)
    keys = [f"p/k{number}" for number in range(10)]
    for key in [*keys, "other"]:
        server.put("data", key, b"x")
    one = opened("s3://data/p/", **server.mount_options())
    found = [row.key for row in one.rows(page_size=page_size, start_after=start_after)]
    assert found == [key for key in keys if key > start_after]


class OldServer(ThreadingHTTPServer):
    """Stands before a server, and knows the first version of the listing only: what came later it ignores."""

    daemon_threads = True

    def __init__(self, behind: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Forgetful)
        self.behind = behind
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Forgetful(BaseHTTPRequestHandler):
    server: OldServer  # type: ignore[mutable-override]  # as socketserver documents it

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        later = ("list-type", "start-after", "continuation-token")
        kept = "&".join(part for part in query.split("&") if part.partition("=")[0] not in later)
        with urlopen(f"{self.server.behind.url}{path}?{kept}") as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing to say."""


@pytest.fixture
def old_server(server: S3Server) -> Iterator[OldServer]:
    with OldServer(server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("start_after", ["", "p/b", "p/k05"])
@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_server_that_knows_the_first_listing_only(
    server: S3Server, old_server: OldServer, opened: Opener, page_size: int, start_after: str
) -> None:
    """Without tokens and start-after, which came with the second version of the listing, each key is listed once."""
    server.create_bucket("data", public=True)
    keys = ["p/a", "p/é &", *(f"p/k{number:02}" for number in range(10))]
    for key in keys:
        server.put("data", key, b"x")
    one = opened("s3://data/p/", endpoint_url=old_server.url, region=server.region, anon=True)
    found = [row.key for row in one.rows(page_size=page_size, start_after=start_after)]
    assert found == sorted(key for key in keys if key > start_after)


def test_listing_of_one_level(server: S3Server, opened: Opener) -> None:
    """With a delimiter, a page has the objects of the level and the common prefixes below it."""
    server.create_bucket("data", public=True)
    for key in ("p/a", "p/b c/1", "p/b c/2", "p/z/1"):
        server.put("data", key, b"x")
    one = opened("s3://data/p/", **server.mount_options())
    pages = list(one.store.list_pages("p/", delimiter="/"))
    assert [row[0] for page in pages for row in page.rows] == ["p/a"]
    assert [prefix for page in pages for prefix in page.prefixes] == ["p/b c/", "p/z/"]


def test_check_costs_one_request_and_none_after_a_listing(server: S3Server, opened: Opener) -> None:
    """check_access sends one request at most; a listing that worked proves as much."""
    server.create_bucket("data", public=True)
    one = opened("s3://data/", **server.mount_options())
    one.store.check_access("")
    one.store.check_access("")
    assert server.requests.count("list") == 1
    assert one.metrics.snapshot()["requests.list"] == 1


def test_read_of_a_whole_object_is_one_pinned_get(server: S3Server, opened: Opener) -> None:
    """A whole object takes one GET with If-Match and no Range; a part of it takes one with both; each is counted."""
    server.create_bucket("data", public=True)
    content = os.urandom(3_000_000)
    server.put("data", "o", content)
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    assert one.read(info) == content
    assert one.read(info, 1, 2_500_000) == content[1:2_500_000]
    whole, part = server.requests.select("get")
    assert (whole.range, part.range) == (None, "bytes=1-2499999")
    assert whole.if_match == part.if_match == f'"{info.etag}"'
    assert one.metrics.snapshot()["requests.read"] == 2
    assert one.metrics.snapshot()["bytes.read"] == len(content) + 2_499_999


def test_purpose_is_counted(server: S3Server, opened: Opener) -> None:
    """Requests and bytes are counted under the purpose they were made for."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options())
    one.store.read_range(one.info("o"), 0, 5, bytes, purpose="readahead")
    assert one.metrics.snapshot()["requests.readahead"] == 1
    assert one.metrics.snapshot()["bytes.readahead"] == 5


def test_connection_is_used_again(server: S3Server, opened: Opener) -> None:
    """Requests one after another share a connection, also after an error answer."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    with pytest.raises(FileNotFoundError):
        one.read(info._replace(key="absent"))
    for _ in range(5):
        one.read(info)
    assert len(server._connections) == 1


def test_connection_that_the_server_closed_is_replaced(server: S3Server, opened: Opener) -> None:
    """A connection closed while idle costs no retry: the request goes out on a new one."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    for connection in list(server._connections):
        connection.shut_down()
    assert one.read(info) == b"12345"
    assert "retries" not in one.metrics.snapshot()


@pytest.mark.parametrize("ignored", [[], [Fault.ignore_if_match(times=None)]], ids=["412", "If-Match ignored"])
@pytest.mark.parametrize("part", [False, True], ids=["whole", "part"])
def test_another_version_is_stale(server: S3Server, opened: Opener, ignored: list[Fault], part: bool) -> None:
    """An object overwritten since it was listed raises ESTALE, on servers that ignore If-Match as well."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    server.put("data", "o", b"54321")
    server.faults.add(*ignored)
    with pytest.raises(errors.StaleObject) as caught:
        one.read(info, 1 if part else 0)
    assert caught.value.errno == errno.ESTALE
    assert "s3://data/o" in str(caught.value)


def test_version_without_an_etag_is_told_by_time_and_size(server: S3Server, opened: Opener) -> None:
    """Where neither listing nor answer has an ETag, another size or time means another version."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345", last_modified=1_000_000)
    server.faults.add(Fault.no_etag(times=None, purpose="get"))
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")._replace(etag="")
    assert one.read(info) == b"12345"
    for change in ({"mtime_ns": 10**9}, {"size": 4}):
        with pytest.raises(errors.StaleObject):
            one.read(info._replace(**change), 1, 3)


def test_answers_without_etags_are_of_one_version(server: S3Server, opened: Opener) -> None:
    """A server that ignores If-Match and answers without ETags gives the bytes of the listed version, or ESTALE."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345", last_modified=1_000_000)
    server.faults.add(Fault.no_etag(times=None, purpose="get"), Fault.ignore_if_match(times=None, purpose="get"))
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    assert one.read(info, 0, 3) == b"123"
    server.put("data", "o", b"54321", last_modified=1_000_001)
    with pytest.raises(errors.StaleObject):
        one.read(info, 3, 5)


def test_absent_key(server: S3Server, opened: Opener) -> None:
    """A listed key that is gone is FileNotFoundError, which names it and says what to do."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    server.delete("data", "o")
    with pytest.raises(
        FileNotFoundError, match=r"s3:GetObject on s3://data/o: HTTP 404 NoSuchKey.*request id.*refresh"
    ):
        one.read(info)


def test_compressed_object_is_delivered_as_stored(server: S3Server, opened: Opener) -> None:
    """An object with Content-Encoding: gzip has the bytes and the size that are stored."""
    server.create_bucket("data", public=True)
    stored = gzip.compress(b"text" * 1000)
    server.put("data", "o.gz", stored, headers={"Content-Encoding": "gzip"})
    one = opened("s3://data/", **server.mount_options())
    assert one.read(one.info("o.gz")) == stored


def test_server_that_ignores_range(server: S3Server, opened: Opener) -> None:
    """A server that sends the whole object for a range still gives the right bytes of it."""
    server.create_bucket("data", public=True)
    content = os.urandom(700_000)
    server.put("data", "o", content)
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    server.faults.add(Fault.ignore_range(times=None))
    assert one.read(info, 300_001, 600_002) == content[300_001:600_002]


@pytest.mark.parametrize("name", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
@pytest.mark.parametrize("size", [5, 300_000])
def test_checksum_of_a_whole_object_is_verified(server: S3Server, opened: Opener, name: str, size: int) -> None:
    """A flipped bit in a whole object with a checksum never goes unnoticed: it is fetched again, or EIO."""
    if name in ("crc32c", "crc64nvme"):
        pytest.importorskip("awscrt.checksums", reason="pip install vfsoverlay[crt]")
    server.create_bucket("data", public=True)
    content = os.urandom(size)
    server.put("data", "o", content, checksum=name)
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    server.faults.add(Fault.flip_bit(size - 1, purpose="get"))
    if size == 5:
        assert one.read(info) == content
        assert one.metrics.snapshot()["retries"] == 1
        return
    taken: list[bytes] = []
    with pytest.raises(errors.ObjectDamaged, match=name):
        one.store.read_range(info, 0, size, lambda piece: taken.append(bytes(piece)))
    assert len(b"".join(taken)) < size


def test_object_of_several_parts(server: S3Server, opened: Opener) -> None:
    """An object that was uploaded in parts has an ETag and a checksum made of theirs, and is read by one pinned GET."""
    server.create_bucket("data", public=True)
    composite = {"x-amz-checksum-crc32": "AAAAAA==-2", "x-amz-checksum-type": "COMPOSITE"}
    server.put("data", "o", b"12345", etag=f"{'0' * 32}-2", headers=composite)
    one = opened("s3://data/", **server.mount_options())
    assert one.read(one.info("o")) == b"12345"
    (get,) = server.requests.select("get")
    assert get.if_match == f'"{"0" * 32}-2"'


def test_archived_object(server: S3Server, opened: Opener) -> None:
    """An archived object is listed with its class and raises EACCES, which says how to restore it; a restored one i."""
    server.create_bucket("data", public=True)
    server.put("data", "cold", b"12345", storage_class="GLACIER")
    server.put(
        "data",
        "warm",
        b"12345",
        storage_class="GLACIER",
        restore='ongoing-request="false", expiry-date="Fri, 21 Dec 2040 00:00:00 GMT"',
    )
    one = opened("s3://data/", **server.mount_options())
    cold = one.info("cold")
    assert cold.storage_class == "GLACIER"
    with pytest.raises(errors.ObjectArchived, match="restore") as caught:
        one.read(cold)
    assert isinstance(caught.value, PermissionError)
    assert one.read(one.info("warm")) == b"12345"


def test_requester_pays(server: S3Server, opened: Opener) -> None:
    """A requester-pays bucket is listed and read with requester_pays=True, and refuses without."""
    server.create_bucket("data", requester_pays=True)
    server.put("data", "o", b"12345")
    one = opened("s3://data/", requester_pays=True, **server.mount_options(anon=False))
    assert one.read(one.info("o")) == b"12345"
    with pytest.raises(errors.CannotAccessSource) as caught:
        opened("s3://data/", **server.mount_options(anon=False)).rows()
    assert caught.value.reason == "access-denied"


def test_point_in_time_of_a_versioned_bucket(server: S3Server, opened: Opener) -> None:
    """version_at shows the bucket as it was: old contents, deleted objects, nothing younger."""
    server.create_bucket("data", public=True, versioned=True)
    server.put("data", "p/changed", b"old", last_modified=1000)
    server.put("data", "p/changed", b"newer", last_modified=3000)
    server.put("data", "p/young", b"x", last_modified=3000)
    server.put("data", "p/same", b"same", last_modified=1000)
    at = "1970-01-01T00:30:00Z"
    for page_size in (1, 1000):
        one = opened("s3://data/p/", version_at=at, **server.mount_options())
        rows = one.rows(page_size=page_size)
        assert {row.key: one.read(row) for row in rows} == {"p/changed": b"old", "p/same": b"same"}


def test_customer_key_opens_what_it_locked_and_nothing_else_needs_it(server: S3Server, opened: Opener) -> None:
    """With sse_customer_key, objects under SSE-C and plain ones are read from one bucket; no repr has the key."""
    from vfsoverlay._spec import Mount

    key = base64.b64encode(b"k" * 32).decode()
    name = "x-amz-server-side-encryption-customer-"
    headers = {
        f"{name}algorithm": "AES256",
        f"{name}key": key,
        f"{name}key-md5": base64.b64encode(hashlib.md5(b"k" * 32).digest()).decode(),
    }
    server.create_bucket("data", public=["list", "get", "put"])
    with urlopen(Request(f"{server.url}/data/locked", b"12345", headers, method="PUT")):
        pass
    server.put("data", "plain", b"54321")
    one = opened("s3://data/", sse_customer_key=key, **server.mount_options())
    assert one.read(one.info("locked")) == b"12345"
    assert one.read(one.info("plain")) == b"54321"
    with pytest.raises(errors.AccessDenied, match="sse_customer_key") as caught:
        opened("s3://data/", **server.mount_options()).read(one.info("locked"))
    assert key not in str(caught.value) + repr(Mount("s3://data/", "/d", sse_customer_key=key))


@pytest.mark.parametrize("key", ["short", base64.b64encode(b"k").decode(), "é" * 32])
def test_customer_key_of_the_wrong_form(server: S3Server, opened: Opener, key: str) -> None:
    """A customer key that is not 32 bytes in base64 is refused without being shown."""
    with pytest.raises(ValueError, match="32 bytes") as caught:
        opened("s3://data/", sse_customer_key=key, **server.mount_options())
    assert key not in str(caught.value)


def test_bucket_in_another_region_is_followed(server: S3Server, opened: Opener) -> None:
    """A bucket that lies elsewhere is read there after one more request, signed for its region."""
    server.create_bucket("data", region="eu-west-1")
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options(anon=False))
    assert one.read(one.info("o")) == b"12345"
    assert "/eu-west-1/s3/" in server.requests.records[-1].headers["authorization"]
    assert one.metrics.snapshot()["requests.list"] == 2


def test_region_that_cannot_be_followed(server: S3Server, opened: Opener) -> None:
    """A bucket that is always elsewhere fails with the region in the message."""
    server.create_bucket("data", public=True)
    server.faults.add(Fault.wrong_region("us-east-1", times=None))
    with pytest.raises(errors.CannotAccessSource, match="us-east-1") as caught:
        opened("s3://data/", **server.mount_options()).rows()
    assert caught.value.reason == "wrong-region"


def test_sink_that_raises_ends_the_read(server: S3Server, opened: Opener) -> None:
    """An exception of the sink (a full disk) comes out as it is, without a retry, and the store goes on working."""
    server.create_bucket("data", public=True)
    server.put("data", "o", bytes(1_000_000))
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")

    def full(piece: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        one.store.read_range(info, 0, info.size, full)
    assert caught.value.errno == 28
    assert server.requests.count("get") == 1
    assert one.read(info) == bytes(1_000_000)


def test_threads_share_a_store(server: S3Server, opened: Opener) -> None:
    """Many threads read different ranges through one store, each the right bytes."""
    server.create_bucket("data", public=True)
    content = os.urandom(1_600_000)
    server.put("data", "o", content)
    one = opened("s3://data/", **server.mount_options())
    info = one.info("o")
    wrong: list[int] = []

    def read(number: int) -> None:
        starts = range(number * 1000, len(content), 160_000)
        wrong.extend(at for at in starts if one.read(info, at, at + 1000) != content[at : at + 1000])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_origin_tells_buckets_and_endpoints_apart(server: S3Server, opened: Opener) -> None:
    """Two buckets, or one name on two servers, are different origins; on AWS the region makes no difference."""
    here = server.mount_options()
    names = {
        opened("s3://data/", **here).store.origin,
        opened("s3://other/", **here).store.origin,
        opened("s3://data/", endpoint_url="http://127.0.0.1:9", anon=True).store.origin,
        opened("s3://data/", anon=True, region="eu-west-1").store.origin,
        opened("s3://data/", anon=True).store.origin,
    }
    assert len(names) == 4


def test_access_point_is_addressed_by_its_own_host(opened: Opener) -> None:
    """An access point's ARN becomes its host name and region, without a request."""
    store = opened("s3://arn:aws:s3:us-west-2:123456789012:accesspoint/mine/p/", anon=True).store
    endpoint = store._session.endpoint()
    assert endpoint.host == "mine-123456789012.s3-accesspoint.us-west-2.amazonaws.com"
    assert endpoint.region == "us-west-2"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child_reads(server: S3Server, opened: Opener) -> None:
    """After reads in the parent, a forked child reads through the same store, and so does the parent afterwards."""
    server.create_bucket("data")
    server.put("data", "o", b"12345")
    one = opened("s3://data/", **server.mount_options(anon=False))
    info = one.info("o")
    one.read(info)
    child = os.fork()
    if child == 0:
        one.store.after_fork()
        os._exit(0 if one.read(info) == b"12345" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one.read(info) == b"12345"


def test_temporary_credentials_are_renewed_when_refused_as_expired(
    server: S3Server, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When credentials are refused as expired, the chain is asked again, and newer ones make the read succeed."""
    server.create_bucket("data")
    server.put("data", "o", b"12345")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.add_credentials(Credentials("OLD", "secret", "token"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    one = opened("s3://data/")
    info = one.info("o")
    server.add_credentials(Credentials("OLD", "secret", "token", expires=1.0))
    with pytest.raises(errors.AccessDenied, match="ExpiredToken"):
        one.read(info)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    assert one.read(info) == b"12345"


def test_credentials_that_come_after_the_first_refusal(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is refused unsigned looks for credentials again: they may have been late, and the next request has them."""
    server.create_bucket("data")
    server.put("data", "o", b"12345")
    now = [0.0]
    settings = S3Settings(endpoint_url=server.url, region=server.region)
    chain = CredentialChain(settings, reachable=lambda _: False, now=lambda: now[0])
    store = S3Store("data", settings, Metrics(), session=S3Session("data", settings, credentials=chain))
    with pytest.raises(errors.CannotAccessSource) as caught:
        store.check_access("")
    assert caught.value.reason == "no-credentials"
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    now[0] = 60.0
    store.check_access("")
    assert [record.authorization for record in server.requests.records][-2:] == ["none", "header"]
    store.close()


def test_signed_refusal_of_public_data_falls_back_once(
    server: S3Server, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused credentials do not keep from public data: unsigned from then on, said once; anon=False forbids it."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    options = {"endpoint_url": server.url, "storage_options": {"key": "stranger", "secret": "hidden-secret"}}
    one = opened("s3://data/", **options)
    assert one.read(one.info("o")) == b"12345"
    one.read(one.info("o"))
    said = [record.getMessage() for record in caplog.records if record.name == "vfsoverlay"]
    assert [text.split(" on ")[0] for text in said] == ["s3:ListBucket", "s3:GetObject"]
    assert "hidden-secret" not in "".join(said)
    with pytest.raises(errors.CannotAccessSource) as caught:
        opened("s3://data/", anon=False, **options).rows()
    assert caught.value.reason == "invalid-credentials"


def test_row_is_an_object_info(server: S3Server, opened: Opener) -> None:
    """A row has the fields of ObjectInfo in order: key, size, time, bare ETag, class, version."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345", last_modified=1000)
    one = opened("s3://data/", **server.mount_options())
    assert one.rows() == [ObjectInfo("o", 5, 1000 * 10**9, hashlib.md5(b"12345").hexdigest(), "", "")]
