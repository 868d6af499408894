"""What fsspec's many file systems tell about a file, as rows of a listing."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.list_answer import checked_moment, clean_etag
from vfsoverlay._store.protocol import ObjectRow

#: Where file systems keep what changes with the content, strongest first (s3fs, adlfs, http; gcsfs; ocifs, ossfs).
_VERSION_FIELDS: Final = ("ETag", "etag", "generation", "md5Hash", "content_md5", "md5", "sha", "checksum")
#: Where they keep the time of the last change.
_TIME_FIELDS: Final = ("LastModified", "last_modified", "mtime", "updated", "modified", "timeModified", "created")


def row_of(key: str, entry: Mapping[str, Any]) -> ObjectRow:
    """The row of the file *key*, whose ``info()`` is *entry*; raises ``Failure`` for a time that no file can have."""
    try:
        mtime_ns = checked_moment(_mtime_ns(entry))
    except (ValueError, OverflowError) as error:
        told = f"{key!r} has a time that is not a date, or none between the years 1677 and 2262"
        raise Failure(Kind.REFUSED, told, next_step="give it another time, or leave it out") from error
    return (key, int(entry["size"] or 0), mtime_ns, _etag(entry, mtime_ns), "", "")


def _etag(entry: Mapping[str, Any], mtime_ns: int) -> str:
    for name in _VERSION_FIELDS:
        value = entry.get(name)
        if value:
            return clean_etag(str(value))
    # A local file that is replaced has another inode, even within one tick of the clock; one that is written again and
    # gets its old time back (rsync, touch -r) has a newer time of change, which fsspec calls "created".
    inode = entry.get("ino")
    return f"{inode}-{mtime_ns}-{_nanoseconds(entry.get('created'))}" if inode else ""


def _mtime_ns(entry: Mapping[str, Any]) -> int:
    for name in _TIME_FIELDS:
        value = entry.get(name)
        if value is not None:
            return _nanoseconds(value)
    return 0


def _nanoseconds(value: Any) -> int:
    if isinstance(value, (int, float)):
        # Microseconds are what a float of this size can hold, and what the same file system may tell as a datetime.
        return round(value * 10**6) * 1000
    if isinstance(value, str):
        value = _date(value)
    if not isinstance(value, datetime):
        return 0
    aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return timegm(aware.utctimetuple()) * 10**9 + aware.microsecond * 1000


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        pass  # not that form
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
