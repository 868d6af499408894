"""A bucket whose objects are made up by a formula, for listings of a million keys."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Collection, Sequence
from zlib import crc32

from vfsoverlay.testing._buckets import Bucket, Row
from vfsoverlay.testing._objects import BytesContent, StoredObject, iso_date


class GeneratedKeys(Sequence[str]):
    """*count* keys made by a formula, never held in memory.

    Args:
        count: How many.
        name: The key of number *i*; must ascend with *i* in byte order, so pad numbers with zeros.
            Default: ``d0000/f000`` and on, a thousand files a directory.
        size: Bytes of each object.
    """

    def __init__(self, count: int, name: Callable[[int], str] | None = None, *, size: int = 1024) -> None:
        self._numbers = range(count)
        self._name = name or _thousands
        self.size = size

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int | slice) -> str | list[str]:  # type: ignore[override]  # overloads say no more
        if isinstance(index, slice):
            return list(map(self._name, self._numbers[index]))
        return self._name(self._numbers[index])


class GeneratedBucket(Bucket):
    """The objects of ``GeneratedKeys``: each repeats its own key, and has an ETag made of it. It takes no PUT."""

    def __init__(self, name: str, keys: GeneratedKeys, *, public: bool | Collection[str], region: str) -> None:
        super().__init__(name, public=public, region=region, deny=("put", "delete"))
        self._keys = keys
        self._modified = float(int(time.time()))
        self._date = iso_date(self._modified)

    def keys(self) -> Sequence[str]:
        """See ``Bucket``."""
        return self._keys

    def rows(self, keys: Sequence[str]) -> list[Row]:
        """See ``Bucket``."""
        date, size = self._date, self._keys.size
        # As _etag, without a thousand calls: a page is made while a benchmark's clock runs.
        return [(key, date, "%08x" % crc32(key.encode()), size, "STANDARD") for key in keys]  # noqa: UP031 - as below

    def find(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """See ``Bucket``; there is one version."""
        if version_id not in (None, "null"):
            return None
        place = bisect.bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return None
        unit = key.encode() + b"\n"
        data = (unit * (self._keys.size // len(unit) + 1))[: self._keys.size]
        return StoredObject(BytesContent(data), etag=_etag(key), last_modified=self._modified)


def _thousands(number: int) -> str:
    return "d%04d/f%03d" % divmod(number, 1000)  # noqa: UP031 - half the time of an f-string


def _etag(key: str) -> str:
    # A short CRC and not an MD5: a page of a thousand rows is rendered while a benchmark's clock runs.
    return f"{crc32(key.encode()):08x}"
