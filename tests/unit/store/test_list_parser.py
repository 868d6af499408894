"""Pages of listings: the fast parser and the strict one agree, and nothing odd passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfsoverlay._store.list_answer import MalformedListing, parse_date
from vfsoverlay._store.list_parser import parse_list
from vfsoverlay._store.list_strict import parse_error, parse_list_strictly, parse_versions
from vfsoverlay.testing import S3Server

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
def test_row_of_one_entry(body: bytes, row: tuple[object, ...]) -> None:
    """Both parsers give the key decoded as the page says, the ETag bare, the date exact, and restored as readable."""
    assert parse_list(body).rows == [row]
    assert parse_list_strictly(body).rows == [row]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), max_size=20, unique=True))
def test_fast_parser_agrees_with_the_strict_one(keys: list[str]) -> None:
    """For any keys, what the test server lists is parsed to those keys, by both parsers alike."""
    from urllib.parse import quote_plus

    body = page(*(entry(quote_plus(key, safe="/")) for key in keys), more=ENCODED)
    assert [row[0] for row in parse_list(body).rows] == keys
    assert parse_list(body) == parse_list_strictly(body)


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
def test_body_that_is_no_listing(body: bytes) -> None:
    """Anything but a whole listing is refused: half a page, another document, a field that cannot be."""
    with pytest.raises(MalformedListing):
        parse_list(body)


@pytest.mark.parametrize(
    "date",
    ["yesterday", "1677-01-01T00:00:00Z", "2263-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z",
     "0000-01-01T00:00:00Z", "2020-13-01T00:00:00Z", "2021-02-29T00:00:00Z", "2020-01-01T25:00:00Z"],
)  # fmt: skip
def test_time_that_is_no_date(date: str) -> None:
    """A time that is no date, or one that no file can have, is refused with the key and the text."""
    with pytest.raises(MalformedListing, match=f"'b' has a time that is not a date: '{date}'"):
        parse_list(page(entry("a"), entry("b").replace(DATE, date)))


def test_text_between_entries_is_not_skipped() -> None:
    """What stands between two entries makes the strict parser look, which finds what the fast one would have missed."""
    odd = entry("b").replace("<Key>", "<Key >")
    assert [row[0] for row in parse_list(page(entry("a"), odd, entry("c"))).rows] == ["a", "b", "c"]


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
def test_entry_unlike_the_others(odd: str) -> None:
    """Whichever place an odd entry has in a page, both parsers give the same rows."""
    for body in (page(odd, entry("c")), page(entry("a"), odd, entry("c")), page(entry("a"), odd)):
        assert parse_list(body) == parse_list_strictly(body)


def test_frame_of_a_page() -> None:
    """Truncation, the token and decoded common prefixes come from around the entries."""
    more = f"{ENCODED}<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>"
    prefixes = (
        "<CommonPrefixes><Prefix>d+1/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix></CommonPrefixes>"
    )
    answer = parse_list(page(entry(), prefixes, more=more))
    assert (answer.prefixes, answer.truncated, answer.token) == (["d 1/", "e/"], True, "a&b")
    assert not parse_list(page()).truncated


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


def test_parser_reads_what_the_test_server_writes(server: S3Server) -> None:
    """A page of the test server takes the fast way: no byte of it is left to the strict parser."""
    from urllib.request import urlopen

    server.create_bucket("b", public=True)
    server.put("b", "a", b"1")
    server.put("b", "b", b"22")
    with urlopen(f"{server.url}/b?list-type=2&encoding-type=url") as answer:
        body = answer.read()
    assert [row[:2] for row in parse_list(body).rows] == [("a", 1), ("b", 2)]
