"""Listings parsed by expat, element by element: slow, and right for every server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_plus
from xml.parsers import expat

from vfsoverlay._store.list_answer import (
    ListAnswer,
    MalformedListing,
    Version,
    VersionsAnswer,
    clean_etag,
    parse_date,
    readable_class,
)
from vfsoverlay._store.protocol import ObjectRow

#: One child of the root: its name and the texts of the leaves below it, by path ("" is its own text).
Element = tuple[str, dict[str, str]]

#: What may tell where the next page begins.
_PLACES: Final = ("NextContinuationToken", "NextMarker", "NextKeyMarker")
#: The truth values of XML Schema.
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
#: A number of more is none that could be meant, and Python refuses to read one of very many.
_DIGITS: Final = 18

_ROOTS: Final = ("ListBucketResult", "ListVersionsResult", "ListBucketVersionsResult")


class _Collector:
    """Handlers for expat that gather the children of the root."""

    def __init__(self) -> None:
        self.root = ""
        self.elements: list[Element] = []
        self._path: list[str] = []
        self._leaves: dict[str, str] = {}
        self._text: list[str] = []

    def start(self, name: str, _attributes: object) -> None:
        local = name.rpartition(":")[2]
        if not self._path:
            self.root = local
        elif len(self._path) == 1:
            self._leaves = {}
        self._path.append(local)
        self._text = []

    def end(self, _name: str) -> None:
        depth = len(self._path)
        if self._text and depth >= 2:
            self._leaves["/".join(self._path[2:])] = "".join(self._text)
        if depth == 2:
            self.elements.append((self._path[1], self._leaves))
        self._path.pop()
        self._text = []

    def text(self, data: str) -> None:
        self._text.append(data)


def _refuse_doctype(*_: object) -> None:
    msg = "the answer declares a document type, which no S3 server does"
    raise MalformedListing(msg)


def read_elements(body: bytes) -> tuple[str, list[Element]]:
    """Name of the root element, and its children in order; raises ``MalformedListing``."""
    collector = _Collector()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    # Entities of one's own are the way to blow up a parser.
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        msg = f"the answer is not whole XML ({error})"
        raise MalformedListing(msg) from error
    return collector.root, collector.elements


def _listing(body: bytes) -> tuple[list[Element], dict[str, str], Callable[[str], str]]:
    """The repeated elements, the single ones as a dict, and how keys are decoded."""
    root, elements = read_elements(body)
    if root not in _ROOTS:
        msg = f"a listing was asked for, and {root!r} came"
        raise MalformedListing(msg)
    single = {name: leaves[""] for name, leaves in elements if "" in leaves}
    # A server that does not know encoding-type does not say that it encoded.
    return elements, single, _unquote if single.get("EncodingType") == "url" else str


def _unquote(text: str) -> str:
    return unquote_plus(text, errors="surrogateescape")


def _truncated(single: dict[str, str], count: int) -> bool:
    """Whether more follows this page of *count* entries; where it does not say, a place to go on at does."""
    told = single.get("IsTruncated", "").strip().lower()
    if told:
        if told not in _TRUTHS:
            msg = f"IsTruncated is {told[:40]!r}"
            raise MalformedListing(msg)
        return _TRUTHS[told]
    if any(map(single.get, _PLACES)):
        return True
    most = single.get("MaxKeys", "").strip()
    if most.isdecimal() and 0 < int(most[:_DIGITS]) <= count:
        msg = "the page is full, and does not say whether the listing goes on (IsTruncated)"
        raise MalformedListing(msg)
    return False


def _row(leaves: dict[str, str], decode: Callable[[str], str], version_id: str = "") -> ObjectRow:
    try:
        key, size, date = leaves["Key"], leaves.get("Size", "0"), leaves["LastModified"]
    except KeyError as error:
        msg = f"an object without {error}"
        raise MalformedListing(msg) from None
    if not size.strip().isdecimal() or len(size) > _DIGITS:
        msg = f"not a size: {size[:40]!r}"
        raise MalformedListing(msg)
    try:
        mtime_ns = parse_date(date.strip())
    except MalformedListing as error:
        msg = f"{decode(key)!r} has a time that is {error}"
        raise MalformedListing(msg) from error
    restored = "RestoreStatus/RestoreExpiryDate" in leaves
    kind = readable_class(leaves.get("StorageClass", "").strip(), restored=restored)
    return (decode(key), int(size), mtime_ns, clean_etag(leaves.get("ETag", "")), kind, version_id)


def _prefixes(elements: list[Element], decode: Callable[[str], str]) -> list[str]:
    return [decode(leaves["Prefix"]) for name, leaves in elements if name == "CommonPrefixes" and "Prefix" in leaves]


def parse_list_strictly(body: bytes) -> ListAnswer:
    """One page of ListObjectsV2 (or of its first version); raises ``MalformedListing``."""
    return read_list(body)[0]


def read_list(body: bytes, left_out: int = 0) -> tuple[ListAnswer, bool]:
    """What ``parse_list_strictly`` gives, and whether the page has its keys as in a URL.

    *left_out* entries were taken from the page, and count when it does not say whether the listing goes on.
    """
    elements, single, decode = _listing(body)
    rows = [_row(leaves, decode) for name, leaves in elements if name == "Contents"]
    prefixes = _prefixes(elements, decode)
    truncated = _truncated(single, left_out + len(rows) + len(prefixes))
    answer = ListAnswer(rows, prefixes, truncated, single.get("NextContinuationToken", ""))
    return answer, decode is _unquote


def parse_versions(body: bytes) -> VersionsAnswer:
    """One page of ListObjectVersions; raises ``MalformedListing``."""
    elements, single, decode = _listing(body)
    versions = [
        Version(_row(leaves, decode, leaves.get("VersionId", "")), deleted=name == "DeleteMarker")
        for name, leaves in elements
        if name in ("Version", "DeleteMarker")
    ]
    key_marker = decode(single.get("NextKeyMarker", ""))
    marker = single.get("NextVersionIdMarker", "")
    prefixes = _prefixes(elements, decode)
    truncated = _truncated(single, len(versions) + len(prefixes))
    return VersionsAnswer(versions, prefixes, truncated, key_marker, marker)


def parse_error(body: bytes) -> dict[str, str]:
    """Fields of an S3 error (``Code``, ``Message``, ``Region`` ...); empty when *body* is none."""
    try:
        root, elements = read_elements(body)
    except MalformedListing:
        return {}
    return {name: leaves[""].strip() for name, leaves in elements if "" in leaves} if root == "Error" else {}
