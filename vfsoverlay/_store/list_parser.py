"""The fast way through a page of ListObjectsV2: entries of one shape are a table, all else goes to the strict parser.

Servers write all entries of a page with the same elements. Split at ``<``, such a page is a table
whose columns are checked and taken as a whole, at a tenth of what a parser costs for each element.
Whatever is not exactly so (a restored object among others, an entity, a comment, blanks between
elements) is left to the strict parser: this need not understand everything, only never be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

from vfsoverlay._store.list_answer import ListAnswer, MalformedListing, parse_date
from vfsoverlay._store.list_strict import parse_list_strictly
from vfsoverlay._store.protocol import ObjectRow

_OPEN: Final = "<Contents>"
_CLOSE: Final = "</Contents>"
_ENCODED: Final = "<EncodingType>url</EncodingType>"

#: The texts of the entries, by element.
_Columns = dict[str, list[str]]


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
    columns = _columns(text[start:stop]) if 0 <= start < stop else None
    if columns is None:
        return parse_list_strictly(body)
    # What is around the entries is small, and as various as servers are.
    frame = text[:start] + text[stop:]
    answer = parse_list_strictly(frame.encode())
    try:
        return answer._replace(rows=_rows(columns, encoded=_ENCODED in frame))
    except (MalformedListing, KeyError):
        return parse_list_strictly(body)


def _columns(entries: str) -> _Columns | None:
    """The table that *entries* are; None if they are none."""
    fields = entries.split("<")
    try:
        width = fields.index("/Contents>")
    except ValueError:
        return None
    count, rest = divmod(len(fields) - 1, width)
    if rest:
        return None
    columns: _Columns = {}
    for place in range(1, width + 1):
        column = fields[place::width]
        tag = column[0].partition(">")[0] + ">"
        if tag == "Contents>" or tag.startswith("/"):
            # A closing tag, with nothing before the next element.
            if column.count(tag) != count:
                return None
            continue
        texts = [field[len(tag) :] for field in column if field.startswith(tag)]
        if len(texts) != count or fields[place + 1] != f"/{tag}":
            return None
        columns[tag[:-1]] = texts
    return columns


def _rows(columns: _Columns, *, encoded: bool) -> list[ObjectRow]:
    keys, sizes, classes = columns["Key"], columns["Size"], columns.get("StorageClass")
    # Line ends and control characters are not always what they seem in XML, and an entity is another text.
    if not all(map(str.isprintable, keys)) or not all(map(str.isdecimal, sizes)) or _has_entity(keys, classes or ()):
        msg = "not a plain table"
        raise MalformedListing(msg)
    if encoded:
        keys = [unquote_plus(key, errors="surrogateescape") if "%" in key or "+" in key else key for key in keys]
    etags = [_bare(etag) for etag in columns["ETag"]]
    kinds = [""] * len(keys) if classes is None else ["" if kind == "STANDARD" else kind for kind in classes]
    versions = [""] * len(keys)
    return list(
        zip(keys, map(int, sizes), map(parse_date, columns["LastModified"]), etags, kinds, versions, strict=True)
    )


def _has_entity(*columns: Iterable[str]) -> bool:
    return any("&" in text for column in columns for text in column)


def _bare(etag: str) -> str:
    if etag.startswith("&quot;") and etag.endswith("&quot;") and "&" not in (bare := etag[6:-6]):
        return bare
    if "&" in etag or etag.startswith("W/"):
        raise MalformedListing(etag)
    return etag.strip('"')
