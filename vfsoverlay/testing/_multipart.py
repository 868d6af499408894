"""Multipart uploads: parts are kept until the upload is completed, and the ETag tells their number."""

from __future__ import annotations

import itertools
import threading
from hashlib import md5
from typing import Any, NamedTuple

from vfsoverlay.testing._buckets import Bucket
from vfsoverlay.testing._errors import S3Error, escape_xml
from vfsoverlay.testing._message import Request, Response
from vfsoverlay.testing._object_reads import check_conditions
from vfsoverlay.testing._object_writes import (
    NAMESPACE,
    XML_HEADERS,
    attributes,
    copy_source,
    parse_xml,
    received_body,
    whole_content,
    written_headers,
)
from vfsoverlay.testing._objects import BytesContent, StoredObject, iso_date


class _Upload(NamedTuple):
    bucket: str
    key: str
    attributes: dict[str, Any]
    parts: dict[int, bytes]


class MultipartUploads:
    """The uploads of a server that were begun and not yet ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}
        self._numbers = itertools.count(1)

    def create(self, bucket: Bucket, request: Request) -> Response:
        """The answer to CreateMultipartUpload."""
        upload_id = f"upload-{next(self._numbers)}"
        with self._lock:
            self._uploads[upload_id] = _Upload(bucket.name, request.key, attributes(request), {})
        body = (
            f"<InitiateMultipartUploadResult {NAMESPACE}><Bucket>{bucket.name}</Bucket>"
            f"<Key>{escape_xml(request.key)}</Key><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        )
        return Response(200, dict(XML_HEADERS), body.encode())

    def put_part(self, request: Request) -> Response:
        """The answer to UploadPart."""
        data, sums = received_body(request)
        etag = self._store_part(request, bytes(data))
        headers = {"ETag": f'"{etag}"', **{f"x-amz-checksum-{name}": value for name, value in sums.items()}}
        return Response(200, headers)

    def copy_part(self, source_bucket: Bucket, request: Request) -> Response:
        """The answer to UploadPartCopy."""
        stored = copy_source(source_bucket, request)
        data = whole_content(stored)
        span = request.headers.get("x-amz-copy-source-range", "").removeprefix("bytes=")
        if span:
            first, _, last = span.partition("-")
            data = data[int(first) : int(last) + 1]
        etag = self._store_part(request, data)
        body = (
            f"<CopyPartResult {NAMESPACE}><LastModified>{iso_date(stored.last_modified)}</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag></CopyPartResult>"
        )
        return Response(200, dict(XML_HEADERS), body.encode())

    def complete(self, bucket: Bucket, request: Request) -> Response:
        """The answer to CompleteMultipartUpload."""
        upload = self._find(request)
        check_conditions(bucket.find(request.key), request)
        chosen = []
        for element in parse_xml(request.body).iterfind("{*}Part"):
            part = upload.parts.get(int(element.findtext("{*}PartNumber", "0")))
            if part is None or md5(part).hexdigest() != element.findtext("{*}ETag", "").strip('"'):
                raise S3Error("InvalidPart")
            chosen.append(part)
        if not chosen:
            raise S3Error("MalformedXML")
        digest = md5(b"".join(md5(part).digest() for part in chosen)).hexdigest()
        content = BytesContent(b"".join(chosen))
        stored = StoredObject(content, etag=f"{digest}-{len(chosen)}", **upload.attributes)
        bucket.put(request.key, stored)
        with self._lock:
            self._uploads.pop(request.query["uploadId"], None)
        body = (
            f"<CompleteMultipartUploadResult {NAMESPACE}><Bucket>{bucket.name}</Bucket>"
            f"<Key>{escape_xml(request.key)}</Key><ETag>&quot;{stored.etag}&quot;</ETag>"
            "</CompleteMultipartUploadResult>"
        )
        return Response(200, {**XML_HEADERS, **written_headers(bucket, stored)}, body.encode())

    def abort(self, request: Request) -> Response:
        """The answer to AbortMultipartUpload."""
        self._find(request)
        with self._lock:
            self._uploads.pop(request.query["uploadId"], None)
        return Response(204, {})

    def _find(self, request: Request) -> _Upload:
        upload = self._uploads.get(request.query.get("uploadId", ""))
        if upload is None or (upload.bucket, upload.key) != (request.bucket, request.key):
            raise S3Error("NoSuchUpload")
        return upload

    def _store_part(self, request: Request, data: bytes) -> str:
        number = request.query.get("partNumber", "")
        if not number.isdigit() or not 1 <= int(number) <= 10_000:
            msg = "Part number must be an integer between 1 and 10000, inclusive"
            raise S3Error("InvalidArgument", msg)
        self._find(request).parts[int(number)] = data
        return md5(data).hexdigest()
