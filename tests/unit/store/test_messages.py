"""What a user reads when a mount or a read fails: the bucket or object, what was wrong, and what to do next."""

from __future__ import annotations

import base64
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.auth import AUTH_TYPE_MAPS

from vfsoverlay import errors
from vfsoverlay.testing import Credentials, Fault, S3Server
from vfsoverlay.testing.s3server import DEFAULT_CREDENTIALS

Opener = Callable[..., Any]


class Case(NamedTuple):
    """Something that keeps a mount from being made."""

    reason: str
    """Of ``CannotAccessSource``."""
    told: list[str]
    """What its message has, in this order; the last is the next step."""
    source: str = "s3://data/p/"
    options: dict[str, Any] = {}  # noqa: RUF012 - not changed
    fault: Fault | None = None
    clock: float = 0.0
    """Seconds by which the server is ahead."""


def error(code: str, message: str = "", **settings: Any) -> Fault:
    return Fault.error(code, message, times=None, **settings)


STRANGER = {"storage_options": {"key": "STRANGER", "secret": "s3cret"}}
CASES = {
    "no bucket": Case("bucket-missing", ["s3://missing/", "NoSuchBucket", "check the spelling"], "s3://missing/"),
    "no name of a bucket": Case("bucket-missing", ["s3://a b/", "no bucket can have this name", "check the spelling"],
                                "s3://a b/"),
    "denied": Case("access-denied", ["s3:ListBucket on s3://data/p/", "AccessDenied", "request id", "allow the action"],
                   options={"anon": False}, fault=Fault.access_denied(times=None)),
    "denied and unsigned": Case("no-credentials", ["s3://data/p/", "AccessDenied", "unsigned", "configure AWS cred"],
                                options={"anon": True}),
    "no credentials": Case("no-credentials", ["s3://data/p/", "anon=False", "no AWS credentials were found",
                                              "configure AWS credentials, or mount with anon=True"],
                           options={"anon": False, "storage_options": {}}),
    "no profile": Case("no-credentials", ["s3://data/", "nobody", "check its name, AWS_CONFIG_FILE"],
                       options={"profile": "nobody", "storage_options": {}}),
    "unknown key": Case("invalid-credentials", ["s3://data/p/", "InvalidAccessKeyId", "check the access key id"],
                        options=STRANGER),
    "wrong secret": Case("invalid-credentials", ["s3://data/p/", "SignatureDoesNotMatch", "the secret key"],
                         options={"storage_options": {"key": DEFAULT_CREDENTIALS.access_key, "secret": "wr0ng"}}),
    "expired": Case("expired-token", ["s3://data/p/", "ExpiredToken", "aws sso login"],
                    options={"storage_options": {"key": "OLD", "secret": "s3cret", "token": "t"}}),
    "clock": Case("clock-skew", ["s3://data/p/", "RequestTimeTooSkewed", "clock is wrong"],
                  options={"anon": False}, clock=4000),
    "wrong region": Case("wrong-region", ["s3://data/p/", "bucket is in region us-east-1", "give the option region"],
                         fault=Fault.wrong_region("us-east-1", times=None)),
    "region unknown": Case("wrong-region", ["s3://data/p/", "HTTP 307", "give the option region"],
                           fault=error("TemporaryRedirect", status=307)),
    "payer": Case("access-denied", ["s3://paid/", "AccessDenied", "requester_pays=True"], "s3://paid/",
                  options={"anon": False}),
    "nothing listens": Case("unreachable", ["s3://data/p/", "cannot connect to 127.0.0.1:1", "check endpoint_url"],
                            options={"endpoint_url": "http://127.0.0.1:1"}),
    "no such host": Case("unreachable", ["s3://data/p/", "store.invalid", "check endpoint_url, region, DNS"],
                         options={"endpoint_url": "http://store.invalid"}),
    "host that cannot be": Case("failed", ["s3://data/", 70 * "a", "check the source, region and endpoint_url"],
                                options={"endpoint_url": f"http://{70 * 'a'}.example"}),
    "endpoint that is no URL": Case("failed", ["s3://data/", "no url at all", "check the source, region"],
                                    options={"endpoint_url": "no url at all"}),
    "endpoint without a scheme": Case("failed", ["s3://data/", "localhost:9000", "check the source, region"],
                                      options={"endpoint_url": "localhost:9000"}),
    "port that is no number": Case("failed", ["s3://data/", "localhost:http", "check the source, region"],
                                   options={"endpoint_url": "http://localhost:http"}),
    "region that cannot be": Case("failed", ["s3://data/", "us east", "check the source, region and endpoint_url"],
                                  options={"region": "us east"}),
    "throttled": Case("failed", ["s3://data/p/", "HTTP 503 SlowDown", "attempts", "try again later"],
                      fault=Fault.slow_down(times=None)),
    "no store": Case("failed", ["s3://data/p/", "attempts", "check endpoint_url and proxies"],
                     fault=Fault.garbage_xml(times=None)),
    "proxy that asks who": Case("unreachable", ["s3://data/p/", "HTTP 407", "HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"],
                            fault=error("x", status=407)) ,
    "message of many lines": Case("failed", ["s3://data/p/", "HTTP 400 Odd, one two three, request id"],
                                  fault=error("Odd", "one\ntwo\u202e\r\n three", status=400)),
    "message without end": Case("failed", ["s3://data/p/", "HTTP 400 Odd, xxx", "x..., request id", "as asked"],
                                fault=error("Odd", "x" * 10_000, status=400)),
    "something new": Case("failed", ["s3://data/p/", "HTTP 400 SomethingNew", "told so", "cannot do this as asked"],
                          fault=error("SomethingNew", "told so", status=400)),
    "no directory": Case("bucket-missing", ["file:///no/such/directory/", "no such directory", "check the spelling"],
                         "file:///no/such/directory/", {}),
    "no directory but a file": Case("failed", [f"file://{__file__}/", "is a file", "mount the directory it lies in"],
                                    f"file://{__file__}/", {}),
    "session refused": Case("access-denied", ["s3://data--use1-az4--x-s3/", "CreateSession", "allow the action"],
                            "s3://data--use1-az4--x-s3/", {"anon": False}, Fault.access_denied(times=None)),
}  # fmt: skip


