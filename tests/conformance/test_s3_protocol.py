"""What S3 documents about reading and filling buckets, asked of each server with boto3."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

BODY = b"0123456789"
MD5 = hashlib.md5(BODY).hexdigest()

ODD_KEYS = [
    "a", "a/b", "dir/", "//double", "x//y", "../up", "./here", "space and+plus", "percent%41", "question?hash#",
    "amp&lt<gt>quote\"'", "\u00fcmlaut", "e\u0301", "\u4e2d\u6587", "\U0001f600", "tilde~", "new\nline", "tab\t",
    "cr\rx", "control\x01", "\x7f", "back\\slash", "semi;comma,=", "trailing ", "k" * 1024,
]  # fmt: skip


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def keys_of(page: dict[str, Any]) -> list[str]:
    return [row["Key"] for row in page.get("Contents", [])]


def prefixes_of(page: dict[str, Any]) -> list[str]:
    return [row["Prefix"] for row in page.get("CommonPrefixes", [])]


# ------------------------------------------------------------------------------------------ get


def test_get_returns_body_and_headers(s3: Any, bucket: str) -> None:
    """GET answers the bytes with length, quoted MD5 ETag, Last-Modified and Accept-Ranges."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert answer["Body"].read() == BODY
    assert (answer["ContentLength"], answer["ETag"], answer["AcceptRanges"]) == (10, f'"{MD5}"', "bytes")
    assert abs(answer["LastModified"] - datetime.now(timezone.utc)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1), ("bytes=2-5", 2, 6), ("bytes=5-", 5, 10), ("bytes=9-9", 9, 10),
        ("bytes=-3", 7, 10), ("bytes=-10", 0, 10), ("bytes=-100", 0, 10), ("bytes=3-100", 3, 10),
    ],
)  # fmt: skip
def test_range(s3: Any, bucket: str, header: str, start: int, stop: int) -> None:
    """A satisfiable range answers 206 with exactly its bytes, cut at the end of the object."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    answer = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (answer["Body"].read(), answer["ContentRange"]) == (BODY[start:stop], f"bytes {start}-{stop - 1}/10")
    assert answer["ContentLength"] == stop - start


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=100-200", "bytes=10-10"])
@pytest.mark.parametrize("body", [BODY, b""], ids=["full", "empty"])
def test_range_beyond_the_end(s3: Any, bucket: str, header: str, body: bytes) -> None:
    """A range that begins at or behind the end is 416 InvalidRange, also on an empty object."""
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert code_of(error) == (416, "InvalidRange")
    assert error.value.response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == f"bytes */{len(body)}"


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_range_of_empty_object(s3: Any, bucket: str, header: str) -> None:
    """No range of an empty object can be satisfied."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert code_of(error) == (416, "InvalidRange")


@pytest.mark.parametrize("header", ["bytes=5-2", "lines=0-1", "bytes=x-y"])
def test_senseless_range_is_ignored(s3: Any, bucket: str, header: str) -> None:
    """A range that is not well formed is as good as none."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    answer = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()) == (200, BODY)


def test_empty_object(s3: Any, bucket: str) -> None:
    """An empty object is an object."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert (answer["Body"].read(), answer["ETag"]) == (b"", '"d41d8cd98f00b204e9800998ecf8427e"')


