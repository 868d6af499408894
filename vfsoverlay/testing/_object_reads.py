"""GET and HEAD of an object: versions, conditions, ranges, keys of customers, archives."""

from __future__ import annotations

import re
from calendar import timegm
from email.utils import parsedate
from typing import Final

from vfsoverlay.testing._buckets import Bucket
from vfsoverlay.testing._errors import S3Error
from vfsoverlay.testing._message import Request, Response
from vfsoverlay.testing._objects import StoredObject

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_SSE: Final = "x-amz-server-side-encryption-customer-"

#: Query parameters of a GET that replace headers of the answer.
#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
_OVERRIDES: Final = {
    "response-content-type": "Content-Type",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-cache-control": "Cache-Control",
    "response-expires": "Expires",
}


def read_object(bucket: Bucket, request: Request, *, may_list: bool) -> Response:
    """The answer to GetObject or HeadObject."""
    stored = _find(bucket, request, may_list=may_list)
    check_customer_key(stored, request)
    check_conditions(stored, request)
    if stored.is_archived and request.method == "GET":
        raise S3Error("InvalidObjectState", StorageClass=stored.storage_class)
    headers = stored.base_headers()
    if bucket.versioned:
        headers["x-amz-version-id"] = stored.version_id
    if request.query:
        headers.update((name, request.query[key]) for key, name in _OVERRIDES.items() if key in request.query)
    span = _range(request.headers.get("range", ""), stored.size)
    start, stop = span or (0, stored.size)
    if span:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{stored.size}"
    elif stored.checksums and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        # Only a whole object has its checksum; a range would fail the client's comparison.
        headers.update((f"x-amz-checksum-{name}", value) for name, value in stored.checksums.items())
        headers["x-amz-checksum-type"] = "FULL_OBJECT"
    if request.method == "HEAD":
        return Response(206 if span else 200, headers, length=stop - start)
    return Response(206 if span else 200, headers, stored.content.open(start, stop))


def _find(bucket: Bucket, request: Request, *, may_list: bool) -> StoredObject:
    version_id = request.query.get("versionId")
    stored = bucket.find(request.key, version_id)
    if stored is None:
        newest = bucket.versions(request.key)[:1]
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": newest[0].version_id} if newest else {}
        if version_id is not None:
            raise S3Error("NoSuchVersion", Key=request.key, VersionId=version_id)
        if not may_list:  # who may not list must not learn which keys exist
            raise S3Error("AccessDenied")
        raise S3Error("NoSuchKey", Key=request.key, headers=headers)
    if stored.is_delete_marker:
        raise S3Error("MethodNotAllowed", headers={"x-amz-delete-marker": "true"})
    return stored


def check_customer_key(stored: StoredObject, request: Request) -> None:
    """Raise unless the request has the customer's key, where the object was stored with one (SSE-C)."""
    given = request.headers.get(f"{_SSE}key-md5", "")
    if stored.sse_key_md5 and not given:
        msg = (
            "The object was stored using a form of Server Side Encryption. "
            "The correct parameters must be provided to retrieve the object."
        )
        raise S3Error("InvalidRequest", msg)
    if given and not stored.sse_key_md5:
        raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")
    if given != stored.sse_key_md5:
        raise S3Error("AccessDenied")


def check_conditions(stored: StoredObject | None, request: Request) -> None:
    """Raise 412 or 304 where a condition of *request* fails; *stored* is what is there now (None: nothing).

    The order is that of RFC 9110 section 13.2.2.
    """
    headers = request.headers
    if "if-match" in headers:
        if stored is None or not _names(headers["if-match"], stored):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    elif "if-unmodified-since" in headers and stored is not None and _is_newer(stored, headers["if-unmodified-since"]):
        raise S3Error("PreconditionFailed", Condition="If-Unmodified-Since")
    if stored is None:
        return
    reading = request.method in ("GET", "HEAD")
    unchanged = {"ETag": f'"{stored.etag}"'}
    if "if-none-match" in headers:
        if _names(headers["if-none-match"], stored):
            if reading:
                raise S3Error("NotModified", headers=unchanged)
            raise S3Error("PreconditionFailed", Condition="If-None-Match")
    elif reading and "if-modified-since" in headers and not _is_newer(stored, headers["if-modified-since"]):
        raise S3Error("NotModified", headers=unchanged)


def _names(condition: str, stored: StoredObject) -> bool:
    """Whether a list of ETags, quoted or not as clients send them, has that of *stored*."""
    return any(tag.strip().strip('"') in ("*", stored.etag) for tag in condition.split(","))


def _is_newer(stored: StoredObject, date: str) -> bool:
    parsed = parsedate(date)
    return parsed is not None and int(stored.last_modified) > timegm(parsed)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and stop (exclusive) of a ``Range`` header; None for the whole object, also where it makes no sense."""
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, stop = max(0, size - int(match[2])), size
    if start >= size:
        raise S3Error(
            "InvalidRange",
            headers={"Content-Range": f"bytes */{size}"},
            RangeRequested=header,
            ActualObjectSize=str(size),
        )
    return start, stop
