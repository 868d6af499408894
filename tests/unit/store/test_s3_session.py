"""Credentials, endpoint and region are found as the AWS tools find them, and never waited for in vain."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay._spec import Mount
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.s3_session import S3Session
from vfsoverlay._store.s3_settings import Keys, S3Settings, settings_from

FOUND = Keys("AKID", "s3cret", "tok")


class Probe:
    """Finds no metadata service, and remembers where it looked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, url: str) -> bool:
        self.asked.append(url)
        return False


def session(**settings: Any) -> S3Session:
    return S3Session("bucket", S3Settings(**settings), reachable=Probe())


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the AWS configuration file."""

    def write(text: str) -> None:
        path = tmp_path / "config"
        path.write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))

    return write


def test_no_credentials_anywhere() -> None:
    """Without credentials there are no keys, and requests go unsigned."""
    assert session().keys() is None


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's keys are used, unless anon=True or others are given."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "tok")
    assert session().keys() == FOUND
    assert session(anon=True).keys() is None
    assert session(keys=Keys("a", "b", "")).keys() == Keys("a", "b", "")


def test_keys_of_a_profile(config: Callable[[str], None]) -> None:
    """A profile gives keys, region and endpoint."""
    config(
        "[profile p]\naws_access_key_id=AKID\naws_secret_access_key=s3cret\naws_session_token=tok\n"
        "region=eu-north-1\nendpoint_url=http://127.0.0.1:9\n"
    )
    one = session(profile="p")
    assert one.keys() == FOUND
    assert one.endpoint().url == "http://127.0.0.1:9"
    assert one.endpoint().region == "eu-north-1"


def test_profile_that_does_not_exist() -> None:
    """An unknown profile is told as such, not as missing credentials of somebody else."""
    with pytest.raises(Failure, match="nobody") as caught:
        session(profile="nobody").endpoint()
    assert caught.value.kind is Kind.NO_CREDENTIALS


def test_keys_of_a_process(config: Callable[[str], None], tmp_path: Path) -> None:
    """credential_process is run, and run again when what it gave has expired."""
    script = tmp_path / "give.py"
    counter = tmp_path / "count"
    script.write_text(
        "import json, pathlib\n"
        f"count = pathlib.Path({str(counter)!r})\n"
        "count.write_text(count.read_text() + 'x' if count.exists() else 'x')\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKID' + count.read_text(), 'SecretAccessKey': 's',\n"
        "                  'SessionToken': 't', 'Expiration': '2001-01-01T00:00:00Z' if count.read_text() == 'x'\n"
        "                  else '2999-01-01T00:00:00Z'}))\n"
    )
    config(f"[default]\ncredential_process={sys.executable} {script}\n")
    one = session()
    assert one.keys() == Keys("AKIDxx", "s", "t")
    assert one.keys() == Keys("AKIDxx", "s", "t")


class ContainerRole(BaseHTTPRequestHandler):
    """What ECS, EKS pod identity and SageMaker offer."""

    def do_GET(self) -> None:
        body = json.dumps(
            {"AccessKeyId": "AKID", "SecretAccessKey": "s3cret", "Token": "tok", "Expiration": "2999-01-01T00:00:00Z"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing to say."""


@pytest.fixture
def container_role() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), ContainerRole) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/role"
        server.shutdown()
        thread.join()