def test_head_says_what_get_says(s3: Any, bucket: str) -> None:
    """HEAD has the headers of GET and no body."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    head, get = s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")
    get["Body"].read()
    for name in ("ContentLength", "ETag", "LastModified", "ContentType", "AcceptRanges"):
        assert head[name] == get[name]


def test_missing_key(s3: Any, bucket: str) -> None:
    """GET of a missing key is 404 NoSuchKey, HEAD is 404 without a code."""
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="missing")
    assert code_of(error) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="missing")
    assert code_of(error) == (404, "404")


def test_missing_bucket(s3: Any) -> None:
    """A missing bucket is 404 NoSuchBucket for listing and reading."""
    for method, more in ((s3.list_objects_v2, {}), (s3.get_object, {"Key": "k"})):
        with pytest.raises(ClientError) as error:
            method(Bucket="no-such", **more)
        assert code_of(error) == (404, "NoSuchBucket")
    with pytest.raises(ClientError) as error:
        s3.head_bucket(Bucket="no-such")
    assert code_of(error) == (404, "404")


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys(s3: Any, bucket: str, key: str) -> None:
    """Any text up to 1,024 bytes is a key: it is written, read and listed as it is."""
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == [key]


def test_odd_keys_beside_each_other(s3: Any, bucket: str) -> None:
    """Keys are a flat set in the order of their UTF-8 bytes: "a" and "a/b" do not disturb each other."""
    for key in ODD_KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == sorted(ODD_KEYS, key=str.encode)


def test_overwriting_changes_the_etag(s3: Any, bucket: str) -> None:
    """The current version of a key is the last one written."""
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"two")["ETag"]
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert (answer["Body"].read(), answer["ETag"]) == (b"two", second)
    assert first != second


def test_stored_headers_come_back(s3: Any, bucket: str) -> None:
    """Content type, encoding and metadata are returned as stored, and the body is not decoded."""
    stored = {"ContentType": "text/csv", "ContentEncoding": "gzip", "Metadata": {"one": "1"}}
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, **stored)
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert {name: answer[name] for name in stored} == stored
    assert answer["Body"].read() == BODY


def test_response_headers_can_be_asked_for(s3: Any, bucket: str) -> None:
    """``response-content-type`` replaces the content type of this answer."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/x")["ContentType"] == "text/x"


# ----------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize("quote", ['"', ""])
def test_if_match(s3: Any, bucket: str, quote: str) -> None:
    """If-Match lets the named version through, ranges included, and is 412 for any other."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    tag = f"{quote}{MD5}{quote}"
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=tag, Range="bytes=1-2")["Body"].read() == b"12"
    for extra in ({}, {"Range": "bytes=1-2"}):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key="k", IfMatch=f"{quote}{'0' * 32}{quote}", **extra)
        assert code_of(error) == (412, "PreconditionFailed")


def test_if_none_match(s3: Any, bucket: str) -> None:
    """If-None-Match is 304 for the version that the client has."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=f'"{MD5}"')
    assert code_of(error) == (304, "304")
    assert s3.get_object(Bucket=bucket, Key="k", IfNoneMatch='"other"')["Body"].read() == BODY


