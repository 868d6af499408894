from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from typing import Any

import pytest

from vfsoverlay.testing import S3Server

Ask = Callable[..., Any]
EVERYTHING = ("list", "get", "put", "delete")


@pytest.fixture(autouse=True)
def open_bucket(server: S3Server) -> None:
    """A bucket "w" that anybody may fill, so that requests need no signature."""
    server.create_bucket("w", public=EVERYTHING)


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status, answer.body.decode().partition("<Code>")[2].partition("</Code>")[0]


def begin_upload(ask: Ask) -> str:
    upload: str = ask("/w/k?uploads", method="POST").body.decode().partition("<UploadId>")[2].partition("<")[0]
    return upload


def complete(ask: Ask, upload: str, body: str) -> Any:
    document = f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode()
    return ask(f"/w/k?uploadId={upload}", method="POST", body=document)


def test_parts_copied_from_objects(server: S3Server, ask: Ask) -> None:
    """A part may be a range of an object that is there already."""
    upload = begin_upload(ask)
    part = f"/w/k?partNumber=1&uploadId={upload}"
    copied = ask(part, method="PUT", x_amz_copy_source="/b/k", x_amz_copy_source_range="bytes=2-4")
    etag = md5(b"234").hexdigest()
    assert f"&quot;{etag}&quot;" in copied.body.decode()
    assert complete(ask, upload, f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>").status == 200
    assert server.get("w", "k") == b"234"


def test_uploads_that_cannot_be_completed(ask: Ask) -> None:
    """Parts that are not there, no parts, other documents and part numbers out of range are refused."""
    upload = begin_upload(ask)
    assert code_of(ask(f"/w/k?partNumber=0&uploadId={upload}", method="PUT", body=b"x")) == (400, "InvalidArgument")
    assert code_of(complete(ask, upload, "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>")) == (
        400, "InvalidPart",
    )  # fmt: skip
    assert code_of(complete(ask, upload, "")) == (400, "MalformedXML")
    assert code_of(complete(ask, upload, "<Part>")) == (400, "MalformedXML")
    assert code_of(complete(ask, "other", "")) == (404, "NoSuchUpload")


def test_copies_that_are_refused(server: S3Server, ask: Ask) -> None:
    """A copy needs a source that exists and may be read."""
    server.create_bucket("private")
    server.put("private", "k", b"secret")
    server.put("b", "cold", b"x", storage_class="GLACIER")
    server.put("b", "locked", b"x", sse_customer_key=b"k" * 32)
    refused = {
        "private/k": (403, "AccessDenied"),
        "none/k": (404, "NoSuchBucket"),
        "b/none": (404, "NoSuchKey"),
        "b/cold": (403, "InvalidObjectState"),
        "b/locked": (501, "NotImplemented"),
    }
    for source, answer in refused.items():
        assert code_of(ask("/w/k", method="PUT", x_amz_copy_source=source)) == answer
    with pytest.raises(KeyError):
        server.get("w", "k")


def test_copy_with_other_metadata(server: S3Server, ask: Ask) -> None:
    """A copy may replace the metadata; that of an empty object is empty."""
    server.put("b", "empty", b"", headers={"x-amz-meta-one": "1"})
    ask("/w/same", method="PUT", x_amz_copy_source="b/empty")
    ask("/w/new", method="PUT", x_amz_copy_source="b/empty", x_amz_metadata_directive="REPLACE", x_amz_meta_two="2")
    assert ask("/w/same").headers["x-amz-meta-one"] == "1"
    assert ask("/w/new").headers["x-amz-meta-two"] == "2"
    assert "x-amz-meta-one" not in ask("/w/new").headers


def test_conditions_of_writing(ask: Ask) -> None:
    """A PUT may insist on the version it replaces, as long as there is one."""
    assert code_of(ask("/w/k", method="PUT", body=b"x", If_Match='"x"')) == (412, "PreconditionFailed")
    ask("/w/k", method="PUT", body=b"one")
    etag = ask("/w/k").headers["etag"]
    assert ask("/w/k", method="PUT", body=b"two", If_Match=etag).status == 200
    assert code_of(ask("/w/k", method="PUT", body=b"three", If_Match=etag)) == (412, "PreconditionFailed")


STREAM = {"x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content_Encoding": "aws-chunked,gzip"}


def test_streamed_body(server: S3Server, ask: Ask) -> None:
    """S3's own coding is taken off the body, and its name off the stored encoding; trailers are verified."""
    body = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:hYfYZQ==\r\n\r\n"
    assert ask("/w/k", method="PUT", body=body, **STREAM).status == 200
    assert server.get("w", "k") == b"abcde"
    answer = ask("/w/k", x_amz_checksum_mode="ENABLED")
    assert (answer.headers["content-encoding"], answer.headers["x-amz-checksum-crc32"]) == ("gzip", "hYfYZQ==")
    assert code_of(ask("/w/k", method="PUT", body=body.replace(b"abc", b"abd"), **STREAM)) == (400, "BadDigest")
    assert code_of(ask("/w/k", method="PUT", body=b"no length\r\n", **STREAM)) == (400, "InvalidRequest")


def test_versions_from_before(server: S3Server, ask: Ask) -> None:
    """What was stored before versioning was switched on stays as version "null"."""
    server.put("w", "k", b"old")
    document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert ask("/w?versioning", method="PUT", body=document).status == 200
    assert b"Enabled" in ask("/w?versioning").body
    assert [version.version_id for version in server.bucket("w").versions("k")] == ["null"]
    server.put("w", "k", b"new")
    assert (ask("/w/k?versionId=null").body, ask("/w/k").body) == (b"old", b"new")
    assert ask("/w/k", method="DELETE").headers["x-amz-delete-marker"] == "true"
    missing = ask("/w/k")
    assert (missing.status, missing.headers["x-amz-delete-marker"]) == (404, "true")
    assert server.bucket("w").delete("k", "unknown") is None
    for version in server.bucket("w").versions("k"):
        ask(f"/w/k?versionId={version.version_id}", method="DELETE")
    assert server.bucket("w").versions("k") == []


def test_buckets_made_by_clients(server: S3Server, ask: Ask) -> None:
    """Only who signs may make a bucket; one that exists cannot be made again; unknown requests are 501 and 405."""
    assert code_of(ask("/new", method="PUT")) == (404, "NoSuchBucket")
    assert code_of(ask("/w", method="PUT")) == (409, "BucketAlreadyOwnedByYou")
    assert code_of(ask("/w?tagging", method="PUT", body=b"<x/>")) == (501, "NotImplemented")
    assert code_of(ask("/w/k", method="PATCH")) == (405, "MethodNotAllowed")
    assert code_of(ask("/")) == (403, "AccessDenied")


def test_region_of_a_new_bucket(server: S3Server) -> None:
    """A bucket lies where its maker says; the oldest region must not be named."""
    boto3 = pytest.importorskip("boto3")
    key, secret = server.credentials[:2]
    client = boto3.client("s3", "us-east-1", endpoint_url=server.url, aws_access_key_id=key,
                          aws_secret_access_key=secret)  # fmt: skip
    client.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert server.bucket("far").region == "eu-west-1"
    with pytest.raises(client.exceptions.ClientError, match="InvalidLocationConstraint"):
        client.create_bucket(Bucket="near", CreateBucketConfiguration={"LocationConstraint": "us-east-1"})
    client.close()