@pytest.fixture
def server(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """With buckets, an object, and credentials that have expired; the machine's own are not looked for."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server.create_bucket("data")
    server.create_bucket("paid", requester_pays=True)
    server.create_bucket("data--use1-az4--x-s3")
    server.put("data", "p/o", b"12345")
    server.add_credentials(Credentials("OLD", "s3cret", "t", expires=1.0))
    return server


def in_order(parts: list[str]) -> str:
    return ".*".join(map(re.escape, parts))


@pytest.mark.parametrize("name", CASES)
def test_mount_that_cannot_be_made(server: S3Server, opened: Opener, name: str) -> None:
    """Whoever mounts is told the source, what was wrong, and the next step; never a secret."""
    case = CASES[name]
    if "--x-s3" in case.source and "v4-s3express" not in AUTH_TYPE_MAPS:
        pytest.skip("botocore before 1.33 has no sessions")
    server.clock_offset = case.clock
    if case.fault is not None:
        server.faults.add(case.fault)
    on_server = {**server.mount_options(anon=False), "anon": None} if case.source.startswith("s3:") else {}
    with pytest.raises(errors.CannotAccessSource, match=in_order(case.told)) as caught:
        opened(case.source, deadline=1, **{**on_server, **case.options}).rows()
    assert caught.value.reason == case.reason
    assert caught.value.errno == errors.REASONS[case.reason]
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


KMS = "User: u is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:1:key/k"
#: What keeps an object from being read: the fault, the error, its message in this order.
READS: dict[str, tuple[Fault, type[OSError], list[str]]] = {
    "gone": (error("NoSuchKey"), FileNotFoundError, ["NoSuchKey", "refresh() lists again"]),
    "changed": (error("PreconditionFailed"), errors.StaleObject, ["PreconditionFailed", "on_change='reopen'"]),
    "denied": (Fault.access_denied(times=None), errors.AccessDenied, ["AccessDenied", "allow the action"]),
    "kms": (error("AccessDenied", KMS), errors.AccessDenied, ["key/k", "allow kms:Decrypt on its KMS key"]),
    "archived": (error("InvalidObjectState"), errors.ObjectArchived, ["aws s3api restore-object", "refresh()"]),
    "expired": (Fault.expired_token(times=None), errors.AccessDenied, ["ExpiredToken", "aws sso login"]),
    "out of order": (Fault.internal_error(times=None), errors.StoreUnavailable, ["HTTP 500", "attempts", "try again"]),
    "broken": (Fault.reset(times=None), errors.StoreUnavailable, ["attempts", "check the network"]),
    "other bytes": (Fault.short_body(times=None), errors.StoreUnavailable, ["attempts", "; "]),
    "stalled": (Fault.stall(20, after=2, times=None), errors.StoreTimeout, ["stopped sending", "raise the deadline"]),
}


@pytest.mark.parametrize("name", READS)
def test_object_that_cannot_be_read(server: S3Server, opened: Opener, name: str) -> None:
    """Whoever reads is told the object, what was wrong, and the next step."""
    fault, kind, told = READS[name]
    one = opened("s3://data/", deadline=0.5, **server.mount_options(anon=False))
    info = one.info("p/o")
    server.faults.add(fault)
    with pytest.raises(kind, match=in_order(["s3:GetObject on s3://data/p/o: ", *told])):
        one.read(info)


def test_key_that_cannot_be_printed(server: S3Server, opened: Opener) -> None:
    """A key with a line break or with bytes that are no text is named with escapes, and forges no line of a log."""
    one = opened("s3://data/", **server.mount_options(anon=False))
    info = one.info("p/o")._replace(key="p/a\nb\udcff")
    with pytest.raises(FileNotFoundError, match=r"'s3://data/p/a\\nb\\udcff': HTTP 404") as caught:
        one.read(info)
    assert str(caught.value).isprintable()


def test_customer_key_that_is_missing_or_another(server: S3Server, opened: Opener) -> None:
    """An object under SSE-C says which option takes its key, without one as with a wrong one; no key is shown."""
    server.put("data", "p/locked", b"12345", sse_customer_key=b"k" * 32)
    wrong = base64.b64encode(b"w" * 32).decode()
    options: list[dict[str, Any]] = [{}, {"sse_customer_key": wrong}]
    for given in options:
        one = opened("s3://data/", **given, **server.mount_options(anon=False))
        with pytest.raises(errors.AccessDenied, match=r"s3://data/p/locked: .*sse_customer_key") as caught:
            one.read(one.info("p/locked"))
        assert wrong not in str(caught.value)


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """The URL of a plain web server with one file."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.txt").write_text("12345")
    (tmp_path / "pages" / "large").write_bytes(bytes(range(256)) * 4000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Nothing to say."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_plain_web_server(website: str, opened: Opener) -> None:
    """A directory of a web server is a source; what fails is named by its URL, once."""
    pytest.importorskip("aiohttp")
    one = opened(f"{website}/pages/")
    info = one.info("a.txt")
    assert one.read(info) == b"12345"
    # It knows no ranges, and sends all whatever is asked for.
    assert one.read(one.info("large"), 600_000, 600_300) == (bytes(range(256)) * 4000)[600_000:600_300]
    with pytest.raises(FileNotFoundError, match=f"reading on {website}/pages/b.txt: "):
        one.read(info._replace(key="b.txt"))
    with pytest.raises(errors.CannotAccessSource, match=f"listing on {website}/nothing/: .*check the spelling"):
        opened(f"{website}/nothing/").rows()