def test_if_modified_since(s3: Any, bucket: str) -> None:
    """If-Modified-Since is 304 and If-Unmodified-Since 412 where the time says so."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    written = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=written)
    assert code_of(error) == (304, "304")
    assert s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=written)["Body"].read() == BODY
    earlier = written - timedelta(days=1)
    assert s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=earlier)["Body"].read() == BODY
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=earlier)
    assert code_of(error) == (412, "PreconditionFailed")


def test_put_only_if_absent(s3: Any, bucket: str) -> None:
    """A PUT with ``If-None-Match: *`` is 412 where the key exists."""
    if "IfNoneMatch" not in s3.meta.service_model.operation_model("PutObject").input_shape.members:
        pytest.skip("boto3 learned this condition in 2024")
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", IfNoneMatch="*")
    assert code_of(error) == (412, "PreconditionFailed")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


# ------------------------------------------------------------------------------------- listings

TREE = ["a", "a-b", "a/b", "a/c/d", "a0", "b/", "b/x", "c"]


@pytest.fixture(scope="session")
def tree(s3: Any) -> str:
    """A bucket with the keys of ``TREE``, which no test changes."""
    s3.create_bucket(Bucket="tree")
    for key in TREE:
        s3.put_object(Bucket="tree", Key=key, Body=key.encode())
    return "tree"


def test_list_fields(s3: Any, tree: str) -> None:
    """Each row has key, size, quoted ETag, time and storage class; the page has its counts."""
    page = s3.list_objects_v2(Bucket=tree)
    assert (page["Name"], page["KeyCount"], page["MaxKeys"], page["IsTruncated"]) == (tree, len(TREE), 1000, False)
    row = page["Contents"][1]
    assert (row["Key"], row["Size"], row["StorageClass"]) == ("a-b", 3, "STANDARD")
    assert row["ETag"] == f'"{hashlib.md5(b"a-b").hexdigest()}"'
    assert row["LastModified"].tzinfo is not None


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/c", "b/", "c", "d", "zz/"])
def test_prefix(s3: Any, tree: str, prefix: str) -> None:
    """A prefix is any leading text of a key; no key is an empty page and not an error."""
    assert keys_of(s3.list_objects_v2(Bucket=tree, Prefix=prefix)) == [k for k in TREE if k.startswith(prefix)]


@pytest.mark.parametrize(
    ("prefix", "keys", "prefixes"),
    [
        ("", ["a", "a-b", "a0", "c"], ["a/", "b/"]),
        ("a/", ["a/b"], ["a/c/"]),
        ("b/", ["b/", "b/x"], []),
        ("a", ["a", "a-b", "a0"], ["a/"]),
        ("nothing/", [], []),
    ],
)
def test_delimiter(s3: Any, tree: str, prefix: str, keys: list[str], prefixes: list[str]) -> None:
    """With a delimiter, what has it behind the prefix is rolled up into common prefixes."""
    page = s3.list_objects_v2(Bucket=tree, Prefix=prefix, Delimiter="/")
    assert (keys_of(page), prefixes_of(page), page["KeyCount"]) == (keys, prefixes, len(keys) + len(prefixes))


def test_delimiter_of_several_letters(s3: Any, tree: str) -> None:
    """A delimiter is any text."""
    page = s3.list_objects_v2(Bucket=tree, Delimiter="/c")
    assert (keys_of(page), prefixes_of(page)) == ([k for k in TREE if k != "a/c/d"], ["a/c"])


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_pages(s3: Any, tree: str, delimiter: str, size: int) -> None:
    """Pages together hold each key and common prefix once, in order; both count towards max-keys."""
    wanted = {"": TREE, "/": ["a", "a-b", "a/", "a0", "b/", "c"]}[delimiter]
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = s3.list_objects_v2(Bucket=tree, Delimiter=delimiter, MaxKeys=size, **token)
        items = sorted(keys_of(page) + prefixes_of(page))
        assert len(items) == page["KeyCount"] <= size
        found += items
        if not page["IsTruncated"]:
            break
        assert len(items) == size
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert found == wanted


@pytest.mark.parametrize("start", ["a", "a-", "a/b", "a/zz", "c", "zzz", "0"])
def test_start_after(s3: Any, tree: str, start: str) -> None:
    """``start-after`` need not be a key, and is not listed itself."""
    assert keys_of(s3.list_objects_v2(Bucket=tree, StartAfter=start)) == [k for k in TREE if k > start]


def test_start_after_with_prefix(s3: Any, tree: str) -> None:
    """``start-after`` is a whole key, also with a prefix."""
    assert keys_of(s3.list_objects_v2(Bucket=tree, Prefix="a/", StartAfter="a/b")) == ["a/c/d"]


def test_no_keys_asked_for(s3: Any, tree: str) -> None:
    """``max-keys=0`` is an empty page that is not truncated."""
    page = s3.list_objects_v2(Bucket=tree, MaxKeys=0)
    assert (keys_of(page), page["IsTruncated"], page["KeyCount"]) == ([], False, 0)


def test_list_version_one(s3: Any, tree: str) -> None:
    """ListObjects pages by marker, and names the next one where a delimiter was given."""
    first = s3.list_objects(Bucket=tree, Delimiter="/", MaxKeys=3)
    assert (keys_of(first), prefixes_of(first), first["NextMarker"]) == (["a", "a-b"], ["a/"], "a/")
    rest = s3.list_objects(Bucket=tree, Delimiter="/", Marker=first["NextMarker"])
    assert (keys_of(rest), prefixes_of(rest), rest["IsTruncated"]) == (["a0", "c"], ["b/"], False)
    assert keys_of(s3.list_objects(Bucket=tree, Marker="a/b")) == TREE[3:]


# -------------------------------------------------------------------------------------- buckets


def test_head_bucket_tells_the_region(s3: Any, bucket: str) -> None:
    """HeadBucket has the region in a header, and GetBucketLocation has none for the oldest one."""
    # By the header: clients of 2023 do not read it.
    head = s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    assert head["x-amz-bucket-region"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


def test_list_buckets(s3: Any, bucket: str) -> None:
    """ListBuckets names the bucket."""
    assert bucket in [row["Name"] for row in s3.list_buckets()["Buckets"]]


def test_delete_bucket(s3: Any, bucket: str) -> None:
    """Only an empty bucket can be deleted."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code_of(error) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=bucket)
    assert code_of(error) == (404, "NoSuchBucket")


