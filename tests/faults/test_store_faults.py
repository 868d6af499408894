"""Each fault of the server, met by each kind of request: right bytes after retries, or the documented error."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vfsoverlay import errors
from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.attempts import Clock
from vfsoverlay._store.s3_settings import S3Settings
from vfsoverlay._store.s3_store import S3Store
from vfsoverlay.testing import Fault, S3Server

CONTENT = os.urandom(900_000)
KEYS = [f"p/k{number:03d}" for number in range(20)]
PURPOSES: list[Purpose] = ["read", "readahead", "promotion", "warm"]


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        running.create_bucket("data", public=True)
        running.put("data", "p/object", CONTENT)
        for key in KEYS:
            running.put("data", key, key)
        yield running


class Waits:
    """Time that passes by sleeping only: a retry costs a test nothing, and a deadline comes soon."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep, lambda: 1.0)


def open_at(server: S3Server, *, deadline: float = 60.0) -> tuple[S3Store, Metrics]:
    metrics = Metrics()
    settings = S3Settings(anon=True, region=server.region, endpoint_url=server.url)
    return S3Store("data", settings, metrics, deadline=deadline, clock=Waits().clock()), metrics


def info_of(store: S3Store) -> ObjectInfo:
    return next(ObjectInfo(*row) for page in store.list_pages("p/") for row in page.rows if row[0] == "p/object")


def read(store: S3Store, info: ObjectInfo, start: int, stop: int, purpose: Purpose = "read") -> bytes:
    pieces: list[bytes] = []
    store.read_range(info, start, stop, lambda piece: pieces.append(bytes(piece)), purpose=purpose)
    return b"".join(pieces)


