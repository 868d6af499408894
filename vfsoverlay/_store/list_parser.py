"""The fast way through a page of ListObjectsV2: all entries as the first one, or the strict parser takes them.

Servers write all entries of a page with the same elements, so the first entry tells how to take them
all, at a tenth of what a parser costs for each element: by a loop in C where that is compiled, else by
a regular expression. Checksums alone come and go from entry to entry. Whatever is not exactly so (a
restored object among others, an entity, a comment, blanks between elements) is left to the strict
parser: this need not understand everything, only never be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from vfsoverlay._compiled import compiled
from vfsoverlay._store.list_answer import ListAnswer, MalformedListing, parse_date
from vfsoverlay._store.list_strict import parse_list_strictly, read_list
from vfsoverlay._store.protocol import ObjectRow

_OPEN: Final = b"<Contents>"
_CLOSE: Final = b"</Contents>"
_ENCODED: Final = b"<EncodingType>url</EncodingType>"
#: Of the fields; what is nested further belongs to somebody else, such as an owner.
_DEPTH: Final = 2
_ELEMENT: Final = re.compile(r"<(/?)([A-Za-z]+)>([^<]*)")
_QUOTES: Final = ("&quot;", '"')
#: The encoding in which a page says to be written, where that is another one than it is read in here.
_OTHER_ENCODING: Final = re.compile(rb"""\bencoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)

# The kinds of text in an entry, a letter each since C reads them as well.
_KEY, _DATE, _ETAG, _SIZE, _CLASS, _OTHER, _CHECKSUMS = "KLESC-+"
_KINDS: Final = {"Key": _KEY, "LastModified": _DATE, "ETag": _ETAG, "Size": _SIZE, "StorageClass": _CLASS}
_NEEDED: Final = {_KEY, _DATE, _ETAG, _SIZE}
#: A negated set of one character is what ``re`` runs through fastest.
_PATTERNS: Final = {
    **dict.fromkeys((_KEY, _DATE, _CLASS), "([^<]*)"),
    _ETAG: '([^"&<]*)',
    _SIZE: "([0-9]{1,18})",
    _OTHER: "[^<]*",
    _CHECKSUMS: "(?:<Checksum(?:Algorithm>[^<]*</ChecksumAlgorithm|Type>[^<]*</ChecksumType)>)*",
}


class Shape(NamedTuple):
    """What each entry of a page consists of: a literal, a text, a literal, a text, and at the end a literal."""

    literals: tuple[bytes, ...]
    kinds: str
    """Of the texts."""
    columns: str
    """Those of the kinds that rows are made of."""
    expression: re.Pattern[str]
    """Matches one entry; its groups are the columns."""


#: Reads the entries that a body has from one place to another, of which the first has this shape; True: their keys are
#: as in a URL. None: they are not all of that shape, or not plain. Raises ``MalformedListing`` as well.
ReadRows = Callable[[bytes, int, int, Shape, bool], "list[ObjectRow] | None"]