# --------------------------------------------------------------------------------------- access


def test_private_bucket(s3: Any, anonymous: Any, bucket: str) -> None:
    """Who is nobody may neither list nor read nor learn what exists in a private bucket."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    read = anonymous.get_object
    for method, more in ((anonymous.list_objects_v2, {}), (read, {"Key": "k"}), (read, {"Key": "missing"})):
        with pytest.raises(ClientError) as error:
            method(Bucket=bucket, **more)
        assert code_of(error) == (403, "AccessDenied")


def test_public_bucket(s3: Any, anonymous: Any, bucket: str, endpoint: Any) -> None:
    """Anybody lists and reads a public bucket."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    endpoint.publish(bucket)
    assert keys_of(anonymous.list_objects_v2(Bucket=bucket)) == ["k"]
    assert anonymous.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY
    with pytest.raises(ClientError) as error:
        anonymous.get_object(Bucket=bucket, Key="missing")
    assert code_of(error) == (404, "NoSuchKey")


def test_presigned_url(s3: Any, bucket: str) -> None:
    """A presigned URL needs no headers, and ranges work on it."""
    from urllib.request import Request, urlopen

    s3.put_object(Bucket=bucket, Key="a b+\u00fc", Body=BODY)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b+\u00fc"})
    with urlopen(Request(url, headers={"Range": "bytes=2-3"})) as answer:
        assert (answer.status, answer.read()) == (206, b"23")


# --------------------------------------------------------------------- classes, checksums, keys


def test_archived_object(s3: Any, bucket: str) -> None:
    """An archived object is listed and has a HEAD, but GET is 403 InvalidObjectState."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, StorageClass="GLACIER")
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == "GLACIER"
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k")
    assert code_of(error) == (403, "InvalidObjectState")


CHECKSUMS = {
    "CRC32": "poTHxg==",
    "CRC32C": "KAwGng==",
    "SHA1": b64encode(hashlib.sha1(BODY).digest()).decode(),
    "SHA256": b64encode(hashlib.sha256(BODY).digest()).decode(),
}


@pytest.mark.parametrize("name", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_checksum(s3: Any, bucket: str, name: str) -> None:
    """A checksum given at PUT is verified, kept, and returned to those who ask, for the whole object only."""
    field = f"Checksum{name}"
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, **{field: CHECKSUMS[name]})
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[field] == CHECKSUMS[name]
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[field] == CHECKSUMS[name]
    assert field not in s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-1", ChecksumMode="ENABLED")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", **{field: CHECKSUMS[name]})
    assert code_of(error) == (400, "BadDigest")


def test_wrong_content_md5(s3: Any, bucket: str) -> None:
    """A wrong Content-MD5 is 400 BadDigest, and nothing is stored."""
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=BODY, ContentMD5=b64encode(hashlib.md5(b"x").digest()).decode())
    assert code_of(error) == (400, "BadDigest")
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []


def test_customer_key(s3: Any, bucket: str) -> None:
    """An object stored with a customer's key needs that key for GET and HEAD."""
    right = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, **right)
    assert s3.get_object(Bucket=bucket, Key="k", **right)["Body"].read() == BODY
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k")
    assert code_of(error) == (400, "InvalidRequest")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey="w" * 32)
    assert code_of(error) == (403, "AccessDenied")


# ------------------------------------------------------------------------------------- versions


