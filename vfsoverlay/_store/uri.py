"""A source URL taken apart: the protocol, the bucket (a name or an ARN) and the prefix."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vfsoverlay._model import Prefix

#: Protocols that mean Amazon S3 or a server that speaks like it.
S3_PROTOCOLS: Final = ("s3", "s3a")

# An access point stands where a bucket name stands, and has slashes of its own (AWS: "ARN format").
_ACCESS_POINT: Final = re.compile(
    r"arn:[\w-]+:s3(?:-object-lambda|-outposts)?:[\w-]*:\d*:(?:outpost[/:][^/:]+[/:])?accesspoint[/:][^/]+(?=/)"
)


class Source(NamedTuple):
    """What a source URL names."""

    protocol: str
    bucket: str
    """Bucket name or access point ARN; empty for protocols other than S3."""
    prefix: Prefix
    """Leading part of the keys; empty for protocols other than S3, whose keys begin at the URL."""
    url: str


def parse_source(url: str) -> Source:
    """Take apart *url*, which the mount spec has checked for its form.

    Raises ``ValueError`` when an S3 URL names no bucket, or a malformed ARN in its place.
    """
    protocol, _, rest = url.partition("://")
    if protocol not in S3_PROTOCOLS:
        return Source(protocol, "", Prefix(""), url)
    if rest.startswith("arn:"):
        match = _ACCESS_POINT.match(rest)
        if match is None:
            msg = f"{url!r} names no access point; write 's3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/prefix/'"
            raise ValueError(msg)
        return Source(protocol, match.group(), Prefix(rest[match.end() + 1 :]), url)
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        msg = f"{url!r} names no bucket; write 's3://bucket/' or 's3://bucket/prefix/'"
        raise ValueError(msg)
    return Source(protocol, bucket, Prefix(prefix), url)
