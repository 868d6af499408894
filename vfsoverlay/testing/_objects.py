"""One version of one object: its bytes, wherever they lie, and all that S3 says about it."""

from __future__ import annotations

import time
from hashlib import md5
from os import O_CLOEXEC, O_RDONLY
from typing import Final, Protocol

from vfsoverlay import _real
from vfsoverlay.testing._message import JOIN_BELOW, Body, MemoryBody

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: Classes whose objects must be restored before they can be read.
ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def http_date(seconds: float) -> str:
    """A ``Last-Modified`` in HTTP's format, which has whole seconds and English names."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )


def iso_date(seconds: float) -> str:
    """A ``LastModified`` as listings write it; S3 keeps whole seconds and prints three zeros."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


class Content(Protocol):
    """The bytes of an object."""

    @property
    def size(self) -> int:
        """How many there are."""

    def open(self, start: int, stop: int) -> Body:
        """Those from *start* to *stop* (exclusive)."""


class BytesContent:
    """Content in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data

    @property
    def size(self) -> int:
        """See ``Content``."""
        return len(self.data)

    def open(self, start: int, stop: int) -> Body:
        """See ``Content``."""
        return MemoryBody(self.data, start, stop)


class FileContent:
    """Content of a file, sent by the kernel without passing through Python where it is large."""

    __slots__ = ("_size", "path")

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self._size = size

    @property
    def size(self) -> int:
        """See ``Content``."""
        return self._size

    def open(self, start: int, stop: int) -> Body:
        """See ``Content``."""
        descriptor = _real.open(self.path, O_RDONLY | O_CLOEXEC)
        if stop - start > JOIN_BELOW:
            return _FileBody(descriptor, start, stop)
        try:
            return MemoryBody(_real.pread(descriptor, stop - start, start))
        finally:
            _real.close(descriptor)


class _FileBody:
    """A range of an open file."""

    __slots__ = ("_descriptor", "_start", "_stop")

    def __init__(self, descriptor: int, start: int, stop: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def read(self, start: int, stop: int) -> bytes:
        return _real.pread(self._descriptor, stop - start, self._start + start)

    def send_to(self, descriptor: int, start: int, stop: int) -> int:
        return _real.sendfile(descriptor, self._descriptor, self._start + start, stop - start)

    def close(self) -> None:
        if self._descriptor >= 0:
            _real.close(self._descriptor)
            self._descriptor = -1


class StoredObject:
    """One version of one object, or the marker that says it was deleted; never changed once stored."""

    __slots__ = (
        "_base", "_listed_date", "checksums", "content", "etag", "headers", "is_delete_marker", "last_modified",
        "restore", "sse_key_md5", "storage_class", "version_id",
    )  # fmt: skip

    def __init__(
        self,
        content: Content,
        *,
        etag: str | None = None,
        last_modified: float | None = None,
        headers: dict[str, str] | None = None,
        storage_class: str = "STANDARD",
        restore: str = "",
        checksums: dict[str, str] | None = None,
        sse_key_md5: str = "",
        version_id: str = "null",
        is_delete_marker: bool = False,
    ) -> None:
        self.content = content
        if etag is None:
            etag = md5(content.data if isinstance(content, BytesContent) else b"").hexdigest()
        self.etag = etag
        """Without quotes."""
        self.last_modified = time.time() if last_modified is None else last_modified
        """Seconds since the epoch; S3 shows whole ones."""
        self.headers = headers or {}
        """``Content-Type``, ``x-amz-meta-...`` and others that were stored with it."""
        self.storage_class = storage_class
        self.restore = restore
        """The ``x-amz-restore`` header: empty, ongoing, or with an expiry date."""
        self.checksums = checksums or {}
        """By algorithm (``crc32``, ``sha256`` ...), in base64."""
        self.sse_key_md5 = sse_key_md5
        """Base64 MD5 of the customer's key; empty without SSE-C."""
        self.version_id = version_id
        self.is_delete_marker = is_delete_marker
        self._base: dict[str, str] | None = None
        self._listed_date = ""

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.content.size

    @property
    def is_archived(self) -> bool:
        """Whether a GET must fail until the object is restored."""
        return self.storage_class in ARCHIVED and 'ongoing-request="false"' not in self.restore

    def listed_date(self) -> str:
        """``LastModified`` as a listing writes it."""
        if not self._listed_date:
            self._listed_date = iso_date(self.last_modified)
        return self._listed_date

    def base_headers(self) -> dict[str, str]:
        """A copy of the headers that every GET and HEAD of this version carries."""
        if self._base is None:
            base = {
                "Last-Modified": http_date(self.last_modified),
                "ETag": f'"{self.etag}"',
                "Accept-Ranges": "bytes",
                "Content-Type": "binary/octet-stream",
                **self.headers,
            }
            if self.storage_class != "STANDARD":
                base["x-amz-storage-class"] = self.storage_class
            if self.restore:
                base["x-amz-restore"] = self.restore
            if self.sse_key_md5:
                base["x-amz-server-side-encryption-customer-algorithm"] = "AES256"
                base["x-amz-server-side-encryption-customer-key-MD5"] = self.sse_key_md5
            self._base = base
        return dict(self._base)
