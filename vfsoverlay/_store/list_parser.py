"""The fast way through a page of ListObjectsV2: one checked regular expression, else the strict parser."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

from vfsoverlay._store.list_answer import ListAnswer, MalformedListing, parse_date, readable_class
from vfsoverlay._store.list_strict import parse_list_strictly
from vfsoverlay._store.protocol import ObjectRow

# One object as AWS, MinIO, Ceph, R2 and moto write it, with no markup and no entity inside a text. Whatever deviates
# (a restored object's RestoreStatus, an owner) goes to the strict parser: this need not be complete, only never wrong.
_CONTENTS: Final = re.compile(
    r"(<Contents>\s*<Key>([^<&\x00-\x08\x0b-\x1f]*)</Key>\s*<LastModified>([^<&]*)</LastModified>\s*"
    r"<ETag>(?:&quot;|&#34;|\")?([^<&\"]*)(?:&quot;|&#34;|\")?</ETag>\s*"
    r"(?:<ChecksumAlgorithm>[^<]*</ChecksumAlgorithm>\s*)*(?:<ChecksumType>[^<]*</ChecksumType>\s*)?"
    r"<Size>([0-9]{1,15})</Size>\s*(?:<StorageClass>([A-Z_]*)</StorageClass>\s*)?</Contents>\s*)"
)
_OPEN: Final = "<Contents>"
_CLOSE: Final = "</Contents>"
_ENCODED: Final = "<EncodingType>url</EncodingType>"


def parse_list(body: bytes) -> ListAnswer:
    """One page of ListObjectsV2 (version 1 answers are understood as well).

    Raises ``MalformedListing`` when *body* is not a listing from its first to its last byte.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return parse_list_strictly(body)
    start = text.find(_OPEN)
    stop = text.rfind(_CLOSE) + len(_CLOSE)
    if not 0 <= start < stop:
        return parse_list_strictly(body)
    found = _CONTENTS.findall(text[start:stop])
    # The matches must tile the region without a gap: then nothing was skipped and nothing else is in between.
    if sum(len(row[0]) for row in found) != stop - start:
        return parse_list_strictly(body)
    frame = text[:start] + text[stop:]
    answer = parse_list_strictly(frame.encode())
    try:
        return answer._replace(rows=_rows(found, decode=_ENCODED in frame))
    except MalformedListing:
        return parse_list_strictly(body)


def _rows(found: list[tuple[str, str, str, str, str, str]], *, decode: bool) -> list[ObjectRow]:
    return [
        (
            # Most keys have nothing to decode.
            unquote_plus(key, errors="surrogateescape") if decode and ("%" in key or "+" in key) else key,
            int(size),
            parse_date(date),
            etag.removeprefix("W/"),
            readable_class(kind, restored=False) if kind != "STANDARD" else "",
            "",
        )
        for _, key, date, etag, size, kind in found
    ]
