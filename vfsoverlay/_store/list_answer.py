"""What a page of a listing says, and the forms its fields come in."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from email.utils import parsedate
from functools import lru_cache
from typing import Final, NamedTuple

from vfsoverlay._store.protocol import ObjectRow

#: Storage classes that must be restored before they can be read (S3 API reference, "InvalidObjectState").
ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})

_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)")

#: Nanoseconds before and after the epoch that 64 bits hold: listings that are kept have dates in so many.
_MOMENTS: Final = 2**63


class MalformedListing(ValueError):  # noqa: N818 - the name says it
    """The body is not the listing that was asked for."""


class ListAnswer(NamedTuple):
    """One page of ListObjectsV2 as the server told it."""

    rows: list[ObjectRow]
    prefixes: list[str]
    truncated: bool
    token: str
    """NextContinuationToken; empty where the server has none."""


class Version(NamedTuple):
    """One entry of ListObjectVersions."""

    row: ObjectRow
    deleted: bool
    """A delete marker: from then on the key did not exist."""


class VersionsAnswer(NamedTuple):
    """One page of ListObjectVersions, in the server's order: by key, newest first."""

    versions: list[Version]
    prefixes: list[str]
    truncated: bool
    key_marker: str
    version_marker: str


@lru_cache(maxsize=4096)
def _midnight(day: str) -> int:
    return _parse_date(f"{day}T00:00:00Z")


@lru_cache(maxsize=131_072)
def _since_midnight(rest: str) -> int:
    return _parse_date(f"1970-01-01{rest}")


def parse_date(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 text with a time zone; raises ``MalformedListing``."""
    # A bucket has dates of years, but few days, and no day has more than 86,400 seconds: both are remembered.
    try:
        return checked_moment(_midnight(text[:10]) + _since_midnight(text[10:]))
    except ValueError as error:
        msg = f"not a date: {text[:40]!r}"
        raise MalformedListing(msg) from error


def _parse_date(text: str) -> int:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError
    to_the_second, fraction, zone = match.groups()
    seconds = timegm(datetime.fromisoformat(to_the_second).timetuple())
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 10**9 + int((fraction or "0").ljust(9, "0"))


def checked_moment(nanoseconds: int) -> int:
    """*nanoseconds* since the epoch, if a file can have them as its time; raises ``ValueError``."""
    if not -_MOMENTS <= nanoseconds < _MOMENTS:
        msg = "not between the years 1677 and 2262"
        raise ValueError(msg)
    return nanoseconds


def parse_http_date(text: str) -> int | None:
    """Seconds since the epoch of a date as headers have it, whose zone is always GMT; None if *text* is none."""
    fields = parsedate(text)
    try:
        return None if fields is None else checked_moment(timegm(fields) * 10**9) // 10**9
    except (ValueError, OverflowError):
        return None


def clean_etag(text: str) -> str:
    """An ETag as values of ours hold it: without quotes, and without the mark of a weak one."""
    return text.strip().removeprefix("W/").strip('"')


def readable_class(name: str, *, restored: bool) -> str:
    """The storage class as a row tells it: empty for an object that can be read like any other."""
    return "" if name == "STANDARD" or (restored and name in ARCHIVED) else name
