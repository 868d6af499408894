"""The servers and clients that the conformance test compares."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from vfsoverlay.testing import S3Server

REGION = "us-east-1"

#: What moto 5.2 does otherwise than S3: test, perhaps with its parameters, and how.
MOTO_DEVIATIONS = {
    "test_range_beyond_the_end": "a 416 has no Content-Range",
    "test_range_of_empty_object[bytes=-1]": "a suffix range of an empty object is answered 200",
    "test_senseless_range_is_ignored[lines=0-1]": "the unit of a range is not looked at",
    "test_odd_keys[new\\nline]": "a key with a newline is 404 at PUT",
    "test_odd_keys_beside_each_other": "a key with a newline is 404 at PUT",
    "test_list_version_one": "common prefixes are sorted behind the keys of a page",
    "test_private_bucket": "anybody may list a private bucket",
    "test_checksum": "a checksum is kept only if the algorithm header names it as well",
    "test_wrong_content_md5": "Content-MD5 is not verified",
    "test_customer_key": "an SSE-C object is read without its key",
    "test_delete_marker_has_no_content": "a delete marker's id is 404",
    "test_aborted_upload": "completing an aborted upload is 500",
}


class Endpoint(NamedTuple):
    """A server under test."""

    name: str
    url: str
    region: str
    access_key: str
    secret_key: str
    publish: Callable[[str], object]
    """Let everybody list and read a bucket."""


def _our_server() -> Iterator[Endpoint]:
    with S3Server(region=REGION) as server:

        def publish(bucket: str) -> None:
            server.bucket(bucket).public = frozenset({"list", "get"})

        yield Endpoint("ours", server.url, REGION, *server.credentials[:2], publish)


def _moto_server() -> Iterator[Endpoint]:
    moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"

    def publish(bucket: str) -> None:
        arn = f"arn:aws:s3:::{bucket}"
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"]}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        make_client(Endpoint("moto", url, REGION, "k", "s", publish)).put_bucket_policy(Bucket=bucket, Policy=policy)

    try:
        yield Endpoint("moto", url, REGION, "testing", "testing", publish)
    finally:
        server.stop()


@pytest.fixture(scope="session", params=["ours", "moto"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    yield from {"ours": _our_server, "moto": _moto_server}[request.param]()


def make_client(endpoint: Endpoint, *, anonymous: bool = False, **config: Any) -> Any:
    """A boto3 client of *endpoint*."""
    boto3 = pytest.importorskip("boto3")
    from botocore import UNSIGNED
    from botocore.config import Config

    settings = {"signature_version": UNSIGNED} if anonymous else {"signature_version": "s3v4"}
    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name=REGION,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, **settings, **config),
    )


@pytest.fixture(scope="session")
def s3(endpoint: Endpoint) -> Iterator[Any]:
    client = make_client(endpoint)
    yield client
    client.close()


@pytest.fixture(scope="session")
def anonymous(endpoint: Endpoint) -> Iterator[Any]:
    client = make_client(endpoint, anonymous=True)
    yield client
    client.close()


_NUMBERS = itertools.count(1)


@pytest.fixture
def bucket(s3: Any) -> str:
    """A new private bucket."""
    name = f"bucket-{next(_NUMBERS)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def known_deviation(request: pytest.FixtureRequest) -> None:
    """Expect the failures of moto that are listed, and only those."""
    if "endpoint" in request.fixturenames and request.getfixturevalue("endpoint").name == "moto":
        name = request.node.name.replace("moto-", "")
        reason = MOTO_DEVIATIONS.get(name) or MOTO_DEVIATIONS.get(request.node.originalname)
        if reason:
            request.applymarker(pytest.mark.xfail(reason=f"moto: {reason}", strict=True))
