"""Any file system of fsspec as an ``ObjectStore``, as well as it allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectInfo
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.fsspec_file_system import FileSystem
from vfsoverlay._store.fsspec_rows import row_of
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.protocol import Begin, ObjectRow, Page, Sink

#: Bytes asked of a file system at once: it hands them over as one object in memory.
_AT_ONCE: Final = 8 * 1024**2
_LIST: Final = "listing"
_READ: Final = "reading"

_Found = tuple[list[ObjectRow], list[str]]


class FsspecStore:
    """The files below one directory of a file system.

    Versions are pinned as far as fsspec allows: after the bytes of a range have come, ``info()`` must
    still tell the listed version. A file system that tells no ETag, generation or inode is trusted by size and time.
    """

    #: Each answer is waited for.
    begin: Begin | None = None

    def __init__(self, base: FileSystem, root: str, origin: str) -> None:
        self._base = base
        self._root = root
        self._origin = origin

    @property
    def origin(self) -> str:
        """URL of the directory: what makes equal keys of two stores different objects."""
        return self._origin

    @property
    def is_ordered(self) -> bool:
        """False: whatever is asked for, all is listed."""
        return False

    def check_access(self, prefix: str) -> None:
        """Prove that *prefix* can be listed."""
        if not self._base.proved:
            next(self.list_pages(prefix, delimiter="/"), None)

    def list_pages(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]:
        """Pages of all files below the directory whose keys begin with *prefix* and follow *start_after*.

        fsspec lists a whole tree at once, so pages save memory to nobody here. An empty directory is
        told as an object whose key ends in a slash.
        """
        folder = prefix.rpartition("/")[0]
        attempts = self._base.attempts(listing=True)
        with self._base.telling(_LIST, self._name(prefix), attempts):
            found = self._base.call(attempts, "list", lambda fs: self._find(fs, folder, deep=not delimiter))
        self._base.proved = True
        rows, prefixes = found
        rows = sorted(row for row in rows if row[0].startswith(prefix) and row[0] > start_after)
        prefixes = sorted(name for name in prefixes if name.startswith(prefix) and name > start_after)
        for at in range(0, len(rows) or 1, page_size):
            yield Page(rows[at : at + page_size], prefixes if at == 0 else [])

    def head(self, key: str) -> ObjectRow:
        """What a listing would say of the file *key*."""
        attempts = self._base.attempts(listing=False)
        with self._base.telling(_READ, self._name(key), attempts):
            entry = self._base.call(attempts, "list", lambda fs: fs.info(self._path(key)))
            if entry["type"] == "directory":
                raise Failure(Kind.MISSING_KEY, "it is a directory, not a file")
            return row_of(key, entry)

    def read_range(self, info: ObjectInfo, start: int, stop: int, sink: Sink, *, purpose: Purpose = "read") -> None:
        """Give bytes *start* to *stop* of this version to *sink*; see ``ObjectStore.read_range``."""
        path = self._path(info.key)
        for at in range(start, stop, _AT_ONCE):
            end = min(at + _AT_ONCE, stop)
            attempts = self._base.attempts(listing=False, sink=sink)
            with self._base.telling(_READ, self._name(info.key), attempts):
                read = _PinnedRead(path, info, at, end)
                data = self._base.call(attempts, purpose, read)
            self._base.metrics.add(f"bytes.{purpose}", len(data))
            sink(memoryview(data))

    def after_fork(self) -> None:
        """Make the file system anew in this child."""
        self._base.after_fork()

    def close(self) -> None:
        """Nothing is kept open between calls."""

    # --------------------------------------------------------------------------------------- inside

    def _name(self, key: str) -> str:
        return f"{self._origin}/{key}"

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root or "/"

    def _find(self, fs: Any, folder: str, *, deep: bool) -> _Found:
        top = self._path(folder)
        entries = _entries(fs, top, deep=deep)
        if not entries:
            return self._empty(fs, folder)
        rows, directories = [], set()
        for entry in entries:
            key = self._key(entry["name"])
            if key == folder:
                # Over HTTP a directory is told as a file, beside what is in it.
                if entry["type"] != "directory" and len(entries) == 1:
                    return self._below_file(folder)
            elif entry["type"] == "directory":
                directories.add(f"{key}/")
            else:
                rows.append(row_of(key, entry if entry.get("size") is not None else fs.info(entry["name"])))
        if not deep:
            return rows, list(directories)
        return rows + _markers(directories, rows), []

    def _empty(self, fs: Any, folder: str) -> _Found:
        """Of a directory without entries: its marker, so that it exists; nothing of one that does not."""
        if fs.isdir(self._path(folder)):
            return ([_marker(f"{folder}/")] if folder else []), []
        if folder:
            return [], []
        raise Failure(Kind.MISSING_BUCKET, "there is no such directory", next_step="check the spelling")

    @staticmethod
    def _below_file(folder: str) -> _Found:
        """Nothing is below a file; but the source must be a directory."""
        if folder:
            return [], []
        raise Failure(Kind.REFUSED, "it is a file, not a directory", next_step="mount the directory it lies in")

    def _key(self, name: str) -> str:
        if name.rstrip("/") == self._root:
            return ""
        if not name.startswith(f"{self._root}/"):
            raise Failure(Kind.MALFORMED, f"the file system lists {name!r}, which is not below {self._root!r}")
        return name[len(self._root) + 1 :].rstrip("/")


class _PinnedRead:
    """One range of one version; afterwards the file must still be that version."""

    def __init__(self, path: str, info: ObjectInfo, start: int, stop: int) -> None:
        self._path, self._info, self._start, self._stop = path, info, start, stop

    def __call__(self, fs: Any) -> bytes:
        data: bytes = fs.cat_file(self._path, start=self._start, end=self._stop)
        now = row_of(self._info.key, fs.info(self._path))
        if now[1:4] != (self._info.size, self._info.mtime_ns, self._info.etag):
            raise Failure(Kind.CHANGED, "it is no longer the version that was listed")
        if len(data) == self._info.size > self._stop - self._start:
            # A web server that knows no ranges sends all of the file.
            data = data[self._start : self._stop]
        if len(data) != self._stop - self._start:
            raise Failure(Kind.NETWORK, f"{len(data)} bytes came of {self._stop - self._start}")
        return data


def _entries(fs: Any, top: str, *, deep: bool) -> list[dict[str, Any]]:
    try:
        if not deep:
            return list(fs.ls(top, detail=True))
        # Older versions of fsspec say nothing of a file but its name.
        found = fs.find(top, detail=True, withdirs=True).items()
        return [{"name": name, "type": "file", **entry} for name, entry in found]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        # Older file systems raise it for a file, where newer ones tell what the file is.
        return [fs.info(top)]


def _markers(directories: set[str], rows: list[ObjectRow]) -> list[ObjectRow]:
    """Rows that stand for the directories with nothing in them."""
    parents = {key.rstrip("/").rpartition("/")[0] + "/" for key in directories}
    parents.update(row[0].rpartition("/")[0] + "/" for row in rows)
    return [_marker(name) for name in sorted(directories - parents)]


def _marker(name: str) -> ObjectRow:
    return (name, 0, 0, "", "", "")
