"""Frozen values that every floor shares: what an object is, which version of it, where its names begin."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple


class ObjectInfo(NamedTuple):
    """One object as a listing names it; a listing's rows are tuples of this shape."""

    key: str
    size: int
    mtime_ns: int
    """LastModified in nanoseconds since the epoch."""
    etag: str
    """Without quotes; empty where the store has none (then size and mtime stand in)."""
    storage_class: str = ""
    """Empty for STANDARD; an archived class makes the file unreadable until restored."""
    version_id: str = ""
    """Empty unless the mount looks at a point in time of a versioned bucket."""


class ObjectId(NamedTuple):
    """One version of one object: the identity under which bytes are cached, so versions never mix."""

    origin: str
    """Endpoint and bucket, or the URL of another file system: what makes equal keys different."""
    key: str
    etag: str
    size: int
    mtime_ns: int
    """Zero when the ETag alone identifies the version."""
    version_id: str = ""

    @property
    def digest(self) -> str:
        """40 hexadecimal digits; the name of this version in the cache."""
        origin, key, etag, size, mtime_ns, version_id = self
        # The lengths first, so that ("ab", "c") and ("a", "bc") differ.
        text = f"{len(origin)} {len(key)} {len(etag)} {size} {mtime_ns} {origin}{key}{etag}{version_id}"
        return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()

    @classmethod
    def of(cls, origin: str, info: ObjectInfo) -> ObjectId:
        """The identity of *info* as *origin* serves it."""
        mtime_ns = 0 if info.etag else info.mtime_ns
        return cls(origin, info.key, info.etag, info.size, mtime_ns, info.version_id)


class Prefix(str):
    """The leading part of the keys of a mount: empty, or ending in a slash."""

    __slots__ = ()

    def __new__(cls, value: str) -> Prefix:
        if value and not value.endswith("/"):
            msg = f"a prefix is empty or ends in '/', not {value!r}"
            raise ValueError(msg)
        return super().__new__(cls, value)
