"""Credentials that somebody else gives out: assumed roles, single sign-on, processes; renewed when they expire."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay import errors
from vfsoverlay._store.credentials import CredentialChain
from vfsoverlay._store.s3_settings import S3Settings

GIVEN = ("ROLEKEY", "s3cret", "tok")


def _date(seconds: float) -> str:
    at = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Issuer(HTTPServer):
    """STS and the portal of single sign-on, as far as credentials come from them; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[str] = []
        self.refuses = False


class _Answer(BaseHTTPRequestHandler):
    server: Issuer  # type: ignore[mutable-override]  # as socketserver documents it

    def do_GET(self) -> None:
        self.server.asked.append(self.path.partition("?")[0])
        if self.server.refuses:
            self._send(401, "{}", error="UnauthorizedException")
            return
        access, secret, token = GIVEN
        found = {"accessKeyId": access, "secretAccessKey": secret, "sessionToken": token, "expiration": 9 * 10**12}
        self._send(200, json.dumps({"roleCredentials": found}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = next(part[7:] for part in body.split("&") if part.startswith("Action="))
        self.server.asked.append(action)
        if self.server.refuses:
            self._send(
                403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
            )
            return
        access, secret, token = GIVEN
        self._send(
            200,
            f"<{action}Response><{action}Result><Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>"
            f"{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{_date(3600)}</Expiration>"
            f"</Credentials></{action}Result></{action}Response>",
        )

    def _send(self, status: int, text: str, *, error: str = "") -> None:
        self.send_response(status)
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    with Issuer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for service in ("STS", "SSO"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", running.url)
        # Some versions of botocore know no endpoint but AWS's where STS is asked at its old, global address.
        monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "regional")
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


ROLE = """
[profile analyst]
role_arn=arn:aws:iam::123456789012:role/r
{how}
[profile base]
aws_access_key_id=AKID
aws_secret_access_key=base-s3cret
"""


@pytest.mark.parametrize(
    ("how", "action"),
    [("source_profile=base", "AssumeRole"), ("web_identity_token_file={token}", "AssumeRoleWithWebIdentity")],
)
def test_keys_of_an_assumed_role(issuer: Issuer, config: Path, how: str, action: str, tmp_path: Path) -> None:
    """A profile's role is assumed, in the region of the mount, once for all requests."""
    (tmp_path / "token").write_text("web-identity")
    config.write_text(ROLE.format(how=how.format(token=tmp_path / "token")))
    one = CredentialChain(S3Settings(profile="analyst", region="eu-west-1"))
    assert one.keys() == GIVEN == one.keys()
    assert issuer.asked == [action]


def test_role_that_may_not_be_assumed(issuer: Issuer, config: Path, opened: Any) -> None:
    """A role that STS refuses is told as such; nothing goes on unsigned or with other credentials."""
    config.write_text(ROLE.format(how="source_profile=base"))
    issuer.refuses = True
    with pytest.raises(errors.CannotAccessSource, match="AssumeRole") as caught:
        opened("s3://data/", profile="analyst", endpoint_url="http://127.0.0.1:1", region="us-east-1").rows()
    assert caught.value.reason == "access-denied"
    assert "base-s3cret" not in str(caught.value)


def test_role_whose_service_cannot_be_reached(config: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where STS cannot be reached, its address is told, and what to mend; nothing goes on unsigned."""
    config.write_text(ROLE.format(how="source_profile=base"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "regional")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(errors.CannotAccessSource, match=r"s3://data/.*http://127\.0\.0\.1:1/?.*mend what") as caught:
        opened("s3://data/", profile="analyst", endpoint_url="http://127.0.0.1:1", region="us-east-1").rows()
    assert caught.value.reason == "no-credentials"


SIGNED_ON = """
[profile sso]
sso_start_url=https://portal.example/start
sso_region=us-east-1
sso_account_id=123456789012
sso_role_name=analyst
"""

SCRIPT = """
import sys, vfsoverlay
from vfsoverlay._store.credentials import CredentialChain
from vfsoverlay._store.s3_settings import S3Settings
try:
    if sys.argv[1] == "mount":
        vfsoverlay.mount("s3://data/", "/content/data", profile="sso", endpoint_url="http://127.0.0.1:1")
    print(*CredentialChain(S3Settings(profile="sso")).keys())
except vfsoverlay.errors.CannotAccessSource as error:
    print(error.reason, error)
"""


@pytest.mark.parametrize("hours", [1, -1], ids=["logged in", "expired"])
def test_single_sign_on(issuer: Issuer, config: Path, tmp_path: Path, hours: int) -> None:
    """Who has logged in by 'aws sso login' gets the keys of the role; who has not since is told to."""
    config.write_text(SIGNED_ON)
    issuer.refuses = hours < 0
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    # botocore looks below the home directory it found when it was imported: so a process of its own.
    name = hashlib.sha1(b"https://portal.example/start").hexdigest()
    token = {"startUrl": "https://portal.example/start", "region": "us-east-1", "accessToken": "bearer-s3cret"}
    (cache / f"{name}.json").write_text(json.dumps({**token, "expiresAt": _date(3600 * hours)}))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "keys" if hours > 0 else "mount"],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True, timeout=50,
    )  # fmt: skip
    if hours > 0:
        assert tuple(done.stdout.split()) == GIVEN
        assert issuer.asked == ["/federation/credentials"]
    else:
        assert done.stdout.startswith("expired-token ")
        assert "aws sso login" in done.stdout
    assert "bearer-s3cret" not in done.stdout + done.stderr


def test_keys_that_expire_are_renewed_before(config: Path, tmp_path: Path) -> None:
    """Keys with an expiry are asked for again when it is near, by the process that gave them, and no sooner."""
    program = tmp_path / "give.py"
    program.write_text(
        "import json, pathlib\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(n + 1))\n"
        f"dates = [{_date(60)!r}, {_date(7200)!r}]\n"
        'print(json.dumps({"Version": 1, "AccessKeyId": f"K{n}", "SecretAccessKey": "s", "SessionToken": "t",\n'
        '                  "Expiration": dates[min(n, 1)]}))\n'
    )
    config.write_text(f"[default]\ncredential_process={sys.executable} {program}\n")
    one = CredentialChain(S3Settings())
    given = [one.keys() for _ in range(4)]
    assert given[-1] == ("K1", "s", "t")
    assert (tmp_path / "count").read_text() == "2"
