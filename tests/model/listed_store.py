"""A store that can only be listed, as ListObjectsV2 does it, and counts how often it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

Row = tuple[str, int, int, str, str, str]


class ListedPage(NamedTuple):
    rows: list[Row]
    prefixes: list[str]


class ListedStore:
    """Objects given as key -> size; ``mtimes`` may be set by a test, and ``failures``: what happens at the next pages.

    ``page_size`` bounds a page, whatever is asked for. ``requests`` has one (prefix, delimiter) for
    each page given.
    """

    def __init__(self, sizes: dict[str, int] | list[str], page_size: int = 1000) -> None:
        self.sizes = dict(sizes) if isinstance(sizes, dict) else dict.fromkeys(sizes, 1)
        self.page_size = page_size
        self.mtimes: dict[str, int] = {}
        self.failures: list[BaseException | None] = []
        self.requests: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def row(self, key: str) -> Row:
        """What a listing says about *key*."""
        return (key, self.sizes[key], self.mtimes.get(key, 10**18), f"etag of {key}", "", "")

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[ListedPage]:
        """Pages of rows and common prefixes together in byte order, as S3 counts them."""
        found: dict[str, Row | None] = {}
        for key in sorted(self.sizes, key=_bytes):
            if key.startswith(prefix) and _bytes(key) > _bytes(start_after):
                end = key.find(delimiter, len(prefix)) + 1 if delimiter else 0
                found[key[:end] if end else key] = None if end else self.row(key)
        limit = min(page_size, self.page_size)
        items = list(found.items())
        for start in range(0, max(len(items), 1), limit):
            with self._lock:
                self.requests.append((prefix, delimiter))
                failure = self.failures.pop(0) if self.failures else None
            if failure is not None:
                raise failure
            page = items[start : start + limit]
            yield ListedPage([row for _, row in page if row], [name for name, row in page if not row])


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
