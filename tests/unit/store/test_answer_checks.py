"""The head of an answer proves which bytes of which version follow, or the answer is refused."""

from __future__ import annotations

import pytest

from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.answer_checks import Body, check_answer, lower_case
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

INFO = ObjectInfo("k", 100, 1_000 * 10**9, "e")
NO_ETAG = INFO._replace(etag="")
THAT_TIME = "Thu, 01 Jan 1970 00:16:40 GMT"

Headers = dict[str, str]


@pytest.mark.parametrize(
    ("status", "headers", "info", "body"),
    [
        (206, {"Content-Range": "bytes 10-19/100", "ETag": '"e"'}, INFO, Body(0, 10)),
        (206, {"Content-Range": "bytes 10-19/*"}, INFO, Body(0, 10)),
        (206, {"Content-Range": "bytes 10-19/100", "Content-Length": "10"}, INFO, Body(0, 10)),
        (206, {"Content-Range": "bytes 10-14/100"}, INFO, Body(0, 5)),
        (206, {"Content-Range": "bytes 10-19/100", "ETag": 'W/"e"'}, INFO, Body(0, 10)),
        (200, {"Content-Range": "bytes 10-19/100"}, INFO, Body(0, 10)),
        (200, {"Content-Length": "100", "ETag": "e"}, INFO, Body(10, 10)),
        (200, {}, INFO, Body(10, 10)),
        (200, {"Content-Length": "100", "Last-Modified": THAT_TIME, "ETag": "any"}, NO_ETAG, Body(10, 10)),
        (200, {"Content-Length": "100", "Content-Encoding": "gzip", "ETag": '"e"'}, INFO, Body(10, 10)),
        (206, {"Content-Range": "bytes 10-19/100", "Content-Encoding": "identity"}, INFO, Body(0, 10)),
    ],
)
def test_answer_that_is_right(status: int, headers: Headers, info: ObjectInfo, body: Body) -> None:
    """The wanted bytes are found in partial answers, in shorter ones, and in whole objects."""
    assert check_answer(status, lower_case({"Last-Modified": THAT_TIME, **headers}), info, 10, 20) == body


@pytest.mark.parametrize(
    ("status", "headers", "info", "kind"),
    [
        (206, {"Content-Range": "bytes 10-19/100", "ETag": '"f"'}, INFO, Kind.CHANGED),
        (206, {"Content-Range": "bytes 10-19/101", "ETag": '"e"'}, INFO, Kind.CHANGED),
        (206, {"Content-Range": "bytes 10-19/99"}, NO_ETAG, Kind.CHANGED),
        (200, {"Content-Length": "101"}, NO_ETAG, Kind.CHANGED),
        (200, {"Content-Length": "99", "ETag": '"e"'}, INFO, Kind.CORRUPT),
        (200, {"Content-Length": "100", "Last-Modified": "Thu, 01 Jan 1970 00:16:41 GMT"}, NO_ETAG, Kind.CHANGED),
        (206, {}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 10-19/100", "Content-Length": "9"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 9-18/100"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 11-19/100"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 10-20/100"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 10-9/100"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes */100"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "lines 10-19/100"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 10-19/100", "Content-Length": "11"}, INFO, Kind.CORRUPT),
        (206, {"Content-Range": "bytes 10-19/100", "Content-Encoding": "gzip"}, INFO, Kind.CORRUPT),
        (200, {"Content-Encoding": "br", "ETag": '"e"'}, INFO, Kind.CORRUPT),
    ],
)
def test_answer_that_is_not(status: int, headers: Headers, info: ObjectInfo, kind: Kind) -> None:
    """Another ETag, size or time is another version; another range, or none told, is a corrupt answer."""
    with pytest.raises(Failure) as caught:
        check_answer(status, lower_case({"Last-Modified": THAT_TIME, **headers}), info, 10, 20)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Last-Modified": "Thu, 01 Jan 1970 00:16:41 GMT"}, Kind.CHANGED),
        ({"Last-Modified": "Thu, 01 Jan 99999999999999999999 00:16:40 GMT"}, Kind.MALFORMED),
        ({"Last-Modified": "some day"}, Kind.MALFORMED),
        ({}, Kind.MALFORMED),
    ],
)
@pytest.mark.parametrize("info", [INFO, NO_ETAG])
def test_answer_without_an_etag(headers: Headers, kind: Kind, info: ObjectInfo) -> None:
    """An answer without an ETag is of the listed version only if it has the date of that, whatever the listing told."""
    with pytest.raises(Failure) as caught:
        check_answer(206, lower_case({"Content-Range": "bytes 10-19/100", **headers}), info, 10, 20)
    assert caught.value.kind is kind
