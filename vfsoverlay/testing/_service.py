"""The service behind the wire: finds the bucket, checks who asks and what is allowed, and answers."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from vfsoverlay.testing import _listing, _object_writes
from vfsoverlay.testing._buckets import Bucket
from vfsoverlay.testing._errors import S3Error
from vfsoverlay.testing._faults import Fault, FaultPlan, raise_error
from vfsoverlay.testing._message import Request, Response
from vfsoverlay.testing._multipart import MultipartUploads
from vfsoverlay.testing._object_reads import read_object
from vfsoverlay.testing._object_writes import NAMESPACE, XML_HEADERS
from vfsoverlay.testing._objects import BytesContent, StoredObject, http_date
from vfsoverlay.testing._request_log import RequestLog, RequestPurpose, RequestRecord, purpose_of
from vfsoverlay.testing._sabotage import hold, spoil_request, spoil_response
from vfsoverlay.testing._sessions import SUFFIX, Sessions
from vfsoverlay.testing._sigv4 import Credentials, Signature, verify

#: ``bucket.s3.anything`` and ``bucket.localhost``: hosts whose first labels are a bucket.
_VIRTUAL_HOST: Final = re.compile(r"(?!s3\.)(.+?)\.(?:s3[.-].*|localhost)")

_ACTION_OF: Final[dict[RequestPurpose, str]] = {
    "list": "list", "get": "get", "put": "put", "delete": "delete", "other": "list",
}  # fmt: skip


_date_of = lru_cache(maxsize=16)(http_date)


class S3Service:
    """Answers requests; one for each server, called by the threads of all connections."""

    def __init__(self, region: str, closing: threading.Event, log: RequestLog) -> None:
        self.region = region
        self.buckets: dict[str, Bucket] = {}
        self.credentials: dict[str, Credentials] = {}
        self.faults = FaultPlan()
        self.log = log
        self.latency = 0.0
        self.bandwidth = 0.0
        self.clock_offset = 0.0
        self.make_bucket: Callable[[str, str], object]
        self.crashes: list[Exception] = []
        self._closing = closing
        self._uploads = MultipartUploads()
        self._sessions = Sessions()
        self._request_ids = itertools.count(1)

    def answer(self, request: Request) -> Response:
        """The answer to *request*, logged, late and spoilt as told; the log has its status before it is sent."""
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        match = _VIRTUAL_HOST.fullmatch(host)
        request.address(match[1] if match else "")
        purpose = purpose_of(request)
        record = RequestRecord(request, purpose, time.time())
        faults = self.faults.take(request, purpose)
        self.log.append(record)
        if self.latency > 0:
            self._closing.wait(self.latency)
        if faults:
            hold(faults, self._closing)
        response = self._guarded_answer(request, purpose, faults)
        if faults or self.bandwidth:
            spoil_response(response, faults, self.bandwidth)
        record.status = 0 if response.delivery.reset == "before" else response.status
        record.bytes_sent = 0 if request.method == "HEAD" else len(response.body)
        response.note_sent = record.set_bytes_sent
        return response

    def _guarded_answer(self, request: Request, purpose: RequestPurpose, faults: list[Fault]) -> Response:
        request_id = f"{next(self._request_ids):016X}"
        try:
            if faults:
                raise_error(faults)
                self._replace(request, faults)
                spoil_request(request, faults)
            response = self._answer(request, purpose)
        except S3Error as error:
            response = self._error_answer(request, error, request_id)
        except Exception as error:  # noqa: BLE001 - a bug of the server must not look like a lost connection
            self.crashes.append(error)
            response = self._error_answer(request, S3Error("InternalError", repr(error)), request_id)
        response.headers["x-amz-request-id"] = request_id
        response.headers["Server"] = "AmazonS3"
        response.headers["Date"] = _date_of(int(self.now()))
        return response

    def now(self) -> float:
        """Seconds since the epoch on the server's clock."""
        return time.time() + self.clock_offset

    @staticmethod
    def _error_answer(request: Request, error: S3Error, request_id: str) -> Response:
        headers = dict(error.headers)
        if error.status == 304:
            return Response(304, headers)
        headers["Content-Type"] = "application/xml"
        body = error.to_xml(request.path, request_id)
        return Response(error.status, headers, body)

    def _replace(self, request: Request, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.kind == "replace":
                self.buckets[request.bucket].put(request.key, StoredObject(BytesContent(fault.settings["body"])))

    # ------------------------------------------------------------------------- who and what

    def _answer(self, request: Request, purpose: RequestPurpose) -> Response:
        accepted = (
            {**self.credentials, **self._sessions.credentials} if self._sessions.credentials else self.credentials
        )
        signature = verify(request, accepted, self.now())
        if not request.bucket:
            if signature is None:
                raise S3Error("AccessDenied")
            buckets = [self.buckets[name] for name in sorted(self.buckets)]
            return Response(200, dict(XML_HEADERS), _listing.list_buckets(buckets))
        bucket = self.buckets.get(request.bucket)
        if bucket is None:
            if request.method == "PUT" and not request.key and not request.query and signature is not None:
                return self._create_bucket(request)
            raise S3Error("NoSuchBucket", BucketName=request.bucket)
        if signature is not None:
            self._check_region(bucket, signature)
        if bucket.name.endswith(SUFFIX):
            if "session" in request.query:
                return Response(200, dict(XML_HEADERS), self._sessions.create(bucket.name, signature, self.now()))
            self._sessions.check(bucket.name, signature)
        action = _ACTION_OF.get(purpose) or ("get" if request.key else "list")
        if not self._may(action, bucket, signature):
            raise S3Error("AccessDenied", headers={"x-amz-bucket-region": bucket.region})
        self._check_payer(bucket, signature, request)
        if request.key:
            source = self._source_bucket(request, signature)
            return self._answer_object(bucket, request, source, may_list=self._may("list", bucket, signature))
        return self._answer_bucket(bucket, request)

    def _create_bucket(self, request: Request) -> Response:
        region = self.region
        if request.body:
            region = _object_writes.parse_xml(request.body).findtext("{*}LocationConstraint") or region
            if region == "us-east-1":  # the oldest region has no name here
                raise S3Error("InvalidLocationConstraint")
        self.make_bucket(request.bucket, region)
        return Response(200, {"Location": f"/{request.bucket}"})

    @staticmethod
    def _may(action: str, bucket: Bucket, signature: Signature | None) -> bool:
        if action in bucket.deny:
            return False
        if signature is None:
            return action in bucket.public
        allowed = signature.credentials.actions
        return allowed is None or action in allowed

    def _check_region(self, bucket: Bucket, signature: Signature) -> None:
        """Refuse a signature for another region, as the bucket's own endpoint does, or redirect as a foreign one."""
        if signature.region == bucket.region:
            return
        headers = {"x-amz-bucket-region": bucket.region}
        if bucket.region != self.region:
            endpoint = f"s3.{bucket.region}.amazonaws.com"
            raise S3Error("PermanentRedirect", Bucket=bucket.name, Endpoint=endpoint, headers=headers)
        msg = (
            f"The authorization header is malformed; the region '{signature.region}' is wrong; "
            f"expecting '{bucket.region}'"
        )
        raise S3Error("AuthorizationHeaderMalformed", msg, Region=bucket.region, headers=headers)

    @staticmethod
    def _check_payer(bucket: Bucket, signature: Signature | None, request: Request) -> None:
        if bucket.requester_pays:
            payer = request.headers.get("x-amz-request-payer") or request.query.get("x-amz-request-payer")
            if signature is None or payer != "requester":
                raise S3Error("AccessDenied")

    # ------------------------------------------------------------------------------ dispatch

    def _answer_bucket(self, bucket: Bucket, request: Request) -> Response:
        method, query = request.method, request.query
        if method == "GET":
            return Response(200, dict(XML_HEADERS), self._describe(bucket, query))
        if method == "HEAD":
            return Response(200, {"x-amz-bucket-region": bucket.region, "Content-Type": "application/xml"})
        if method == "POST" and "delete" in query:
            return _object_writes.delete_objects(bucket, request)
        if method == "PUT" and "versioning" in query:
            status = _object_writes.parse_xml(request.body).findtext("{*}Status", "")
            bucket.versioned = status == "Enabled"
            return Response(200, {})
        if method == "PUT" and not query:
            raise S3Error("BucketAlreadyOwnedByYou", BucketName=bucket.name)
        if method == "DELETE" and not query:
            if bucket.keys():
                raise S3Error("BucketNotEmpty", BucketName=bucket.name)
            del self.buckets[bucket.name]
            return Response(204, {})
        raise S3Error("NotImplemented")

    @staticmethod
    def _describe(bucket: Bucket, query: dict[str, str]) -> bytes:
        if query.get("list-type") == "2" and bucket.name.endswith(SUFFIX):
            return _listing.list_directory_bucket(bucket, query)
        if query.get("list-type") == "2":
            return _listing.list_objects_v2(bucket, query)
        if "versions" in query:
            return _listing.list_versions(bucket, query)
        if "location" in query:
            region = "" if bucket.region == "us-east-1" else bucket.region
            return f"<LocationConstraint {NAMESPACE}>{region}</LocationConstraint>".encode()
        if "versioning" in query:
            status = "<Status>Enabled</Status>" if bucket.versioned else ""
            return f"<VersioningConfiguration {NAMESPACE}>{status}</VersioningConfiguration>".encode()
        if query.keys() & {"acl", "policy", "cors", "tagging", "uploads", "lifecycle", "encryption", "website"}:
            raise S3Error("NotImplemented")
        return _listing.list_objects_v1(bucket, query)

    def _answer_object(self, bucket: Bucket, request: Request, source: Bucket | None, *, may_list: bool) -> Response:
        method, query = request.method, request.query
        if method in ("GET", "HEAD"):
            return read_object(bucket, request, may_list=may_list)
        if method == "PUT":
            if "uploadId" in query:
                return self._uploads.copy_part(source, request) if source else self._uploads.put_part(request)
            return (
                _object_writes.copy_object(source, bucket, request)
                if source
                else _object_writes.put_object(bucket, request)
            )
        if method == "POST" and "uploads" in query:
            return self._uploads.create(bucket, request)
        if method == "POST" and "uploadId" in query:
            return self._uploads.complete(bucket, request)
        if method == "DELETE":
            return (
                self._uploads.abort(request) if "uploadId" in query else _object_writes.delete_object(bucket, request)
            )
        raise S3Error("MethodNotAllowed")

    def _source_bucket(self, request: Request, signature: Signature | None) -> Bucket | None:
        """The bucket that a copy comes from; None where the request has a body of its own."""
        if "x-amz-copy-source" not in request.headers:
            return None
        name = _object_writes.split_copy_source(request)[0]
        if name not in self.buckets:
            raise S3Error("NoSuchBucket", BucketName=name)
        if not self._may("get", self.buckets[name], signature):
            raise S3Error("AccessDenied")
        return self.buckets[name]
