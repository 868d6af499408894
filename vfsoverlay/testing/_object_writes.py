"""PUT, copy and delete of objects: what a client needs to fill a bucket."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from base64 import b64encode
from typing import Any, Final
from urllib.parse import unquote

from vfsoverlay.testing._buckets import Bucket
from vfsoverlay.testing._checksums import CHECKSUMS, checksum
from vfsoverlay.testing._errors import S3Error, escape_xml
from vfsoverlay.testing._message import Request, Response
from vfsoverlay.testing._object_reads import check_conditions
from vfsoverlay.testing._objects import BytesContent, StoredObject

NAMESPACE: Final = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
XML_HEADERS: Final = {"Content-Type": "application/xml"}

_KEPT: Final = {
    name.lower(): name
    for name in ("Content-Type", "Content-Disposition", "Content-Language", "Cache-Control", "Expires")
}
_SSE: Final = "x-amz-server-side-encryption-customer-"


def put_object(bucket: Bucket, request: Request) -> Response:
    """The answer to PutObject."""
    check_conditions(bucket.find(request.key), request)
    data, sums = received_body(request)
    stored = bucket.put(request.key, StoredObject(BytesContent(data), checksums=sums, **attributes(request)))
    headers = written_headers(bucket, stored)
    headers.update((f"x-amz-checksum-{name}", value) for name, value in sums.items())
    return Response(200, headers)


def written_headers(bucket: Bucket, stored: StoredObject) -> dict[str, str]:
    """ETag and version of what was just stored."""
    headers = {"ETag": f'"{stored.etag}"'}
    if bucket.versioned:
        headers["x-amz-version-id"] = stored.version_id
    return headers


def attributes(request: Request) -> dict[str, Any]:
    """What *request* says about the object it stores: keyword arguments of ``StoredObject``."""
    given = request.headers
    headers = {_KEPT[name]: value for name, value in given.items() if name in _KEPT}
    headers.update((name, value) for name, value in given.items() if name.startswith("x-amz-meta-"))
    coding = ",".join(c for c in given.get("content-encoding", "").split(",") if c.strip() not in ("", "aws-chunked"))
    if coding:
        headers["Content-Encoding"] = coding
    return {
        "headers": headers,
        "storage_class": given.get("x-amz-storage-class", "STANDARD"),
        "sse_key_md5": given.get(f"{_SSE}key-md5", ""),
    }


def received_body(request: Request) -> tuple[bytes | bytearray, dict[str, str]]:
    """The object's bytes in *request* and the checksums that came with them; both are verified."""
    headers, data = request.headers, request.body
    trailers: dict[str, str] = {}
    if headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        data, trailers = _decode_stream(bytes(data))
    digest = headers.get("content-md5")
    if digest is not None and digest != b64encode(hashlib.md5(data).digest()).decode():
        raise S3Error("BadDigest")
    sums = {}
    for name in CHECKSUMS:
        header = f"x-amz-checksum-{name}"
        value = headers.get(header) or trailers.get(header)
        if value:
            if value != checksum(name, data):
                raise S3Error("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")
            sums[name] = value
    return data, sums


def _decode_stream(raw: bytes) -> tuple[bytes, dict[str, str]]:
    """Bytes and trailers of a body in S3's own "aws-chunked" coding; signatures of its pieces are not checked."""
    pieces, position = [], 0
    while True:
        end = raw.find(b"\r\n", position)
        try:
            size = int(raw[position:end].partition(b";")[0], 16)
        except ValueError:
            raise S3Error("InvalidRequest", "The aws-chunked body is malformed") from None
        position = end + 2
        if size == 0:
            break
        pieces.append(raw[position : position + size])
        position += size + 2
    lines = (line.partition(":") for line in raw[position:].decode().splitlines())
    return b"".join(pieces), {name.lower(): value.strip() for name, _, value in lines if value}


def copy_object(source_bucket: Bucket, bucket: Bucket, request: Request) -> Response:
    """The answer to CopyObject."""
    stored = copy_source(source_bucket, request)
    headers = attributes(request)
    if request.headers.get("x-amz-metadata-directive", "COPY") != "REPLACE":
        headers["headers"] = dict(stored.headers)
    data = whole_content(stored)
    copied = bucket.put(request.key, StoredObject(BytesContent(data), checksums=stored.checksums, **headers))
    body = (
        f"<CopyObjectResult {NAMESPACE}><LastModified>{copied.listed_date()}</LastModified>"
        f"<ETag>&quot;{copied.etag}&quot;</ETag></CopyObjectResult>"
    )
    return Response(200, {**XML_HEADERS, **written_headers(bucket, copied)}, body.encode())


def split_copy_source(request: Request) -> tuple[str, str, str | None]:
    """Bucket, key and version that ``x-amz-copy-source`` names."""
    path, _, query = request.headers["x-amz-copy-source"].partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key, query.partition("=")[2] or None


def copy_source(bucket: Bucket, request: Request) -> StoredObject:
    """The object that ``x-amz-copy-source`` names."""
    _, key, version_id = split_copy_source(request)
    stored = bucket.find(key, version_id)
    if stored is None or stored.is_delete_marker:
        raise S3Error("NoSuchKey", Key=key)
    if stored.is_archived:
        raise S3Error("InvalidObjectState", StorageClass=stored.storage_class)
    if stored.sse_key_md5:
        raise S3Error("NotImplemented")
    return stored


def whole_content(stored: StoredObject) -> bytes:
    """All bytes of *stored*."""
    if not stored.size:
        return b""
    body, pieces, position = stored.content.open(0, stored.size), [], 0
    try:
        while position < stored.size:
            pieces.append(bytes(body.read(position, stored.size)))
            position += len(pieces[-1])
    finally:
        body.close()
    return b"".join(pieces)


def delete_object(bucket: Bucket, request: Request) -> Response:
    """The answer to DeleteObject; what is not there counts as deleted."""
    gone = bucket.delete(request.key, request.query.get("versionId"))
    headers = {}
    if bucket.versioned and gone is not None:
        headers["x-amz-version-id"] = gone.version_id
        if gone.is_delete_marker:
            headers["x-amz-delete-marker"] = "true"
    return Response(204, headers)


def delete_objects(bucket: Bucket, request: Request) -> Response:
    """The answer to DeleteObjects."""
    tree = parse_xml(received_body(request)[0])
    quiet = tree.findtext("{*}Quiet", "") == "true"
    rows = []
    for element in tree.iterfind("{*}Object"):
        key = element.findtext("{*}Key", "")
        bucket.delete(key, element.findtext("{*}VersionId"))
        rows.append(f"<Deleted><Key>{escape_xml(key)}</Key></Deleted>")
    body = f"<DeleteResult {NAMESPACE}>{'' if quiet else ''.join(rows)}</DeleteResult>"
    return Response(200, dict(XML_HEADERS), body.encode())


def parse_xml(data: bytes | bytearray) -> ET.Element:
    """The document in a request."""
    try:
        return ET.fromstring(bytes(data))  # noqa: S314 - a test server on the loopback device, fed by its own tests
    except ET.ParseError:
        raise S3Error("MalformedXML") from None
