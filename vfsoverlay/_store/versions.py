"""A versioned bucket as it was at a point in time: for each key, the version that was current then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vfsoverlay._store.list_answer import VersionsAnswer
from vfsoverlay._store.listing_course import Place
from vfsoverlay._store.protocol import ObjectRow, Page


def pages_at(page: Callable[[Place], VersionsAnswer], at: int, start_after: str) -> Iterator[Page]:
    """Pages of the objects that existed at *at* (nanoseconds since the epoch).

    S3 lists versions by key, newest first, so the first version of a key that is not younger than
    *at* is the one that was current; if it is a delete marker, there was no object. A common prefix
    is listed even if all below it is younger: that takes another listing to find out.
    """
    markers: Place = [("key-marker", start_after)] if start_after else []
    decided = ""
    while True:
        answer = page(markers)
        rows: list[ObjectRow] = []
        for version in answer.versions:
            row = version.row
            if row[0] == decided or row[2] > at:
                continue
            decided = row[0]
            if not version.deleted:
                rows.append(row)
        yield Page(rows, answer.prefixes)
        if not answer.truncated:
            return
        markers = following_versions(answer)


def following_versions(answer: VersionsAnswer) -> Place:
    """Where the page behind *answer* begins."""
    return [("key-marker", answer.key_marker), ("version-id-marker", answer.version_marker)]