def rows_in_python(body: bytes, start: int, stop: int, shape: Shape, encoded: bool) -> list[ObjectRow] | None:
    """As ``ReadRows``."""
    try:
        entries = body[start:stop].decode()
    except UnicodeDecodeError:
        return None
    # What lies between two entries, then the columns of an entry, then what lies behind it, and so on.
    pieces = shape.expression.split(entries)
    step = len(shape.columns) + 1
    if "".join(pieces[::step]) or not _is_plain(entries, shape, len(pieces) // step):
        return None
    if not entries.isascii() and _OTHER_ENCODING.search(body, 0, start):
        return None
    columns = {kind: pieces[i::step] for i, kind in enumerate(shape.columns, 1)}
    keys, classes = columns[_KEY], columns.get(_CLASS, [])
    if "" in keys or any(kind != kind.strip() for kind in set(classes)):
        return None
    if encoded:
        together = "".join(keys)
        if "%" in together or "+" in together:
            keys = [unquote_plus(key, errors="surrogateescape") for key in keys]
    is_usual = classes.count("STANDARD") == len(classes)
    kinds = repeat("") if is_usual else ("" if kind == "STANDARD" else kind for kind in classes)
    dates = {text: parse_date(text) for text in set(columns[_DATE])}
    moments = map(dates.__getitem__, columns[_DATE])
    return list(zip(keys, map(int, columns[_SIZE]), moments, columns[_ETAG], kinds, repeat("")))


def _is_plain(entries: str, shape: Shape, count: int) -> bool:
    """Whether all texts mean what they say."""
    # An entity is another text, and line ends and control characters are not always what they seem in XML.
    ampersands = count * b"".join(shape.literals).count(b"&")
    return entries.isprintable() and entries.count("&") == ampersands and "]]>" not in entries


_COMPILED: Final = compiled("vfsoverlay._store._entries")


def rows_in_c(body: bytes, start: int, stop: int, shape: Shape, encoded: bool) -> list[ObjectRow] | None:
    """As ``ReadRows``, and None for more than ``rows_in_python``: keys that are not ASCII, for instance."""
    literals, kinds = shape.literals, shape.kinds.encode()
    rows: list[ObjectRow] | None = _COMPILED.read_rows(body, start, stop, literals, kinds, encoded, parse_date)
    return rows


def _rows(body: bytes, start: int, stop: int, shape: Shape, encoded: bool) -> list[ObjectRow] | None:
    rows = None if _COMPILED is None else rows_in_c(body, start, stop, shape, encoded)
    return rows_in_python(body, start, stop, shape, encoded) if rows is None else rows


def parse_list(body: bytes, read_rows: ReadRows = _rows) -> ListAnswer:
    """One page of ListObjectsV2 (version 1 answers are understood as well).

    Raises ``MalformedListing`` when *body* is not a listing from its first to its last byte.
    """
    try:
        answer = _parse_fast(body, read_rows)
    except MalformedListing:
        answer = None
    return parse_list_strictly(body) if answer is None else answer


def _parse_fast(body: bytes, read_rows: ReadRows) -> ListAnswer | None:
    """None, or ``MalformedListing``, where the strict parser has to look."""
    start = body.find(_OPEN)
    stop = body.rfind(_CLOSE) + len(_CLOSE)
    first = body.find(_CLOSE, start) + len(_CLOSE)
    shape = _shape(body[start:first]) if 0 <= start < stop else None
    if shape is None:
        return None
    # What is around the entries is small, and as various as servers are. The first entry stays in it, to prove
    # that what has this shape, in this place, is an entry.
    frame = body[:first] + body[stop:]
    encoded = _ENCODED in frame
    rows = read_rows(body, start, stop, shape, encoded)
    if rows is None:
        return None
    answer, is_encoded = read_list(frame, len(rows) - 1)
    return answer._replace(rows=rows) if answer.rows == rows[:1] and is_encoded == encoded else None


def _shape(entry: bytes) -> Shape | None:
    """The shape of *entry*; None where that is no plain one."""
    try:
        text = entry.decode()
    except UnicodeDecodeError:
        return None
    elements = _ELEMENT.findall(text)
    quote = next((quote for quote in _QUOTES if f"<ETag>{quote}" in text), "")
    if len(elements) != text.count("<") or not quote or "<RestoreStatus>" in text:
        return None
    tags = tuple(closing + name for closing, name, _ in elements if not name.startswith("Checksum"))
    return _shape_of(tags, quote)


@lru_cache(maxsize=64)
def _shape_of(tags: tuple[str, ...], quote: str) -> Shape | None:
    """The shape of an entry with these *tags*; None if fields lack."""
    literals, kinds, depth = [""], "", 0
    for tag, following in zip(tags, (*tags[1:], ""), strict=True):
        literals[-1] += f"<{tag}>"
        depth += -1 if tag.startswith("/") else 1
        if following == f"/{tag}":
            kind = _KINDS.get(tag, _OTHER) if depth == _DEPTH else _OTHER
            around = quote if kind == _ETAG else ""
            literals[-1] += around
            literals.append(around)
            kinds += kind
        elif tag == "/ETag":
            literals.append("")
            kinds += _CHECKSUMS
    columns = [kind for kind in kinds if kind in _KINDS.values()]
    if len(set(columns)) != len(columns) or not _NEEDED.issubset(columns):
        return None
    patterns = [re.escape(literal) + _PATTERNS[kind] for literal, kind in zip(literals, kinds, strict=False)]
    expression = re.compile("".join(patterns) + re.escape(literals[-1]))
    return Shape(tuple(literal.encode() for literal in literals), kinds, "".join(columns), expression)