def test_keys_of_a_container(container_role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's role is asked, since its variable is there, without any look for instance metadata."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", container_role)
    look = Probe()
    assert S3Session("bucket", S3Settings(), reachable=look).keys() == FOUND
    assert look.asked == []


def test_metadata_service_is_looked_for_where_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata service is probed at the configured address, and not at all when it is disabled."""
    look = Probe()
    assert S3Session("b", S3Settings(), reachable=look).keys() is None
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9/")
    assert S3Session("b", S3Settings(), reachable=look).keys() is None
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert S3Session("b", S3Settings(), reachable=look).keys() is None
    assert look.asked == ["http://169.254.169.254/", "http://127.0.0.1:9/"]


def test_metadata_service_that_swallows_packets_costs_no_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that never answers a connection delays the search for credentials by less than half a second."""
    # A full backlog: the kernel drops what else wants to connect, as a firewall does.
    hole = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(hole.getsockname())
        fillers.append(filler)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{hole.getsockname()[1]}/")
    one = S3Session("bucket", S3Settings())
    one.endpoint()  # botocore loads its files
    before = time.monotonic()
    assert one.keys() is None
    waited = time.monotonic() - before
    for filler in [*fillers, hole]:
        filler.close()
    # A second is what botocore would wait for each of its attempts; the probe waits a quarter of one.
    assert waited < 1


def test_metadata_service_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the probe finds a metadata service, the whole chain of botocore runs."""
    asked: list[str] = []

    class Metadata(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
            role = {"Code": "Success", "AccessKeyId": "AKID", "SecretAccessKey": "s3cret", "Token": "tok",
                    "Expiration": "2999-01-01T00:00:00Z"}  # fmt: skip
            path = self.path.rstrip("/")
            body = {"token": "T", "security-credentials": "role"}.get(
                path.rpartition("/")[2], json.dumps(role)
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = answer  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Nothing to say."""

    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        found = S3Session("bucket", S3Settings()).keys()
        server.shutdown()
        thread.join()
    assert found == FOUND
    assert asked[-1].endswith("/role")


def test_metadata_service_that_stalls_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and says nothing is given up after one attempt of botocore's, which takes a second."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        before = time.monotonic()
        assert S3Session("bucket", S3Settings()).keys() is None
        assert time.monotonic() - before < 10


@pytest.mark.parametrize(
    ("bucket", "settings", "url", "path", "region"),
    [
        ("bucket", {}, "https://bucket.s3.amazonaws.com", "/", "us-east-1"),
        ("bucket", {"region": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com", "/", "eu-west-1"),
        ("dot.ted", {"region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com", "/dot.ted/", "eu-west-1"),
        ("bucket", {"region": "cn-north-1"}, "https://bucket.s3.cn-north-1.amazonaws.com.cn", "/", "cn-north-1"),
        ("bucket", {"endpoint_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000", "/bucket/", "us-east-1"),
        ("bucket", {"endpoint_url": "http://[::1]:9000"}, "http://[::1]:9000", "/bucket/", "us-east-1"),
        (
            "bucket",
            {"endpoint_url": "https://minio.example", "config": {"s3": {"addressing_style": "virtual"}}},
            "https://bucket.minio.example",
            "/",
            "us-east-1",
        ),
    ],
)
def test_addressing(bucket: str, settings: dict[str, Any], url: str, path: str, region: str) -> None:
    """Host, style and region are those that botocore would use."""
    endpoint = S3Session(bucket, S3Settings(**settings)).endpoint()
    assert endpoint == (url, path, region)


def _signed(one: S3Session) -> dict[str, str]:
    keys = one.keys()
    assert keys is not None
    return one.signed("http://127.0.0.1:9/bucket/key", {"host": "127.0.0.1:9"}, keys)


def test_signature_follows_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each signature is made with the credentials of that moment, and carries the token they have."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    one = session(endpoint_url="http://127.0.0.1:9")
    headers = _signed(one)
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "X-Amz-Security-Token" not in headers
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "tok")
    assert one.look_again(one.keys())
    headers = _signed(one)
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=OTHER/")
    assert headers["X-Amz-Security-Token"] == "tok"


def test_region_is_followed_once_told() -> None:
    """The session goes to the region it is told; a thread that was sent away from elsewhere follows, too."""
    one = session()
    left = one.endpoint()
    assert one.follow("eu-west-1", left)
    assert one.endpoint().region == "eu-west-1"
    assert one.follow("eu-west-1", left)
    assert not one.follow("eu-west-1", one.endpoint())
    assert not one.follow("", left)


@pytest.mark.parametrize("bucket", ["no bucket", "what?"])
def test_name_that_no_bucket_has(bucket: str) -> None:
    """A name that S3 allows for no bucket is told as a bucket that does not exist."""
    with pytest.raises(Failure) as caught:
        S3Session(bucket, S3Settings()).endpoint()
    assert caught.value.kind is Kind.MISSING_BUCKET


def test_child_looks_for_credentials_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the credentials are found anew: a refresh that another thread had begun never ends here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    one = session()
    one.keys()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    one._lock.acquire()
    one.after_fork()
    found = one.keys()
    assert found is not None
    assert found.access_key == "OTHER"


def test_settings_of_storage_options() -> None:
    """storage_options mean what they mean to s3fs; an option of the mount wins."""
    given = {
        "key": "a", "secret": "b", "token": "c", "requester_pays": True, "endpoint_url": "http://there",
        "client_kwargs": {"region_name": "eu-west-1", "verify": False}, "config_kwargs": {"s3": {}},
    }  # fmt: skip
    spec = Mount("s3://b/", "/d", storage_options=given, endpoint_url="http://here")
    settings = settings_from(spec.option)
    assert settings.keys == Keys("a", "b", "c")
    assert (settings.endpoint_url, settings.region) == ("http://here", "eu-west-1")
    assert (settings.requester_pays, settings.verify) == (True, False)


@pytest.mark.parametrize(
    "given",
    [{"default_block_size": 1}, {"client_kwargs": {"api_version": "x"}}, {"key": "only"}, {"secret": "only-s3cret"}],
)
def test_storage_options_that_would_be_ignored(given: dict[str, Any]) -> None:
    """What the built-in client cannot heed is refused rather than ignored, and no secret is shown."""
    with pytest.raises(ValueError, match=r"storage_options|client_kwargs") as caught:
        settings_from(Mount("s3://b/", "/d", storage_options=given).option)
    assert "s3cret" not in str(caught.value)


def test_settings_show_no_secret() -> None:
    """Neither the settings nor the session show the keys they hold."""
    settings = S3Settings(keys=FOUND)
    assert "s3cret" not in repr(settings) + repr(S3Session("b", settings)) + str(settings)


def test_certificate_authorities(monkeypatch: pytest.MonkeyPatch, config: Callable[[str], None]) -> None:
    """The CA bundle comes from the option, else from AWS_CA_BUNDLE, else from the profile, else it is botocore's."""
    assert session().ca_bundle() is None
    config("[default]\nca_bundle=/profile.pem\n")
    assert session().ca_bundle() == "/profile.pem"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/environment.pem")
    assert session().ca_bundle() == "/environment.pem"
    assert session(verify=False).ca_bundle() is False
    assert os.environ["AWS_CA_BUNDLE"] == "/environment.pem"
