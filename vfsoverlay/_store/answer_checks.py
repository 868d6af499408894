"""Is this answer to a GET the bytes that were asked for, of the version that was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.list_answer import clean_etag, parse_http_date

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_NANOSECONDS: Final = 10**9
#: Encodings that leave the bytes as they are; "aws-chunked" is how they were once uploaded.
_PLAIN: Final = ("", "identity", "aws-chunked")

#: A header's text by name, or None; ``http.client`` and dicts with lower-case names both have one.
Headers = Callable[[str], "str | None"]


class Body(NamedTuple):
    """Where the wanted bytes lie in an answer's body."""

    skip: int
    """Bytes before them: a server that ignores Range sends the object from its beginning."""
    length: int
    """How many of them there are; fewer than asked for is allowed, and the rest is asked for again."""


def check_answer(status: int, get: Headers, info: ObjectInfo, start: int, stop: int) -> Body:
    """Compare the head of an answer with what was asked for: bytes *start* to *stop* of *info*.

    Trusts nothing: some servers ignore If-Match, some ignore Range, some answer 200 with a right
    Content-Range. Raises ``Failure`` of kind ``CHANGED`` for another version, ``CORRUPT`` for another range,
    ``MALFORMED`` where the version is not told.
    """
    _check_version(get, info)
    content_range, length = get("content-range"), get("content-length")
    _check_encoding(get, length)
    if content_range is not None:
        body = _check_range(content_range, info, start, stop)
        if length not in (None, str(body.length)):
            # A proxy's page under the head of the store's answer, for instance.
            raise Failure(
                Kind.CORRUPT, f"the answer announces {body.length} bytes by its range, and {length} by its length"
            )
        return body
    if status != 200:
        raise Failure(Kind.CORRUPT, f"bytes {start}-{stop - 1} were asked for, and the answer does not say which came")
    if length is not None and length != str(info.size):
        # The same ETag and another size: not another version, but an answer cut short on its way.
        same = bool(info.etag and get("etag"))
        raise Failure(Kind.CORRUPT if same else Kind.CHANGED, f"{length} bytes came, not {info.size}", status=status)
    return Body(start, stop - start)


def _check_version(get: Headers, info: ObjectInfo) -> None:
    """Refuse another version, and an answer that does not tell which one it is."""
    etag = get("etag")
    if info.etag and etag is not None:
        if clean_etag(etag) != info.etag:
            raise Failure(Kind.CHANGED, f"its ETag is now {clean_etag(etag)}, not {info.etag}")
        return
    # The second is all that a header tells, whatever the listing does.
    modified = get("last-modified") or ""
    seconds = parse_http_date(modified)
    if seconds is None:
        raise Failure(Kind.MALFORMED, "the answer has neither the ETag nor the date that would tell its version")
    if seconds != info.mtime_ns // _NANOSECONDS:
        raise Failure(Kind.CHANGED, f"it was modified at {modified}")


def _check_encoding(get: Headers, length: str | None) -> None:
    """Refuse what was compressed on its way; what was stored with an encoding has a length, and is served as it is."""
    encoding = (get("content-encoding") or "").strip().lower()
    if length is None and encoding not in _PLAIN:
        raise Failure(Kind.CORRUPT, f"the answer was compressed ({encoding[:20]}) on its way, which was declined")


def _check_range(content_range: str, info: ObjectInfo, start: int, stop: int) -> Body:
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None:
        raise Failure(Kind.CORRUPT, f"the answer has the range {content_range[:60]!r}")
    total = match.group(3)
    if total not in ("*", str(info.size)):
        raise Failure(Kind.CHANGED, f"the object now has {total} bytes, not {info.size}")
    first, last = int(match.group(1)), int(match.group(2))
    if first != start or not start <= last < stop:
        raise Failure(Kind.CORRUPT, f"bytes {start}-{stop - 1} were asked for, and {first}-{last} came")
    return Body(0, last + 1 - start)


def lower_case(headers: Mapping[str, str]) -> Headers:
    """``Headers`` of a plain mapping, whatever the case of its names."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return lowered.get
