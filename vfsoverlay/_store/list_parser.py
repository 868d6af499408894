"""The fast way through a page of ListObjectsV2: one expression takes all entries, or the strict parser does.

Servers write all entries of a page with the same elements, so the first entry tells the expression
that takes them all, at a tenth of what a parser costs for each element. Checksums alone come and
go from entry to entry. Whatever is not exactly so (a restored object among others, an entity, a
comment, blanks between elements) is left to the strict parser: this need not understand
everything, only never be wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import repeat
from typing import Final
from urllib.parse import unquote_plus

from vfsoverlay._store.list_answer import ListAnswer, MalformedListing, parse_date
from vfsoverlay._store.list_strict import parse_list_strictly
from vfsoverlay._store.protocol import ObjectRow

_OPEN: Final = "<Contents>"
_CLOSE: Final = "</Contents>"
_ENCODED: Final = "<EncodingType>url</EncodingType>"

#: The elements that rows are made of; a negated set of one character is what ``re`` runs through fastest.
_FIELDS: Final = {"Key": "([^<]*)", "LastModified": "([^<]*)", "Size": "([0-9]+)", "StorageClass": "([^<]*)"}
_QUOTED: Final = {"&quot;": "&quot;([^&]*)&quot;", '"': '"([^"]*)"'}
_NEEDED: Final = {"Key", "LastModified", "ETag", "Size"}
_CHECKSUMS: Final = "(?:<Checksum(?:Algorithm>[^<]*</ChecksumAlgorithm|Type>[^<]*</ChecksumType)>)*"

#: Of the fields; what is nested further belongs to somebody else, such as an owner.
_DEPTH: Final = 2
_ELEMENT: Final = re.compile(r"<(/?)([A-Za-z]+)>([^<]*)")


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
    except MalformedListing:
        return parse_list_strictly(body)


def _columns(entries: str) -> dict[str, list[str]] | None:
    """The texts of the *entries*, by element; None if these are not all of one shape, one directly after the other."""
    fields = _shape(entries[: entries.index(_CLOSE) + len(_CLOSE)])
    if fields is None:
        return None
    names, expression = fields
    # What lies between two entries, then the columns of an entry, then what lies behind it, and so on.
    pieces = expression.split(entries)
    step = len(names) + 1
    if "".join(pieces[::step]):
        return None
    return {name: pieces[i::step] for i, name in enumerate(names, 1)}


def _shape(entry: str) -> tuple[tuple[str, ...], re.Pattern[str]] | None:
    """What ``_expression`` gives for the elements of *entry*; None where that is no plain one."""
    elements = _ELEMENT.findall(entry)
    quote = next((quote for quote in _QUOTED if f"<ETag>{quote}" in entry), "")
    if len(elements) != entry.count("<") or not quote or "<RestoreStatus>" in entry:
        return None
    tags = tuple(closing + name for closing, name, _ in elements if not name.startswith("Checksum"))
    return _expression(tags, quote)


@lru_cache(maxsize=64)
def _expression(tags: tuple[str, ...], quote: str) -> tuple[tuple[str, ...], re.Pattern[str]] | None:
    """The names of the groups, and the expression that matches one entry with these *tags*; None if fields lack."""
    names, parts, depth = [], [], 0
    for tag, following in zip(tags, (*tags[1:], ""), strict=True):
        parts.append(f"<{tag}>")
        depth += -1 if tag.startswith("/") else 1
        if following == f"/{tag}":
            field = _QUOTED[quote] if tag == "ETag" else _FIELDS.get(tag)
            if field is not None and depth == _DEPTH:
                names.append(tag)
            else:
                field = "[^<]*"
            parts.append(field)
        elif tag == "/ETag":
            parts.append(_CHECKSUMS)
    known = len(set(names)) == len(names) and set(names) >= _NEEDED
    return (tuple(names), re.compile("".join(parts))) if known else None


def _rows(columns: dict[str, list[str]], *, encoded: bool) -> list[ObjectRow]:
    keys = columns["Key"]
    together = "".join(keys)
    classes = columns.get("StorageClass", [])
    # Line ends and control characters are not always what they seem in XML, and an entity is another text.
    if not together.isprintable() or "&" in together or "<" in "".join(columns["ETag"]) or "&" in "".join(set(classes)):
        msg = "not a plain table"
        raise MalformedListing(msg)
    if encoded and ("%" in together or "+" in together):
        keys = [unquote_plus(key, errors="surrogateescape") for key in keys]
    plain = classes.count("STANDARD") == len(classes)
    kinds = repeat("") if plain else ("" if kind == "STANDARD" else kind for kind in classes)
    dates = {text: parse_date(text) for text in set(columns["LastModified"])}
    moments = map(dates.__getitem__, columns["LastModified"])
    return list(zip(keys, map(int, columns["Size"]), moments, columns["ETag"], kinds, repeat("")))
