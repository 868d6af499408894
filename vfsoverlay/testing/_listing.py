"""Listings: which keys and common prefixes a page holds, and its XML."""

from __future__ import annotations

import bisect
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import md5
from typing import Final, NamedTuple
from urllib.parse import quote_plus

from vfsoverlay.testing._buckets import Bucket, Row
from vfsoverlay.testing._errors import S3Error, escape_xml
from vfsoverlay.testing._objects import StoredObject, iso_date

#: S3 never gives more than this a page, whatever is asked for.
PAGE_LIMIT: Final = 1000

_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE: Final = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_URL_SAFE = re.compile(r"[\w./*-]*", re.ASCII)


class KeyPage(NamedTuple):
    """The keys and common prefixes of one page."""

    keys: Sequence[str]
    prefixes: list[str]
    last: str
    """The last key or common prefix; the next page begins after it."""
    truncated: bool


def page_of(keys: Sequence[str], prefix: str, delimiter: str, after: str, limit: int) -> KeyPage:
    """The first *limit* items that begin with *prefix* and follow *after*.

    *keys* ascend. An item is a key, or with a delimiter a common prefix, and both count.
    """
    low = bisect.bisect_left(keys, prefix)
    high = bisect.bisect_left(keys, _successor(prefix), low) if prefix else len(keys)
    if after:
        low = max(low, bisect.bisect_right(keys, after))
    if delimiter:
        return _page_with_prefixes(keys, low, high, prefix, delimiter, after, limit)
    chosen = keys[low : min(high, low + limit)]
    return KeyPage(chosen, [], chosen[-1] if chosen else "", truncated=limit > 0 and high > low + limit)


def _page_with_prefixes(
    keys: Sequence[str], low: int, high: int, prefix: str, delimiter: str, after: str, limit: int
) -> KeyPage:
    chosen: list[str] = []
    prefixes: list[str] = []
    last = ""
    while low < high and limit > 0:
        key = keys[low]
        cut = key.find(delimiter, len(prefix))
        common = key[: cut + len(delimiter)] if cut >= 0 else ""
        if common and common <= after:  # the last item of the page before, or before the place to start at
            low = bisect.bisect_left(keys, _successor(common), low, high)
            continue
        if len(chosen) + len(prefixes) == limit:
            return KeyPage(chosen, prefixes, last, truncated=True)
        last = common or key
        if common:
            prefixes.append(common)
            low = bisect.bisect_left(keys, _successor(common), low, high)
        else:
            chosen.append(key)
            low += 1
    return KeyPage(chosen, prefixes, last, truncated=False)


def _successor(prefix: str) -> str:
    """The least text above all that begin with *prefix*, in the order of code points."""
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return "\U0010ffff" * 1024  # above every key, since a key has at most 1,024 bytes
    point = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if 0xD800 <= point < 0xE000 else point)


def encode_url(text: str) -> str:
    """*text* as ``encoding-type=url`` shows it: a space is a plus sign, a slash stays."""
    return text if _URL_SAFE.fullmatch(text) else quote_plus(text, safe="/*")


# ---------------------------------------------------------------------------------------- XML


def _render_rows(rows: list[Row], show: Callable[[str], str]) -> str:
    # One look at all keys together is cheaper than one at each: a page of a thousand is on a benchmark's clock.
    together = "/".join([row[0] for row in rows])
    if show(together) != together:
        rows = [(show(row[0]), *row[1:]) for row in rows]
    return "".join(
        [
            f"<Contents><Key>{key}</Key><LastModified>{date}</LastModified><ETag>&quot;{etag}&quot;</ETag>"
            f"<Size>{size}</Size><StorageClass>{storage_class}</StorageClass></Contents>"
            for key, date, etag, size, storage_class in rows
        ]
    )


