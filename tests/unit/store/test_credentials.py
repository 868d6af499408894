"""Credentials are found as the AWS tools find them, never waited for in vain, and kept as long as they are good."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay._store.credentials import CredentialChain
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.s3_settings import Keys, S3Settings

FOUND = Keys("AKID", "s3cret", "tok")


class Probe:
    """Finds no metadata service, and remembers where it looked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, url: str) -> bool:
        self.asked.append(url)
        return False


def chain(**settings: Any) -> CredentialChain:
    return CredentialChain(S3Settings(**settings), reachable=Probe())


def test_no_credentials_anywhere() -> None:
    """Without credentials there are no keys, and requests go unsigned."""
    assert chain().keys() is None


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's keys are used, unless anon=True or others are given."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "tok")
    assert chain().keys() == FOUND
    assert chain(anon=True).keys() is None
    assert chain(keys=Keys("a", "b", "")).keys() == Keys("a", "b", "")


def test_keys_of_a_profile(config: Callable[[str], None]) -> None:
    """A profile gives keys."""
    config("[profile p]\naws_access_key_id=AKID\naws_secret_access_key=s3cret\naws_session_token=tok\n")
    assert chain(profile="p").keys() == FOUND


def test_profile_that_does_not_exist() -> None:
    """An unknown profile is told as such, not as missing credentials of somebody else."""
    with pytest.raises(Failure, match="nobody") as caught:
        chain(profile="nobody").keys()
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
    one = chain()
    assert one.keys() == Keys("AKIDxx", "s", "t")
    assert one.keys() == Keys("AKIDxx", "s", "t")


#: How a profile gets its keys, and what is told where that does not work.
HOPELESS = {
    "no such program": ("credential_process=/no/such/program --now", "/no/such/program"),
    "program that fails": (f"credential_process={sys.executable} -c 'import sys; sys.exit(\"call the desk\")'",
                           "call the desk"),
    "program that prints nonsense": (f"credential_process={sys.executable} -c 'print(1, 2)'", "could not be had"),
    "no such token": ("role_arn=arn:aws:iam::123456789012:role/r\nweb_identity_token_file=/no/such/token",
                      "/no/such/token"),
    "half a pair": ("aws_access_key_id=AKID", "aws_secret_access_key"),
    "no such source": ("role_arn=arn:aws:iam::123456789012:role/r\nsource_profile=nobody", "nobody"),
}  # fmt: skip


@pytest.mark.parametrize("how", HOPELESS)
def test_configured_credentials_that_cannot_be_had(config: Callable[[str], None], how: str) -> None:
    """A profile that cannot give its keys is told by what is missing, and is neither ENOENT nor passed over."""
    text, told = HOPELESS[how]
    config(f"[profile p]\nregion=us-east-1\n{text}\n")
    with pytest.raises(Failure, match=told) as caught:
        chain(profile="p").keys()
    assert caught.value.kind is Kind.NO_CREDENTIALS


def _process(directory: Path, text: str) -> str:
    """The line of a profile whose program runs *text*; ``n`` is how often it ran before, ``give`` prints keys."""
    program = directory / "give.py"
    program.write_text(
        "import datetime, json, pathlib, sys\n"
        f"count = pathlib.Path({str(directory / 'count')!r})\n"
        "n = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(n + 1))\n"
        "def give(key, seconds):\n"
        "    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)\n"
        "    print(json.dumps({'Version': 1, 'AccessKeyId': key, 'SecretAccessKey': 's', 'SessionToken': 't',\n"
        "                      'Expiration': at.isoformat()}))\n"
        f"{text}\n"
    )
    return f"credential_process={sys.executable} {program}\n"


def test_keys_that_are_expired_when_renewed(config: Callable[[str], None], tmp_path: Path) -> None:
    """A program that gives expired keys again and again is told as such, by a failure like any other."""
    config("[default]\n" + _process(tmp_path, "give(str(n), -60)"))
    with pytest.raises(Failure, match="expired") as caught:
        chain().keys()
    assert caught.value.kind is Kind.NO_CREDENTIALS


def test_renewal_that_fails_leaves_the_keys_that_are_still_good(config: Callable[[str], None], tmp_path: Path) -> None:
    """While keys are about to expire and their source is out of order, they are used on; it is asked now and then."""
    config("[default]\n" + _process(tmp_path, "give('OLD', 60) if n < 2 else sys.exit('out of order')"))
    now = [0.0]
    one = CredentialChain(S3Settings(), reachable=Probe(), now=lambda: now[0])
    old = Keys("OLD", "s", "t")
    assert [one.keys() for _ in range(5)] == [old] * 5
    assert (tmp_path / "count").read_text() == "3"
    now[0] = 11.0
    assert one.keys() == one.keys() == old
    assert (tmp_path / "count").read_text() == "4"
    # The day comes when S3 refuses them.
    with pytest.raises(Failure, match="out of order"):
        one.look_again(old)
    config("[default]\n" + _process(tmp_path, "give('NEW', 7200)"))
    assert one.keys() == Keys("NEW", "s", "t")


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


def test_keys_that_appear_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no credentials were found they are looked for again after a while, and not at every refusal."""
    now, look = [0.0], Probe()
    one = CredentialChain(S3Settings(), reachable=look, now=lambda: now[0])
    assert one.keys() is None
    assert not one.appeared()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    assert not one.appeared()
    assert len(look.asked) == 1
    now[0] = 10.0
    assert one.appeared()
    assert one.keys() == Keys("AKID", "s3cret", "")


def test_keys_of_a_container(container_role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's role is asked, since its variable is there, without any look for instance metadata."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", container_role)
    look = Probe()
    assert CredentialChain(S3Settings(), reachable=look).keys() == FOUND
    assert look.asked == []


def test_metadata_service_is_looked_for_where_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata service is probed at the configured address, and not at all when it is disabled."""
    look = Probe()
    assert CredentialChain(S3Settings(), reachable=look).keys() is None
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9/")
    assert CredentialChain(S3Settings(), reachable=look).keys() is None
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert CredentialChain(S3Settings(), reachable=look).keys() is None
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
    one = CredentialChain(S3Settings())
    assert chain().keys() is None  # botocore loads its files
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
        found = CredentialChain(S3Settings()).keys()
        server.shutdown()
        thread.join()
    assert found == FOUND
    assert asked[-1].endswith("/role")


def test_metadata_service_that_stalls_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and says nothing is given up after one attempt of botocore's, which takes a second."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        before = time.monotonic()
        assert CredentialChain(S3Settings()).keys() is None
        assert time.monotonic() - before < 10


def test_child_looks_for_credentials_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the credentials are found anew: a refresh that another thread had begun never ends here."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    one = chain()
    one.keys()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    one._lock.acquire()
    one.after_fork()
    found = one.keys()
    assert found is not None
    assert found.access_key == "OTHER"
