"""A source URL names a protocol, a bucket and a prefix."""

from __future__ import annotations

import pytest

from vfsoverlay._store.uri import parse_source

POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/mine"
OUTPOST = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/mine"


@pytest.mark.parametrize(
    ("url", "protocol", "bucket", "prefix"),
    [
        ("s3://bucket/", "s3", "bucket", ""),
        ("s3://bucket/a/b/", "s3", "bucket", "a/b/"),
        ("s3://bucket//", "s3", "bucket", "/"),
        ("s3a://bucket/a/", "s3a", "bucket", "a/"),
        (f"s3://{POINT}/", "s3", POINT, ""),
        (f"s3://{POINT}/a/b/", "s3", POINT, "a/b/"),
        (f"s3://{OUTPOST}/a/", "s3", OUTPOST, "a/"),
        ("file:///dir/", "file", "", ""),
    ],
)
def test_parts_of_a_source(url: str, protocol: str, bucket: str, prefix: str) -> None:
    """Bucket and prefix are split at the first slash, which for an access point comes after its name."""
    source = parse_source(url)
    assert (source.protocol, source.bucket, source.prefix) == (protocol, bucket, prefix)


@pytest.mark.parametrize("url", ["s3:///prefix/", "s3://arn:aws:s3:::bucket/prefix/", "s3://arn:nonsense/"])
def test_source_without_a_bucket(url: str) -> None:
    """A URL without a bucket, or with an ARN that is no access point, is refused and told how to be written."""
    with pytest.raises(ValueError, match="write 's3://"):
        parse_source(url)
