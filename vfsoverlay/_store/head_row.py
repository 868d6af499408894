"""What a listing would say of an object, read from the head of the answer to a GET of it."""

from __future__ import annotations

from typing import Final

from vfsoverlay._store.answer_checks import Headers
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.list_answer import clean_etag, parse_http_date, readable_class
from vfsoverlay._store.protocol import ObjectRow

#: Asks for one byte; an object without any answers 416, and is asked for whole then.
FIRST_BYTE: Final = {"range": "bytes=0-0"}


def head_row(key: str, get: Headers) -> ObjectRow:
    """The row of the object *key*; raises ``Failure`` where the answer does not tell size and date."""
    size = (get("content-range") or get("content-length") or "").rpartition("/")[2]
    seconds = parse_http_date(get("last-modified") or "")
    if not size.isdecimal() or seconds is None:
        raise Failure(Kind.MALFORMED, "the answer does not tell the size and the date of the object")
    restored = "expiry-date" in (get("x-amz-restore") or "")
    kind = readable_class(get("x-amz-storage-class") or "", restored=restored)
    return (key, int(size), seconds * 10**9, clean_etag(get("etag") or ""), kind, "")
