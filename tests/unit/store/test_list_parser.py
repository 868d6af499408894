"""Pages of listings: the fast parser, in both languages, and the strict one agree, and nothing odd passes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vfsoverlay._store import list_parser
from vfsoverlay._store.list_answer import ListAnswer, MalformedListing, parse_date
from vfsoverlay._store.list_parser import ReadRows, parse_list, rows_in_c, rows_in_python
from vfsoverlay._store.list_strict import parse_error, parse_list_strictly, parse_versions
from vfsoverlay._store.protocol import ObjectRow
from vfsoverlay.testing import S3Server

compiled = pytest.mark.skipif(list_parser._COMPILED is None, reason="nothing is compiled, or it is not wanted")
in_both_languages = pytest.mark.parametrize(
    "read_rows", [pytest.param(rows_in_c, marks=compiled, id="c"), pytest.param(rows_in_python, id="python")]
)

DATE = "2009-10-12T17:50:30.000Z"
DATE_NS = 1_255_369_830 * 10**9


def entry(key: str = "k", *, extra: str = "", etag: str = "&quot;e&quot;", size: str = "5", tail: str = "") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{DATE}</LastModified><ETag>{etag}</ETag>{extra}"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass>{tail}</Contents>"
    )


def page(*entries: str, more: str = "", root: str = "ListBucketResult") -> bytes:
    return f'<?xml version="1.0"?>\n<{root} xmlns="x">{more}{"".join(entries)}</{root}>'.encode()


ENCODED = "<EncodingType>url</EncodingType>"


@pytest.mark.parametrize(
    ("body", "row"),
    [
        (page(entry()), ("k", 5, DATE_NS, "e", "", "")),
        (page(entry(etag='"e-3"')), ("k", 5, DATE_NS, "e-3", "", "")),
        (page(entry(etag="W/&quot;e&quot;")), ("k", 5, DATE_NS, "e", "", "")),
        (page(entry(etag="")), ("k", 5, DATE_NS, "", "", "")),
        (page(entry("a+b%2Bc%0A"), more=ENCODED), ("a b+c\n", 5, DATE_NS, "e", "", "")),
        (page(entry("a+b%2Bc")), ("a+b%2Bc", 5, DATE_NS, "e", "", "")),
        (page(entry("%FF"), more=ENCODED), ("\udcff", 5, DATE_NS, "e", "", "")),
        (page(entry("a&amp;b")), ("a&b", 5, DATE_NS, "e", "", "")),
        (page(entry("<![CDATA[a<b]]>")), ("a<b", 5, DATE_NS, "e", "", "")),
        (page(entry("é\n")), ("é\n", 5, DATE_NS, "e", "", "")),
        (page(entry(tail="<Owner><ID>1</ID></Owner>")), ("k", 5, DATE_NS, "e", "", "")),
        (page(entry(extra="<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>")), ("k", 5, DATE_NS, "e", "", "")),
        (page(entry().replace("STANDARD", "GLACIER")), ("k", 5, DATE_NS, "e", "GLACIER", "")),
        (
            page(
                entry(
                    tail="<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
                    "<RestoreExpiryDate>2030-01-01T00:00:00Z</RestoreExpiryDate></RestoreStatus>"
                ).replace("STANDARD", "DEEP_ARCHIVE")
            ),
            ("k", 5, DATE_NS, "e", "", ""),
        ),
        (
            page(
                entry(tail="<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>").replace(
                    "STANDARD", "GLACIER"
                )
            ),
            ("k", 5, DATE_NS, "e", "GLACIER", ""),
        ),
        (
            page(entry().replace("<Contents>", "<Contents>\n ").replace("<Size>", "\n<Size>")),
            ("k", 5, DATE_NS, "e", "", ""),
        ),
    ],
)
@in_both_languages
def test_row_of_one_entry(read_rows: ReadRows, body: bytes, row: tuple[object, ...]) -> None:
    """All parsers give the key decoded as the page says, the ETag bare, the date exact, and restored as readable."""
    assert parse_list(body, read_rows).rows == [row]
    assert parse_list_strictly(body).rows == [row]


@in_both_languages
@settings(deadline=None)
@given(keys=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=20, unique=True))
def test_fast_parser_agrees_with_the_strict_one(read_rows: ReadRows, keys: list[str]) -> None:
    """For any keys, what the test server lists is parsed to those keys, by all parsers alike."""
    from urllib.parse import quote_plus

    body = page(*(entry(quote_plus(key, safe="/")) for key in keys), more=ENCODED)
    assert [row[0] for row in parse_list(body, read_rows).rows] == keys
    assert parse_list(body, read_rows) == parse_list_strictly(body)


#: What means something in a page: by itself, in a key that is encoded, or in one of the parsers.
PIECES = [
    *"<>&\"'%+/ ]-:.0123456789aZé\t\r\n\x00\x01\x7f\xa0\u2028\ufeff\uffff",
    *(
        "&quot;",
        "&amp;",
        "&#32;",
        "&bad;",
        "]]>",
        "<![CDATA[",
        "<!--",
        "-->",
        "<?x",
        "?>",
        "%41",
        "%4",
        "%FF",
        "%00",
        "W/",
    ),
    *(
        "<Contents>",
        "</Contents>",
        "<Key>",
        "</Key>",
        "<ETag>",
        "</ETag>",
        "<Size>",
        "</Size>",
        "<x>",
        "</x>",
        "<Key/>",
    ),
    *(
        "<ChecksumType>",
        "</ChecksumType>",
        "<Owner><Key>o</Key></Owner>",
        "<RestoreStatus>",
        "<EncodingType>",
        "Version",
    ),
    *(entry("b"), ENCODED, DATE, "2020-02-30T00:00:00Z", "STANDARD", "GLACIER", "9" * 19, 'encoding="latin-1"'),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
CHANGES = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 12), TEXTS), max_size=3)
ENTRIES = st.builds(
    entry,
    TEXTS,
    extra=st.sampled_from(["", "<ChecksumType>x</ChecksumType>", "<ChecksumAlgorithm></ChecksumAlgorithm>"]),
    etag=st.sampled_from(["&quot;e&quot;", '"e"', '""', 'W/"e"', "e"]) | TEXTS.map("&quot;{}&quot;".format),
    size=st.sampled_from(["0", "007", "9" * 18, "9" * 19]),
    tail=st.sampled_from(["", "", "<Owner><ID>1</ID></Owner>", "<x></x>"]),
)


def outcome(parse: Callable[[bytes], ListAnswer], body: bytes) -> ListAnswer | str:
    """What *parse* gives, or why not."""
    try:
        return parse(body)
    except MalformedListing as error:
        return str(error)


@in_both_languages
@settings(deadline=None, max_examples=300)
@given(entries=st.lists(ENTRIES, min_size=1, max_size=3), more=st.sampled_from(["", ENCODED]), changes=CHANGES)
def test_page_that_was_tampered_with(
    read_rows: ReadRows, entries: list[str], more: str, changes: list[tuple[int, int, str]]
) -> None:
    """Whatever is changed anywhere in a page, the fast parser gives what the strict one gives, or refuses like it."""
    body = page(*entries, more=more)
    for place, length, text in changes:
        body = body[:place] + text.encode() + body[place + length :]
    assert outcome(lambda body: parse_list(body, read_rows), body) == outcome(parse_list_strictly, body)


@in_both_languages
@pytest.mark.parametrize("encoded", [False, True])
@settings(deadline=None)
@given(keys=st.lists(st.text("%+/09afAFgG é\n", min_size=1, max_size=12), min_size=1, max_size=5))
@example(keys=["%"])
@example(keys=["%4", "%4g%41", "%%41", "%+41", "%C3%A9%ff%00", "%c3"])
def test_keys_are_decoded_as_urllib_does(read_rows: ReadRows, encoded: bool, keys: list[str]) -> None:
    """Keys with any escapes, sound or broken, become what ``urllib`` makes of them, and stay as they are elsewhere."""
    body = page(*map(entry, keys), more=ENCODED if encoded else "")
    wanted = [unquote_plus(key, errors="surrogateescape") for key in keys] if encoded else keys
    assert [row[0] for row in parse_list(body, read_rows).rows] == wanted


@in_both_languages
@settings(deadline=None)
@given(
    st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1)),  # noqa: DTZ001 - the zone is written behind it
    st.sampled_from(["", ".0", ".000", ".123", ".123456789", ".1234567891"]),
    st.sampled_from(["Z", "Z", "Z", "+01:00", "-0030", "", "z"]),
)
def test_time_of_any_kind(read_rows: ReadRows, time: datetime, fraction: str, zone: str) -> None:
    """A time becomes what ``parse_date`` makes of it, in each year, with each fraction and zone, or is refused."""
    date = f"{time:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"
    body = page(entry(), entry("b").replace(DATE, date), entry("c"))
    try:
        moment: int | None = parse_date(date)
    except MalformedListing:
        moment = None
    if moment is None:
        with pytest.raises(MalformedListing):
            parse_list(body, read_rows)
    else:
        assert [row[2] for row in parse_list(body, read_rows).rows] == [DATE_NS, moment, DATE_NS]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad gateway</body></html>",
        page(root="Error"),
        page(entry())[:-10],
        page(entry(), entry())[:-90],
        page(entry()) + b"<more/>",
        page(entry(size="-1")),
        page(entry(size="five")),
        page(entry().replace(DATE, "yesterday")),
        page(entry().replace(f"<LastModified>{DATE}</LastModified>", "")),
        page(entry().replace("<Key>k</Key>", "")),
        page(entry("\x00")),
        page(entry()).replace(b"<Key>k", b"<Key>\xff"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + page(entry("&a;")),
    ],
)
@in_both_languages
def test_body_that_is_no_listing(read_rows: ReadRows, body: bytes) -> None:
    """Anything but a whole listing is refused: half a page, another document, a field that cannot be."""
    with pytest.raises(MalformedListing):
        parse_list(body, read_rows)


@pytest.mark.parametrize(
    "date",
    ["yesterday", "1677-01-01T00:00:00Z", "2263-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z",
     "0000-01-01T00:00:00Z", "2020-13-01T00:00:00Z", "2021-02-29T00:00:00Z", "2020-01-01T25:00:00Z"],
)  # fmt: skip
@in_both_languages
def test_time_that_is_no_date(read_rows: ReadRows, date: str) -> None:
    """A time that is no date, or one that no file can have, is refused with the key and the text."""
    with pytest.raises(MalformedListing, match=f"'b' has a time that is not a date: '{date}'"):
        parse_list(page(entry("a"), entry("b").replace(DATE, date)), read_rows)


@in_both_languages
def test_text_between_entries_is_not_skipped(read_rows: ReadRows) -> None:
    """What stands between two entries makes the strict parser look, which finds what the fast one would have missed."""
    odd = entry("b").replace("<Key>", "<Key >")
    assert [row[0] for row in parse_list(page(entry("a"), odd, entry("c")), read_rows).rows] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "odd",
    [
        entry("b", etag="&quot;e<Size>7</Size>&quot;"),
        "<Contents>" + entry("b").replace("<Contents>", "<Owner><Key>x</Key></Owner>"),
        entry("b").replace("<Size>5</Size>", "<Size>5</Size><Size>6</Size>"),
        entry("b", extra="<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"),
        entry("b", extra="<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA1</ChecksumAlgorithm>"),
        entry("b", tail="<Owner><ID>1</ID></Owner>"),
        entry("b", etag=""),
        entry("<![CDATA[</Contents><Contents>]]>"),
        "<!--" + entry("b") + "-->",
        entry("b") + "&#32;",
    ],
)
@in_both_languages
def test_entry_unlike_the_others(read_rows: ReadRows, odd: str) -> None:
    """Whichever place an odd entry has in a page, all parsers give the same rows."""
    for body in (page(odd), page(odd, entry("c")), page(entry("a"), odd, entry("c")), page(entry("a"), odd)):
        assert parse_list(body, read_rows) == parse_list_strictly(body)


@in_both_languages
@pytest.mark.parametrize(
    "body",
    [
        page(entry("a"), entry("b")).replace(b"<EncodingType>", b"<EncodingType >"),
        page("<x>", entry("a"), entry("b"), "</x>"),
        page("<!--", entry("a"), entry("b"), "-->"),
        page("<![CDATA[", entry("a"), entry("b"), "]]>"),
        page(entry("a"), entry("b"), entry("c").replace("Contents>", "Contents >")),
        page(entry("a+b"), f"<x>{ENCODED}</x>"),
        page(entry("a+b"), ENCODED.replace("EncodingType>", "EncodingType >")),
        page(entry("a"), entry("\u00e9")).replace(b'"1.0"', b'"1.0" encoding="latin-1"'),
        page(entry("a"), entry("b").replace("STANDARD", " GLACIER ")),
        page(entry("a"), entry("b", etag="&quot;&amp;&quot;")),
        page(entry("a"), entry("b", etag="&quot;&quot;e&quot;&quot;")),
        page(entry("a", etag='"e"'), entry("b", etag='"&amp;"')),
    ],
)
def test_page_that_is_not_what_it_seems(read_rows: ReadRows, body: bytes) -> None:
    """Entries that are none, keys encoded or not in an unusual way, texts that are others: all parsers agree."""
    assert parse_list(body, read_rows) == parse_list_strictly(body)


@in_both_languages
@pytest.mark.parametrize("wrong", ["<Owner>", "<x></y>", "<ID>\x01</ID>", "<ID>&bad;</ID>", "<ID>]]></ID>"])
def test_entries_that_are_no_xml(read_rows: ReadRows, wrong: str) -> None:
    """What is wrong in texts that nobody wants makes a page malformed as well: who sent it made more mistakes."""
    with pytest.raises(MalformedListing):
        parse_list(page(entry("a", tail=wrong), entry("b", tail=wrong)), read_rows)


def test_frame_of_a_page() -> None:
    """Truncation, the token and decoded common prefixes come from around the entries."""
    more = f"{ENCODED}<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>"
    prefixes = (
        "<CommonPrefixes><Prefix>d+1/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix></CommonPrefixes>"
    )
    answer = parse_list(page(entry(), prefixes, more=more))
    assert (answer.prefixes, answer.truncated, answer.token) == (["d 1/", "e/"], True, "a&b")
    assert not parse_list(page()).truncated


#: What a page of two entries says around them, and whether it goes on; None: nobody can tell.
ENDS = {
    "<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken><MaxKeys>2</MaxKeys>": False,
    "<IsTruncated>0</IsTruncated>": False,
    "<MaxKeys>3</MaxKeys><KeyCount>2</KeyCount>": False,
    "<MaxKeys>0</MaxKeys><NextContinuationToken></NextContinuationToken>": False,
    "<MaxKeys>nonsense</MaxKeys><IsTruncated/>": False,
    "<IsTruncated> True </IsTruncated>": True,
    "<IsTruncated>1</IsTruncated>": True,
    "<NextContinuationToken>t</NextContinuationToken>": True,
    "<NextMarker>k</NextMarker>": True,
    "<NextKeyMarker>k</NextKeyMarker>": True,
    "<MaxKeys>2</MaxKeys>": None,
    "<MaxKeys >2</MaxKeys >": None,
    "<MaxKeys>2</MaxKeys><IsTruncated></IsTruncated>": None,
    "<MaxKeys>2</MaxKeys><!--<IsTruncated>-->": None,
    "<MaxKeys>1</MaxKeys><IsTruncated></IsTruncated>": None,
    "<IsTruncated>perhaps</IsTruncated>": None,
}


def _goes_on(parse: Callable[[bytes], Any], body: bytes) -> bool | None:
    try:
        return bool(parse(body).truncated)
    except MalformedListing:
        return None


@in_both_languages
@pytest.mark.parametrize("ends", ENDS)
def test_the_end_of_a_listing_is_believed_where_nothing_speaks_against_it(read_rows: ReadRows, ends: str) -> None:
    """A page without IsTruncated goes on where it names a place to go on at, and is an error where it is full."""
    for body in (page(entry("a"), entry("b"), more=ends), page(entry("a"), entry("b"), ends)):
        assert _goes_on(partial(parse_list, read_rows=read_rows), body) is ENDS[ends]
        assert _goes_on(parse_list_strictly, body) is ENDS[ends]
    versions = [entry(key).replace("Contents>", "Version>") for key in "ab"]
    assert _goes_on(parse_versions, page(*versions, more=ends, root="ListVersionsResult")) is ENDS[ends]


@in_both_languages
def test_a_size_that_no_object_has(read_rows: ReadRows) -> None:
    """A size of very many digits makes a page malformed: Python would not read it, and nobody could keep it."""
    for digits in (19, 5000):
        with pytest.raises(MalformedListing, match="not a size"):
            parse_list(page(entry(size="9" * digits), entry()), read_rows)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:00.5Z", 5 * 10**8),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00-0030", 0),
        ("2000-02-29T12:00:00.123456789Z", 951_825_600_123_456_789),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        ("1677-09-21T00:12:43.145224192Z", -(2**63)),
    ],
)
def test_dates(text: str, nanoseconds: int) -> None:
    """Dates keep their zone and their nanoseconds."""
    assert parse_date(text) == nanoseconds


def test_versions_in_order() -> None:
    """Versions and delete markers are told in the order of the page, with the markers of the next one."""
    version = entry("k").replace("Contents>", "Version>").replace("</Version>", "<VersionId>v2</VersionId></Version>")
    marker = f"<DeleteMarker><Key>k</Key><VersionId>v1</VersionId><LastModified>{DATE}</LastModified></DeleteMarker>"
    more = "<NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>"
    answer = parse_versions(page(version, marker, more=more, root="ListVersionsResult"))
    assert [(item.row[0], item.row[5], item.deleted) for item in answer.versions] == [
        ("k", "v2", False),
        ("k", "v1", True),
    ]
    assert (answer.key_marker, answer.version_marker) == ("k", "v1")


def test_fields_of_an_error() -> None:
    """An error document gives its fields, and anything else gives none."""
    assert parse_error(b"<Error><Code>NoSuchKey</Code><Message> m </Message></Error>") == {
        "Code": "NoSuchKey",
        "Message": "m",
    }
    assert parse_error(b"<html/>") == {}
    assert parse_error(b"no XML") == {}


@in_both_languages
def test_parser_reads_what_the_test_server_writes(read_rows: ReadRows, server: S3Server) -> None:
    """A page of the test server takes the fast way: no entry but the first is left to the strict parser."""
    from urllib.request import urlopen

    server.create_bucket("b", public=True)
    server.put("b", "a", b"1")
    server.put("b", "b c", b"22")
    with urlopen(f"{server.url}/b?list-type=2&encoding-type=url") as answer:
        body = answer.read()
    read: list[list[ObjectRow] | None] = []

    def noting(*arguments: Any) -> list[ObjectRow] | None:
        read.append(read_rows(*arguments))
        return read[-1]

    answer = parse_list(body, noting)
    assert [row[:2] for row in answer.rows] == [("a", 1), ("b c", 2)]
    assert read == [answer.rows]


@compiled
def test_the_garbage_collector_knows_no_row() -> None:
    """The collector looks at none of the rows that C makes: a mount makes a million of them."""
    rows = parse_list(page(entry("a"), entry("b").replace("STANDARD", "GLACIER")), rows_in_c).rows
    assert not any(map(gc.is_tracked, rows))


@compiled
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        (("x", 0, 1, (b"<", b">"), b"K", True, parse_date), TypeError),
        ((b"x", -1, 1, (b"<", b">"), b"K", True, parse_date), ValueError),
        ((b"x", 1, 0, (b"<", b">"), b"K", True, parse_date), ValueError),
        ((b"x", 0, 2, (b"<", b">"), b"K", True, parse_date), ValueError),
        ((b"x", 0, 1, (b"<",), b"K", True, parse_date), ValueError),
        ((b"x", 0, 1, (b"<", ">"), b"K", True, parse_date), TypeError),
        ((b"x", 0, 1, (b"", b""), b"K", True, parse_date), TypeError),
        ((b"<k<1>", 0, 5, (b"<", b"<", b">"), b"KS", True, lambda text: text), TypeError),
    ],
)
def test_nonsense_is_refused(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    """What is no part of a body, and no shape, raises instead of being read."""
    with pytest.raises(error):
        list_parser._COMPILED.read_rows(*arguments)


@compiled
def test_entry_of_too_many_fields() -> None:
    """An entry of more elements than C has place for is left to Python."""
    body = page(entry(tail="".join(f"<x{'y' * i}>1</x{'y' * i}>" for i in range(30))))
    assert parse_list(body) == parse_list_strictly(body)
    assert parse_list(body, rows_in_python) == parse_list_strictly(body)
