"""Endpoint, region and signature of a bucket are those that the AWS tools would use."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from vfsoverlay._spec import Mount
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.s3_session import S3Session
from vfsoverlay._store.s3_settings import Keys, S3Settings, settings_from

FOUND = Keys("AKID", "s3cret", "tok")


def session(**settings: Any) -> S3Session:
    return S3Session("bucket", S3Settings(**settings))


def test_endpoint_of_a_profile(config: Callable[[str], None]) -> None:
    """A profile gives region and endpoint."""
    config("[profile p]\nregion=eu-north-1\nendpoint_url=http://127.0.0.1:9\n")
    assert session(profile="p").endpoint() == ("http://127.0.0.1:9", "/bucket/", "eu-north-1")


def test_profile_that_does_not_exist() -> None:
    """An unknown profile is told as such, not as an address that does not exist."""
    with pytest.raises(Failure, match="nobody") as caught:
        session(profile="nobody").endpoint()
    assert caught.value.kind is Kind.NO_CREDENTIALS


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
    keys = one.credentials.keys()
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
    assert one.credentials.look_again(one.credentials.keys())
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
    assert not one.follow("evil.example/", left)
    assert one.endpoint().region == "eu-west-1"


@pytest.mark.parametrize("bucket", ["no bucket", "what?"])
def test_name_that_no_bucket_has(bucket: str) -> None:
    """A name that S3 allows for no bucket is told as a bucket that does not exist."""
    with pytest.raises(Failure) as caught:
        S3Session(bucket, S3Settings()).endpoint()
    assert caught.value.kind is Kind.MISSING_BUCKET


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


def test_argument_that_botocore_does_not_know() -> None:
    """An unknown argument in config_kwargs is a TypeError that says where it stands."""
    with pytest.raises(TypeError, match=r"config_kwargs: .*'retires'"):
        session(config={"retires": 1}).endpoint()


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