def read_begun(store: S3Store, info: ObjectInfo, purpose: Purpose = "read") -> bytes:
    """As ``read`` of all of it, begun over an idle connection and taken as it comes."""
    begun = store.begin(info, purpose)
    assert begun is not None
    while not begun.take():
        assert select.select([begun], [], [], 20)[0]
    content = begun.content()
    if content is not None:
        return content
    pieces: list[bytes] = []
    begun.finish(lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


#: Faults that pass: after them comes the right answer.
PASSING: dict[str, Callable[..., Fault]] = {
    "slow down": Fault.slow_down,
    "internal error": Fault.internal_error,
    "reset": Fault.reset,
    "reset in the body": lambda **when: Fault.reset(after_headers=True, **when),
    "cut body": lambda **when: Fault.cut_body(1000, **when),
    "short body": Fault.short_body,
    "wrong range": Fault.wrong_content_range,
    "proxy page 404": lambda **when: Fault.error("x", status=502, **when),
    "request timeout": lambda **when: Fault.error("RequestTimeout", **when),
    "throttled by 403": lambda **when: Fault.error("AccessDenied", "Reduce your request rate", status=403, **when),
}


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("span", [(0, len(CONTENT)), (1000, 600_001)], ids=["whole", "part"])
@pytest.mark.parametrize("name", PASSING)
def test_passing_fault_of_a_read(server: S3Server, name: str, span: tuple[int, int], purpose: Purpose) -> None:
    """Whatever passes, a read ends with the right bytes, each delivered once, and the retries are counted."""
    store, metrics = open_at(server)
    info = info_of(store)
    server.faults.add(PASSING[name](times=3, purpose="get"))
    assert read(store, info, *span, purpose) == CONTENT[slice(*span)]
    assert metrics.snapshot()[f"bytes.{purpose}"] == span[1] - span[0]
    if not (name == "wrong range" and span[0] == 0):  # a whole object is asked for without a range
        # The first reset meets the idle connection of the listing, which is replaced without ado.
        assert metrics.snapshot()["retries"] == (2 if name == "reset" else 3)
        assert server.faults.pending == 0
    store.close()


@pytest.mark.parametrize("name", ["nothing", "flipped bit", *PASSING])
def test_passing_fault_of_a_begun_read(server: S3Server, name: str) -> None:
    """A read that was begun without waiting ends with the right bytes as well, by the same attempts."""
    content = CONTENT[:200_000]
    store, metrics = open_at(server)
    server.put("data", "p/object", content, checksum="crc32")
    info = info_of(store)
    passing = {**PASSING, "flipped bit": lambda **when: Fault.flip_bit(10_000, **when)}
    if name != "nothing":
        server.faults.add(passing[name](times=3, purpose="get"))
    assert read_begun(store, info, "warm") == content
    counts = metrics.snapshot()
    assert counts["bytes.warm"] == len(content)
    if name not in ("nothing", "wrong range"):  # a whole object is asked for without a range
        assert counts["retries"] == (2 if name == "reset" else 3)
        assert server.faults.pending == 0
    assert server.requests.count("get") == counts["requests.warm"]
    # Whatever happened, the connection goes on or is gone.
    assert read(store, info, 10, 20) == content[10:20]
    store.close()


@pytest.mark.parametrize("name", [name for name in PASSING if name != "wrong range"] + ["garbage", "half a page"])
def test_passing_fault_of_a_listing(server: S3Server, name: str) -> None:
    """Whatever passes, a listing gives every key once."""
    more = {"garbage": Fault.garbage_xml, "half a page": Fault.truncated_page}
    store, _ = open_at(server)
    server.faults.add(({**PASSING, **more})[name](times=3, purpose="list"))
    keys = [row[0] for page in store.list_pages("p/", page_size=7) for row in page.rows]
    assert keys == [*KEYS, "p/object"]
    assert server.faults.pending == 0
    store.close()


#: Faults that never end: error of a reader, error of whoever mounts.
LASTING = {
    "slow down": (Fault.slow_down, errors.StoreUnavailable, "failed"),
    "internal error": (Fault.internal_error, errors.StoreUnavailable, "failed"),
    "reset": (Fault.reset, errors.StoreUnavailable, "unreachable"),
    "denied": (Fault.access_denied, errors.AccessDenied, "no-credentials"),
    "expired": (Fault.expired_token, errors.AccessDenied, "expired-token"),
    "missing bucket": (lambda **when: Fault.error("NoSuchBucket", **when), FileNotFoundError, "bucket-missing"),
    "clock": (lambda **when: Fault.error("RequestTimeTooSkewed", **when), errors.AccessDenied, "clock-skew"),
}


@pytest.mark.parametrize("reading", [lambda store, info: read(store, info, 0, info.size), read_begun])
@pytest.mark.parametrize("name", LASTING)
def test_lasting_fault_of_a_read(server: S3Server, name: str, reading: Callable[[S3Store, ObjectInfo], bytes]) -> None:
    """A fault that does not end is the documented error within the deadline, and ENOENT only where S3 says so."""
    fault, error, _ = LASTING[name]
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(fault(times=None, purpose="get"))
    with pytest.raises(error) as caught:
        reading(store, info)
    assert (caught.value.errno == errno.ENOENT) is (name == "missing bucket")
    server.faults.clear()
    assert read(store, info, 0, info.size) == CONTENT
    store.close()


@pytest.mark.parametrize("name", LASTING)
def test_lasting_fault_of_a_mount(server: S3Server, name: str) -> None:
    """A first listing that fails is CannotAccessSource with the reason; a later one is the error of a reader."""
    fault, error, reason = LASTING[name]
    store, _ = open_at(server)
    server.faults.add(fault(times=None, purpose="list"))
    with pytest.raises(errors.CannotAccessSource) as caught:
        store.check_access("p/")
    assert caught.value.reason == reason
    server.faults.clear()
    store.check_access("p/")
    server.faults.add(fault(times=None, purpose="list"))
    with pytest.raises(error) as later:
        list(store.list_pages("p/"))
    assert not isinstance(later.value, errors.MountError)
    store.close()


class _UnwantedError(Exception):
    """Raised by a sink whose reader has gone."""


@pytest.mark.parametrize("name", [name for name in PASSING if name not in ("wrong range", "reset")])
def test_nothing_is_tried_again_for_nobody(server: S3Server, name: str) -> None:
    """Before it tries again, a store asks the sink, which ends the read where nobody wants the rest."""
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(PASSING[name](times=None, purpose="get"))

    def sink(piece: memoryview) -> None:
        if not piece:
            raise _UnwantedError

    with pytest.raises(_UnwantedError):
        store.read_range(info, 0, info.size, sink)
    assert server.requests.count("get") == 1
    store.close()


def test_resume_begins_behind_the_last_byte(server: S3Server) -> None:
    """After a cut body only the rest is asked for, again pinned to the version."""
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(Fault.cut_body(500_000, purpose="get"))
    assert read(store, info, 0, info.size) == CONTENT
    first, second = server.requests.select("get")
    delivered = int((second.range or "").removeprefix("bytes=").partition("-")[0])
    assert first.range is None
    assert 0 < delivered <= 500_000
    assert second.if_match == f'"{info.etag}"'
    assert server.requests.bytes_sent("get") <= 500_000 + info.size - delivered
    store.close()


@pytest.mark.parametrize("fault", [[], [Fault.ignore_if_match(times=None)]], ids=["412", "If-Match ignored"])
def test_begun_read_of_a_replaced_object(server: S3Server, fault: list[Fault]) -> None:
    """An object of another version than the listed one is ESTALE for a read that was begun as well, after one GET."""
    store, _ = open_at(server)
    info = info_of(store)
    server.put("data", "p/object", os.urandom(len(CONTENT)))
    server.faults.add(*fault)
    with pytest.raises(errors.StaleObject):
        read_begun(store, info)
    assert server.requests.count("get") == 1
    store.close()


def test_begun_read_of_an_answer_without_end(server: S3Server) -> None:
    """An answer that goes on and on is not taken into memory before it is looked at, and then refused."""
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(Fault("body", {"body": bytes(40 * 1024**2)}, purpose="get", times=None))
    begun = store.begin(info, "warm")
    assert begun is not None
    while not begun.take():
        assert select.select([begun], [], [], 20)[0]
    assert len(begun._sent.exchange.peek()) <= 1024**2 + 64 * 1024
    assert begun.content() is None
    with pytest.raises(errors.StoreUnavailable):
        begun.finish(lambda _: None)
    store.close()


def test_begun_read_needs_an_idle_connection(server: S3Server) -> None:
    """Where no connection is idle, nothing is begun and nothing sent; one that the server has closed is replaced."""
    store, metrics = open_at(server)
    info = info_of(store)
    first = store.begin(info, "warm")
    assert first is not None
    assert store.begin(info, "warm") is None
    first.close()
    assert store.begin(info, "warm") is None
    assert metrics.snapshot()["requests.warm"] == 1
    assert read(store, info, 0, 10) == CONTENT[:10]
    assert read_begun(store, info) == CONTENT
    store.close()


@pytest.mark.parametrize("pinned", [True, False], ids=["412", "If-Match ignored"])
def test_object_replaced_in_the_middle(server: S3Server, pinned: bool) -> None:
    """An object overwritten between two attempts is ESTALE: never the beginning of one and the end of another."""
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(Fault.cut_body(300_000, purpose="get"))
    server.faults.add(Fault.replace_object(os.urandom(len(CONTENT)), purpose="get", skip=1))
    if not pinned:
        server.faults.add(Fault.ignore_if_match(times=None))
    pieces: list[bytes] = []
    with pytest.raises(errors.StaleObject):
        store.read_range(info, 0, info.size, lambda piece: pieces.append(bytes(piece)))
    assert CONTENT.startswith(b"".join(pieces))
    store.close()


def test_wrong_range_that_lasts_is_an_error(server: S3Server) -> None:
    """A server that always sends other bytes than asked for is EIO after a few attempts, without a byte delivered."""
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(Fault.wrong_content_range(times=None))
    with pytest.raises(errors.StoreUnavailable, match="were asked for"):
        read(store, info, 10, 20)
    assert server.requests.count("get") == 4
    store.close()


def test_stalled_server_is_a_timeout(server: S3Server) -> None:
    """A server that stops in the middle of a body is given up at the deadline, as ETIMEDOUT."""
    metrics = Metrics()
    settings = S3Settings(anon=True, region=server.region, endpoint_url=server.url)
    store = S3Store("data", settings, metrics, deadline=0.3)
    info = info_of(store)
    server.faults.add(Fault.stall(60, after=10, purpose="get", times=None))
    with pytest.raises(errors.StoreTimeout) as caught:
        read(store, info, 0, info.size)
    assert caught.value.errno == errno.ETIMEDOUT
    assert isinstance(caught.value, TimeoutError)
    store.close()


def test_trickling_server_is_a_timeout(server: S3Server) -> None:
    """A server that sends a few bytes now and then, too few for the deadline, is given up in time."""
    settings = S3Settings(anon=True, region=server.region, endpoint_url=server.url)
    store = S3Store("data", settings, Metrics(), deadline=0.3)
    info = info_of(store)
    server.bandwidth = 10_000
    with pytest.raises(errors.StoreTimeout):
        read(store, info, 0, info.size)
    store.close()


def test_versions_that_do_not_advance(server: S3Server) -> None:
    """A listing of versions that goes on at the same place again ends in an error, too."""
    fields = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>"
    )
    body = f"<ListVersionsResult>{fields}</ListVersionsResult>".encode()
    settings = S3Settings(anon=True, region=server.region, endpoint_url=server.url)
    store = S3Store("data", settings, Metrics(), version_at="2030-01-01T00:00:00Z")
    server.faults.add(Fault("body", {"body": body}, times=None))
    with pytest.raises(errors.StoreUnavailable, match="goes on"):
        list(store.list_pages("p/"))
    assert len(server.requests) == 2
    store.close()


