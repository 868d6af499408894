"""A bucket of S3 through s3fs: its own calls, not its files, so that every request names the version it wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.answer_checks import Body, check_answer, lower_case
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.fsspec_file_system import FileSystem
from vfsoverlay._store.fsspec_rows import row_of
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.list_answer import readable_class
from vfsoverlay._store.listing_course import ListingCourse
from vfsoverlay._store.protocol import Begin, ObjectRow, Page, Sink
from vfsoverlay._store.range_read import GET_OBJECT

_LIST: Final = "s3:ListBucket"
#: Bytes of one GET: s3fs hands a body over whole.
_AT_ONCE: Final = 8 * 1024**2


class S3fsStore:
    """One bucket, for ``transport="s3fs"``.

    ``S3FileSystem.cat_file(start, end)`` would read whatever version is there; ``get_object`` with
    IfMatch does not, and its answer is checked like those of the built-in client.
    """

    #: Each answer is waited for.
    begin: Begin | None = None

    def __init__(self, base: FileSystem, bucket: str, origin: str, sse_customer_key: str | None) -> None:
        self._base = base
        self._bucket = bucket
        self._origin = origin
        self._sse: dict[str, str] = {}
        if sse_customer_key is not None:
            self._sse = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": sse_customer_key}

    @property
    def origin(self) -> str:
        """Endpoint and bucket."""
        return self._origin

    @property
    def is_ordered(self) -> bool:
        """Nobody has measured whether its loop gains by lists at once."""
        return False

    def check_access(self, prefix: str) -> None:
        """Prove that *prefix* can be listed; no request if a listing has worked before."""
        if not self._base.proved:
            next(self.list_pages(prefix, page_size=1), None)

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """Pages of the keys that begin with *prefix* and follow *start_after*."""
        asked = {"Prefix": prefix, "MaxKeys": page_size, "StartAfter": start_after, "Delimiter": delimiter}
        arguments = {name: value for name, value in asked.items() if value != ""}
        course = ListingCourse()
        while True:
            answer, rows = self._list(prefix, arguments)
            prefixes = [entry["Prefix"] for entry in answer.get("CommonPrefixes", ())]
            yield Page(rows, prefixes)
            token = answer.get("NextContinuationToken", "")
            # A page that does not say whether it is the last one is so only where nothing speaks against it.
            if not answer.get("IsTruncated", token or len(rows) + len(prefixes) == answer.get("MaxKeys")):
                return
            first = next(iter([*(row[0] for row in rows[:1]), *prefixes]), None)
            with self._base.telling(_LIST, f"s3://{self._bucket}/{prefix}", self._base.attempts(listing=True)):
                course.goes_on(None if first is None else (first, ""), [("continuation-token", token)])
            arguments["ContinuationToken"] = token

    def head(self, key: str) -> ObjectRow:
        """What a listing would say of *key*."""
        attempts = self._base.attempts(listing=False)
        with self._base.telling(GET_OBJECT, f"s3://{self._bucket}/{key}", attempts):
            answer = self._base.call(
                attempts, "list", lambda fs: fs.call_s3("head_object", Bucket=self._bucket, Key=key, **self._sse)
            )
            return _row({**answer, "Key": key, "Size": answer["ContentLength"]})

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """Give bytes *start* to *stop* of this very version to *sink*; see ``ObjectStore.read_range``."""
        for at in range(start, stop, _AT_ONCE):
            end = min(at + _AT_ONCE, stop)
            attempts = self._base.attempts(listing=False, sink=sink)
            with self._base.telling(GET_OBJECT, f"s3://{self._bucket}/{info.key}", attempts):
                data = self._base.call(attempts, purpose, _Get(self._bucket, info, at, end, self._sse))
            self._base.metrics.add(f"bytes.{purpose}", len(data))
            sink(data)

    def after_fork(self) -> None:
        """Make the file system anew in this child."""
        self._base.after_fork()

    def close(self) -> None:
        """s3fs closes its connections when it is collected."""

    def _list(self, prefix: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[ObjectRow]]:
        attempts = self._base.attempts(listing=True)
        with self._base.telling(_LIST, f"s3://{self._bucket}/{prefix}", attempts):
            answer: dict[str, Any] = self._base.call(
                attempts, "list", lambda fs: fs.call_s3("list_objects_v2", Bucket=self._bucket, **arguments)
            )
            rows = [_row(entry) for entry in answer.get("Contents", ())]
        self._base.proved = True
        return answer, rows


def _row(entry: dict[str, Any]) -> ObjectRow:
    key, size, mtime_ns, etag, _, version = row_of(entry["Key"], {**entry, "size": entry["Size"]})
    return (key, size, mtime_ns, etag, readable_class(entry.get("StorageClass", ""), restored=False), version)


class _Get:
    """One GET, read to its end on the file system's own loop."""

    def __init__(self, bucket: str, info: ObjectInfo, start: int, stop: int, sse: dict[str, str]) -> None:
        self._info, self._start, self._stop = info, start, stop
        self._arguments = {"Bucket": bucket, "Key": info.key, "Range": f"bytes={start}-{stop - 1}", **sse}
        if info.etag:
            self._arguments["IfMatch"] = f'"{info.etag}"'

    def __call__(self, fs: Any) -> memoryview:
        from fsspec.asyn import sync

        data: memoryview = sync(fs.loop, self._read, fs)
        return data

    async def _read(self, fs: Any) -> memoryview:
        answer = await fs._call_s3("get_object", **self._arguments, **fs.req_kw)
        about = answer["ResponseMetadata"]
        stream = answer["Body"]
        try:
            body = check_answer(
                about["HTTPStatusCode"], lower_case(about["HTTPHeaders"]), self._info, self._start, self._stop
            )
            data = memoryview(await stream.read())
        finally:
            stream.close()
        return _wanted(data, body, self._stop - self._start)


def _wanted(data: memoryview, body: Body, size: int) -> memoryview:
    wanted = data[body.skip : body.skip + body.length]
    if len(wanted) != size:
        raise Failure(Kind.NETWORK, f"{len(wanted)} bytes came of {size}")
    return wanted