class _ListRequest(NamedTuple):
    prefix: str
    delimiter: str
    limit: int
    show: Callable[[str], str]
    encoding: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> _ListRequest:
        text = query.get("max-keys", "1000")
        if not text.isascii() or not text.isdigit():
            msg = f"Provided max-keys not an integer or within integer range: {text}"
            raise S3Error("InvalidArgument", msg, ArgumentName="max-keys", ArgumentValue=text)
        encoding = query.get("encoding-type", "")
        if encoding not in ("", "url"):
            msg = "Invalid Encoding Method specified in Request"
            raise S3Error("InvalidArgument", msg, ArgumentName="encoding-type", ArgumentValue=encoding)
        show = encode_url if encoding else escape_xml
        limit = min(int(text), PAGE_LIMIT)
        return cls(query.get("prefix", ""), query.get("delimiter", ""), limit, show, encoding)

    def frame(self, root: str, bucket: Bucket, page: KeyPage, rows: str, **fields: str) -> bytes:
        """The whole document; a field that is empty is left out."""
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{self.show(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes
        )
        optional = {**fields, "Delimiter": self.show(self.delimiter), "EncodingType": self.encoding}
        extra = "".join(f"<{name}>{value}</{name}>" for name, value in optional.items() if value)
        return (
            f"{_XML}<{root} {_NAMESPACE}><Name>{bucket.name}</Name><Prefix>{self.show(self.prefix)}</Prefix>{extra}"
            f"<MaxKeys>{self.limit}</MaxKeys><IsTruncated>{str(page.truncated).lower()}</IsTruncated>"
            f"{rows}{prefixes}</{root}>"
        ).encode()


def list_objects_v2(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """The answer to ListObjectsV2."""
    ask = _ListRequest.of(query)
    token = query.get("continuation-token", "")
    start_after = query.get("start-after", "")
    after = _read_token(token) if token else start_after
    page = page_of(bucket.keys(), ask.prefix, ask.delimiter, after, ask.limit)
    rows = bucket.rows(page.keys)
    return ask.frame(
        "ListBucketResult",
        bucket,
        page,
        _render_rows(rows, ask.show),
        KeyCount=str(len(rows) + len(page.prefixes)),
        StartAfter=ask.show(start_after),
        ContinuationToken=token,
        NextContinuationToken=_write_token(page.last) if page.truncated else "",
    )


def list_directory_bucket(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """The answer to ListObjectsV2 of a directory bucket: by folders only, from the beginning only, in no order."""
    ask = _ListRequest.of(query)
    if query.get("start-after"):
        raise S3Error("NotImplemented")
    if ask.delimiter not in ("", "/") or (ask.prefix and not ask.prefix.endswith("/")):
        msg = "Prefixes of directory buckets end in a slash, which is the only delimiter"
        raise S3Error("InvalidArgument", msg, ArgumentName="prefix", ArgumentValue=ask.prefix)
    keys = bucket.keys()
    everything = page_of(keys, ask.prefix, ask.delimiter, "", len(keys) + 1)
    items = sorted([*everything.keys, *everything.prefixes], key=lambda item: md5(item.encode()).digest())
    token = query.get("continuation-token", "")
    start = int(_read_token(token)) if token else 0
    stop = start + ask.limit
    shown, prefixes = items[start:stop], set(everything.prefixes)
    page = KeyPage(
        [item for item in shown if item not in prefixes],
        [item for item in shown if item in prefixes],
        str(stop),
        truncated=stop < len(items),
    )
    rows = bucket.rows(page.keys)
    return ask.frame(
        "ListBucketResult",
        bucket,
        page,
        _render_rows(rows, ask.show),
        KeyCount=str(len(shown)),
        ContinuationToken=token,
        NextContinuationToken=_write_token(page.last) if page.truncated else "",
    )


def list_objects_v1(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """The answer to ListObjects, which some clients and servers still speak."""
    ask = _ListRequest.of(query)
    marker = query.get("marker", "")
    page = page_of(bucket.keys(), ask.prefix, ask.delimiter, marker, ask.limit)
    rows = _render_rows(bucket.rows(page.keys), ask.show)
    # S3 names the next marker only where the last key does not say it: with a delimiter.
    following = ask.show(page.last) if page.truncated and ask.delimiter else ""
    document = ask.frame("ListBucketResult", bucket, page, rows, NextMarker=following)
    return document.replace(b"</Prefix>", f"</Prefix><Marker>{ask.show(marker)}</Marker>".encode(), 1)


def list_versions(bucket: Bucket, query: Mapping[str, str]) -> bytes:
    """The answer to ListObjectVersions: each version of each key, newest first."""
    ask = _ListRequest.of(query)
    marker = query.get("key-marker", "")
    keys = bucket.versioned_keys()
    page = page_of(keys, ask.prefix, ask.delimiter, marker, len(keys))
    versions = _rest_of_key(bucket, marker, query.get("version-id-marker", ""))
    versions += [(key, n == 0, version) for key in page.keys for n, version in enumerate(bucket.versions(key))]
    shown, truncated = versions[: ask.limit], len(versions) > ask.limit
    return ask.frame(
        "ListVersionsResult",
        bucket,
        page._replace(truncated=truncated),
        "".join(_render_version(ask.show(key), latest, version) for key, latest, version in shown),
        NextKeyMarker=ask.show(shown[-1][0]) if truncated else "",
        NextVersionIdMarker=shown[-1][2].version_id if truncated else "",
    )


def _rest_of_key(bucket: Bucket, key: str, version_id: str) -> list[tuple[str, bool, StoredObject]]:
    """The versions of *key* that are older than *version_id*, where the page before ended."""
    versions = bucket.versions(key) if version_id else []
    ids = [version.version_id for version in versions]
    return [(key, False, version) for version in versions[ids.index(version_id) + 1 :]] if version_id in ids else []


def _render_version(key: str, latest: bool, version: StoredObject) -> str:
    tag, about = "DeleteMarker", ""
    if not version.is_delete_marker:
        tag = "Version"
        about = (
            f"<ETag>&quot;{version.etag}&quot;</ETag><Size>{version.size}</Size>"
            f"<StorageClass>{version.storage_class}</StorageClass>"
        )
    return (
        f"<{tag}><Key>{key}</Key><VersionId>{version.version_id}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
        f"<LastModified>{version.listed_date()}</LastModified>{about}</{tag}>"
    )


def list_buckets(buckets: Sequence[Bucket]) -> bytes:
    """The answer to ListBuckets."""
    rows = "".join(
        f"<Bucket><Name>{bucket.name}</Name><CreationDate>{iso_date(bucket.created)}</CreationDate></Bucket>"
        for bucket in buckets
    )
    owner = "<Owner><ID>vfsoverlay</ID><DisplayName>vfsoverlay</DisplayName></Owner>"
    return (
        f"{_XML}<ListAllMyBucketsResult {_NAMESPACE}>{owner}<Buckets>{rows}</Buckets></ListAllMyBucketsResult>".encode()
    )


def _write_token(last: str) -> str:
    return urlsafe_b64encode(last.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except ValueError:
        msg = "The continuation token provided is incorrect"
        raise S3Error("InvalidArgument", msg, ArgumentName="continuation-token", ArgumentValue=token) from None