class _Endless(HTTPServer):
    """Answers every listing with these keys, and says that it goes on: at 0, 1, 2 ..., or over again after *circle*."""

    def __init__(self, keys: str, circle: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _EndlessAnswer)
        self.keys = keys
        self.circle = circle
        self.pages = 0

    def page(self) -> bytes:
        token = self.pages % self.circle if self.circle else self.pages
        self.pages += 1
        date = "<LastModified>2020-01-01T00:00:00Z</LastModified>"
        rows = "".join(f"<Contents><Key>p/{key}</Key>{date}<Size>1</Size></Contents>" for key in self.keys)
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        return f"<ListBucketResult>{more}{rows}</ListBucketResult>".encode()


class _EndlessAnswer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        assert isinstance(self.server, _Endless)
        body = self.server.page()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing to say."""


@pytest.mark.parametrize(
    ("keys", "circle", "told", "pages"),
    [
        ("", None, "1000 pages without a new key", 1000),
        ("a", None, "1000 pages without a new key", 1001),
        ("ba", None, "1000 pages without a new key", 1001),
        ("a", 2, "where it has been before", 3),
        ("", 7, "where it has been before", 8),
    ],
)
def test_listing_of_endless_pages(keys: str, circle: int | None, told: str, pages: int) -> None:
    """A server that says "more" for ever, and each time where, but has nothing new or goes in a circle, is an error."""
    with _Endless(keys, circle) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        settings = S3Settings(anon=True, region="us-east-1", endpoint_url=f"http://127.0.0.1:{running.server_port}")
        store = S3Store("data", settings, Metrics())
        with pytest.raises(errors.StoreUnavailable, match=told):
            for _ in zip(store.list_pages("p/"), range(2000), strict=False):
                pass
        store.close()
        running.shutdown()
        thread.join()
    assert running.pages == pages


def test_page_without_end(server: S3Server) -> None:
    """A body that is longer than any page can be is given up before it fills the memory."""
    store, _ = open_at(server)
    server.faults.add(Fault("body", {"body": bytes(40 * 1024**2)}, purpose="list", times=None))
    with pytest.raises(errors.CannotAccessSource, match="longer than 32 MiB"):
        store.check_access("p/")
    store.close()


def test_listing_that_does_not_advance(server: S3Server) -> None:
    """A server that says "more" but not where, or the same place again, ends in an error and not in an endless loop."""
    body = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        b"</ListBucketResult>"
    )
    store, _ = open_at(server)
    server.faults.add(Fault("body", {"body": body}, purpose="list", times=None))
    with pytest.raises(errors.StoreUnavailable, match="goes on"):
        list(store.list_pages("p/"))
    assert server.requests.count("list") == 2
    store.close()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://[::1]:1", "http://endpoint.invalid"])
def test_endpoint_that_is_not_there(endpoint: str) -> None:
    """A mount at an endpoint that refuses or does not exist fails after a few attempts and names it."""
    waits = Waits()
    settings = S3Settings(anon=True, region="us-east-1", endpoint_url=endpoint)
    store = S3Store("data", settings, Metrics(), clock=waits.clock())
    with pytest.raises(errors.CannotAccessSource, match=endpoint.removeprefix("http://").replace("[", r"\[")) as caught:
        store.check_access("")
    assert caught.value.reason == "unreachable"
    assert waits.now < 1


def test_plain_server_under_an_https_url() -> None:
    """TLS to a port that does not speak it is told as such, at once."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(4096)

    thread = threading.Thread(target=answer)
    thread.start()
    settings = S3Settings(anon=True, region="us-east-1", endpoint_url=f"https://127.0.0.1:{listener.getsockname()[1]}")
    with listener, pytest.raises(errors.CannotAccessSource) as caught:
        S3Store("data", settings, Metrics()).check_access("")
    thread.join()
    assert caught.value.reason == "tls"


def test_store_leaves_no_thread_and_no_connection(server: S3Server) -> None:
    """After reads, faults and close(), no thread and no connection of the store is left."""
    before = set(threading.enumerate())
    store, _ = open_at(server)
    info = info_of(store)
    server.faults.add(Fault.cut_body(10, purpose="get"), Fault.internal_error(purpose="get", skip=2))
    read(store, info, 0, info.size)
    store.close()
    gone = threading.Event()
    for _ in range(500):
        if not server._connections:
            break
        gone.wait(0.01)
    assert not server._connections
    assert not set(threading.enumerate()) - before