@pytest.fixture
def versions(s3: Any, bucket: str) -> list[str]:
    """Version ids of two versions of "k", oldest first, below a delete marker."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"one", b"two")]
    return [*ids, s3.delete_object(Bucket=bucket, Key="k")["VersionId"]]


def test_old_versions_can_be_read(s3: Any, bucket: str, versions: list[str]) -> None:
    """Each version is read by its id; the current one is gone behind a delete marker."""
    bodies = [s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() for version in versions[:2]]
    assert bodies == [b"one", b"two"]
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k")
    assert code_of(error) == (404, "NoSuchKey")
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []
    s3.delete_object(Bucket=bucket, Key="k", VersionId=versions[2])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"


def test_delete_marker_has_no_content(s3: Any, bucket: str, versions: list[str]) -> None:
    """GET of a delete marker by its id is 405."""
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", VersionId=versions[2])
    assert code_of(error) == (405, "MethodNotAllowed")


def test_list_versions(s3: Any, bucket: str, versions: list[str]) -> None:
    """ListObjectVersions names versions newest first, and delete markers."""
    page = s3.list_object_versions(Bucket=bucket)
    assert [(row["VersionId"], row["IsLatest"]) for row in page["Versions"]] == [
        (versions[1], False), (versions[0], False),
    ]  # fmt: skip
    assert [(row["VersionId"], row["IsLatest"]) for row in page["DeleteMarkers"]] == [(versions[2], True)]


def test_pages_of_versions(s3: Any, bucket: str, versions: list[str]) -> None:
    """Versions can be listed one a page, also in the middle of a key."""
    s3.put_object(Bucket=bucket, Key="z", Body=b"")
    found: list[str] = []
    markers: dict[str, str] = {}
    while True:
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=1, **markers)
        found += [row["VersionId"] for row in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        if not page["IsTruncated"]:
            break
        markers = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
    assert found[:3] == versions[::-1]
    assert len(found) == 4


def test_missing_version(s3: Any, bucket: str, versions: list[str]) -> None:
    """An unknown version id is 404 NoSuchVersion."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", VersionId="0" * 32)
    assert code_of(error) == (404, "NoSuchVersion")


# ------------------------------------------------------------------------------- write and copy


def test_delete_is_idempotent(s3: Any, bucket: str) -> None:
    """DELETE answers 204 whether the key was there or not."""
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    for _ in range(2):
        assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_delete_objects(s3: Any, bucket: str) -> None:
    """DeleteObjects removes many keys with one request."""
    for key in ("a", "b&", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b&"}, {"Key": "none"}]})
    assert sorted(row["Key"] for row in answer["Deleted"]) == ["a", "b&", "none"]
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == ["c"]


def test_copy(s3: Any, bucket: str) -> None:
    """A copy has the bytes, ETag and metadata of its source."""
    s3.put_object(Bucket=bucket, Key="a \u00fc", Body=BODY, ContentType="text/x")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a \u00fc"})
    answer = s3.get_object(Bucket=bucket, Key="copy")
    assert (answer["Body"].read(), answer["ETag"], answer["ContentType"]) == (BODY, f'"{MD5}"', "text/x")


def test_multipart_upload(s3: Any, bucket: str) -> None:
    """Parts become one object whose ETag is the MD5 of the parts' MD5s and tells their number."""
    parts = [b"a" * (5 * 1024**2), b"b" * 100]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ContentType="text/x")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    done = [
        {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=part)["ETag"]}
        for number, part in reversed(list(enumerate(parts, 1)))
    ]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done[::-1]})
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert answer["Body"].read() == b"".join(parts)
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert (answer["ETag"], answer["ContentType"]) == (f'"{digest}-2"', "text/x")


def test_aborted_upload(s3: Any, bucket: str) -> None:
    """An aborted upload leaves nothing, and cannot be completed."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    etag = s3.upload_part(**where, PartNumber=1, Body=BODY)["ETag"]
    s3.abort_multipart_upload(**where)
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert code_of(error) == (404, "NoSuchUpload")
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []


def test_managed_transfer(s3: Any, bucket: str) -> None:
    """boto3's managed upload and download, which use several parts, give the bytes back."""
    from boto3.s3.transfer import TransferConfig

    data = bytes(range(256)) * (24 * 1024)
    several = TransferConfig(multipart_threshold=5 * 1024**2, multipart_chunksize=5 * 1024**2)
    s3.upload_fileobj(io.BytesIO(data), bucket, "k", Config=several)
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"].endswith('-2"')
    received = io.BytesIO()
    s3.download_fileobj(bucket, "k", received, Config=several)
    assert received.getvalue() == data
