"""Buckets: named sets of objects, in memory or in a directory."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Sequence
from hashlib import md5
from os import stat_result
from typing import Final

from vfsoverlay import _real
from vfsoverlay.testing._objects import BytesContent, FileContent, StoredObject

#: What ``public`` and ``deny`` may name.
ACTIONS: Final = frozenset({"list", "get", "put", "delete"})
_READING: Final = frozenset({"list", "get"})

#: Key, LastModified as listings write it, ETag, size, storage class.
Row = tuple[str, str, str, int, str]


class Bucket:
    """Objects in memory, by key; every method may be called from any thread.

    Args:
        name: Name of the bucket.
        public: What anonymous requests may do: True for listing and reading, False for nothing, or a
            collection of "list", "get", "put" and "delete".
        deny: What is refused to everybody, as a bucket policy does; same names.
        region: Where the bucket says it is.
        versioned: Keep old versions and delete markers.
        requester_pays: Refuse requests that do not agree to pay.
    """

    def __init__(
        self,
        name: str,
        *,
        public: bool | Collection[str] = False,
        deny: Collection[str] = (),
        region: str = "us-east-1",
        versioned: bool = False,
        requester_pays: bool = False,
    ) -> None:
        self.name = name
        self.public = _READING if public is True else frozenset(public or ())
        self.deny = frozenset(deny)
        if unknown := (self.public | self.deny) - ACTIONS:
            msg = f"actions of a bucket are {sorted(ACTIONS)}, not {sorted(unknown)}"
            raise ValueError(msg)
        self.region = region
        self.versioned = versioned
        self.requester_pays = requester_pays
        self.created = time.time()
        self._lock = threading.RLock()
        self._objects: dict[str, StoredObject] = {}
        self._versions: dict[str, list[StoredObject]] = {}
        self._sorted: list[str] | None = []
        self._last_version = 0

    def keys(self) -> Sequence[str]:
        """All current keys in UTF-8 byte order, which for text is the order of code points; never changed in place."""
        with self._lock:
            if self._sorted is None:
                self._sorted = sorted(self._objects)
            return self._sorted

    def rows(self, keys: Sequence[str]) -> list[Row]:
        """What a listing says of those of *keys* that still exist."""
        found = self._objects
        return [
            (key, stored.listed_date(), stored.etag, stored.size, stored.storage_class)
            for key in keys
            if (stored := found.get(key)) is not None
        ]

    def find(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """The current version of *key*, or the one named; None where there is none."""
        if version_id is None or (version_id == "null" and key not in self._versions):
            return self._objects.get(key)
        with self._lock:
            return next((v for v in self._versions.get(key, ()) if v.version_id == version_id), None)

    def versions(self, key: str) -> list[StoredObject]:
        """All versions of *key*, newest first, delete markers included."""
        with self._lock:
            if key in self._versions:
                return self._versions[key][::-1]
            return [self._objects[key]] if key in self._objects else []

    def versioned_keys(self) -> list[str]:
        """Keys that have any version, in order."""
        with self._lock:
            return sorted(self._objects.keys() | self._versions.keys())

    def put(self, key: str, stored: StoredObject) -> StoredObject:
        """Make *stored* the current version of *key*."""
        with self._lock:
            if self.versioned:
                self._keep_version(key, stored)
            if key not in self._objects:
                self._sorted = None
            self._objects[key] = stored
            return stored

    def delete(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """Remove *key*, or one version of it; the delete marker, or the version that went."""
        with self._lock:
            if version_id is not None and (key in self._versions or version_id != "null"):
                return self._delete_version(key, version_id)
            gone = self._objects.pop(key, None)
            self._sorted = None
            if not self.versioned:
                return gone
            marker = StoredObject(BytesContent(b""), is_delete_marker=True)
            self._keep_version(key, marker, before=gone)
            return marker

    def _keep_version(self, key: str, stored: StoredObject, *, before: StoredObject | None = None) -> None:
        if key not in self._versions:
            # An object from before versioning was switched on stays as version "null".
            old = before or self._objects.get(key)
            self._versions[key] = [old] if old is not None else []
        self._last_version += 1
        stored.version_id = md5(f"{self.name}/{self._last_version}".encode()).hexdigest()
        self._versions[key].append(stored)

    def _delete_version(self, key: str, version_id: str) -> StoredObject | None:
        kept = self._versions.get(key, [])
        gone = next((version for version in kept if version.version_id == version_id), None)
        if gone is None:
            return None
        kept.remove(gone)
        self._objects.pop(key, None)
        self._sorted = None
        if kept and not kept[-1].is_delete_marker:
            self._objects[key] = kept[-1]
        elif not kept:
            del self._versions[key]
        return gone


class DirectoryBucket(Bucket):
    """The files below a directory as objects, read from disk when they are asked for.

    The names are read once; ``rescan()`` sees files that came or went behind the server's back (a
    changed file is noticed at its next GET). What a directory cannot hold (``a`` beside ``a/b``,
    ``dir/``, ``//``, ``..``) is kept in memory. A file that was there already has an ETag made of
    its inode, size and time, in the form of a multipart ETag, since hashing takes long; what is
    PUT through the server has its MD5.
    """

    def __init__(self, name: str, directory: str, *, public: bool | Collection[str] = True, region: str) -> None:
        super().__init__(name, public=public, region=region)
        self._directory = directory
        self._temporary = 0
        _real.makedirs(directory)
        self.rescan()

    def rescan(self) -> None:
        """Read the names, sizes and times of all files again."""
        found: dict[str, StoredObject] = {}
        pending = [("", self._directory)]
        while pending:
            prefix, directory = pending.pop()
            with _real.scandir(directory) as entries:
                for entry in entries:
                    if not _is_text(entry.name):
                        continue  # not UTF-8, so it cannot be a key
                    if entry.is_dir(follow_symlinks=False):  # a link may lead back up
                        pending.append((f"{prefix}{entry.name}/", entry.path))
                    elif entry.is_file():
                        found[prefix + entry.name] = _stat_object(entry.path, entry.stat())
        with self._lock:
            kept = {k: o for k, o in self._objects.items() if isinstance(o.content, BytesContent)}
            self._objects = {**found, **kept}
            self._sorted = None

    def find(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """See ``Bucket``; the file is looked at again."""
        stored = super().find(key, version_id)
        if stored is None or not isinstance(stored.content, FileContent):
            return stored
        try:
            now = _real.stat(stored.content.path)
        except FileNotFoundError:
            super().delete(key)
            return None
        if now.st_size != stored.size or now.st_mtime != stored.last_modified:
            stored = super().put(key, _stat_object(stored.content.path, now))
        return stored

    def put(self, key: str, stored: StoredObject) -> StoredObject:
        """See ``Bucket``; the bytes go to a file where the key can be a path."""
        with self._lock:
            if isinstance(stored.content, BytesContent) and self._fits(key):
                self._write(key, stored)
            return super().put(key, stored)

    def delete(self, key: str, version_id: str | None = None) -> StoredObject | None:
        """See ``Bucket``; the file goes as well."""
        with self._lock:
            gone = super().delete(key, version_id)
            if gone is not None and isinstance(gone.content, FileContent):
                with contextlib.suppress(FileNotFoundError):  # deleted behind the server's back
                    _real.unlink(gone.content.path)
            return gone

    def _fits(self, key: str) -> bool:
        """Whether *key* can be the path of a file beside those that are there."""
        parts = key.split("/")
        if "\0" in key or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
            return False
        parents = ["/".join(parts[:n]) for n in range(1, len(parts))]
        return not _is_directory(f"{self._directory}/{key}") and not any(parent in self._objects for parent in parents)

    def _write(self, key: str, stored: StoredObject) -> None:
        path = f"{self._directory}/{key}"
        _real.makedirs(path.rpartition("/")[0])
        self._temporary += 1
        temporary = f"{path.rpartition('/')[0]}/.{_real.getpid()}-{self._temporary}.tmp"
        assert isinstance(stored.content, BytesContent)
        with _real.io_open(temporary, "wb") as file:
            file.write(stored.content.data)
        _real.utime(temporary, (stored.last_modified, stored.last_modified))
        _real.rename(temporary, path)
        stored.content = FileContent(path, stored.content.size)
        stored.last_modified = _real.stat(path).st_mtime


def _stat_object(path: str, stat: stat_result) -> StoredObject:
    identity = f"{stat.st_ino}.{stat.st_size}.{stat.st_mtime_ns}"
    etag = md5(identity.encode()).hexdigest() + "-1"
    return StoredObject(FileContent(path, stat.st_size), etag=etag, last_modified=stat.st_mtime)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_directory(path: str) -> bool:
    try:
        return _real.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False
