"""A recording: the listings and the fetched bytes of a cache directory as one file, to be used without a network.

The file is a ZIP archive. Its member ``recording.json`` has the format and the length of each file;
the others are the stretches of the files that hold data, named by file and offset, since most of a
large object may never have been fetched.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from vfsoverlay import _real
from vfsoverlay._cache.layout import DATA, FORMAT
from vfsoverlay._namespace.whole_file import reading, replacing, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTENTS: Final = "recording.json"
_MARK: Final = f"vfsoverlay recording 1, cache {FORMAT}"
_PIECE: Final = 1 << 20

#: What counts: complete and partial objects with their records, and listings. Locks and hints are made anew.
_OBJECTS: Final = re.compile(r"objects/[0-9a-f]{2}/(?:records|[0-9a-f-]+\.(?:data|map))")
_LISTING: Final = re.compile(r"index/([0-9a-f]+)\.[0-9a-f]{16}\.sqlite")


def save_recording(cache_dir: str, file: str) -> tuple[int, int]:
    """Write what *cache_dir* holds to *file*, which is replaced as a whole or not at all.

    Nothing may be fetched into the directory meanwhile.

    Returns:
        How many objects there are, and how many bytes the file has.
    """
    top = f"{cache_dir}/{FORMAT}"
    paths = [*_objects(top), *_newest_listings(top)]
    with (
        replacing(file, f"{file}.{_real.getpid()}.tmp") as target,
        _real.io_open(target, "wb", closefd=False) as raw,
        ZipFile(raw, "w", ZIP_DEFLATED) as archive,
    ):
        sizes = {path: _real.stat(f"{top}/{path}").st_size for path in paths}
        archive.writestr(_CONTENTS, json.dumps({"mark": _MARK, "files": sizes}), ZIP_STORED)
        for path in paths:
            _pack(f"{top}/{path}", path, archive)
    return sum(path.endswith(DATA) for path in paths), _real.stat(file).st_size


def load_recording(file: str, cache_dir: str) -> None:
    """Lay out what *file* holds in *cache_dir*, an empty directory: a cache for mounts with ``offline=True``.

    Every object is compared with its checksum when it is first opened, as after a start of the machine.

    Raises:
        ValueError: *file* is no recording of this version, or it is damaged.
    """
    top = f"{cache_dir}/{FORMAT}"
    try:
        with _real.io_open(file, "rb") as raw, ZipFile(raw) as archive:
            sizes = _contents(archive)
            for path, size in sizes.items():
                _real.makedirs(f"{top}/{path}".rpartition("/")[0], 0o700)
                _allocate(f"{top}/{path}", size)
            for member in archive.namelist():
                path, _, offset = member.partition("@")
                if path in sizes:
                    _unpack(archive, member, f"{top}/{path}", int(offset))
            for path in sizes:
                if path.endswith(DATA):
                    _real.chmod(f"{top}/{path}", 0o400)
    except (BadZipFile, LookupError, TypeError, ValueError, EOFError) as error:
        msg = f"{file} is no recording of this version of vfsoverlay, or it is damaged: {error}"
        raise ValueError(msg) from error


def _objects(top: str) -> list[str]:
    found = []
    for shard in sorted(_listed(f"{top}/objects")):
        found += [f"objects/{shard}/{name}" for name in sorted(_listed(f"{top}/objects/{shard}"))]
    return [path for path in found if _OBJECTS.fullmatch(path)]


def _newest_listings(top: str) -> list[str]:
    """The last listing of each source; their names sort by age."""
    newest = {}
    for name in sorted(_listed(f"{top}/index")):
        match = _LISTING.fullmatch(f"index/{name}")
        if match:
            newest[match[1]] = match[0]
    return list(newest.values())


def _listed(directory: str) -> list[str]:
    try:
        return _real.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _contents(archive: ZipFile) -> dict[str, int]:
    contents: Any = json.loads(archive.read(_CONTENTS))
    if contents["mark"] != _MARK:
        raise ValueError(contents["mark"])
    sizes: dict[str, int] = contents["files"]
    # Names become paths: none may lead elsewhere.
    if not all(_OBJECTS.fullmatch(path) or _LISTING.fullmatch(path) for path in sizes):
        msg = "it names files that no cache has"
        raise ValueError(msg)
    return sizes


def _pack(source: str, path: str, archive: ZipFile) -> None:
    with reading(source) as descriptor:
        for start, stop in _stretches(descriptor):
            _real.lseek(descriptor, start, os.SEEK_SET)
            with archive.open(f"{path}@{start}", "w", force_zip64=True) as member:
                left = stop - start
                while left and (piece := _real.read(descriptor, min(_PIECE, left))):
                    member.write(piece)
                    left -= len(piece)


def _stretches(descriptor: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each part of a file that is no hole."""
    size = _real.fstat(descriptor).st_size
    stop = 0
    while stop < size:
        try:
            start = _real.lseek(descriptor, stop, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        stop = _real.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, stop


def _allocate(path: str, size: int) -> None:
    descriptor = _real.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _real.ftruncate(descriptor, size)
    finally:
        _real.close(descriptor)


def _unpack(archive: ZipFile, member: str, path: str, offset: int) -> None:
    descriptor = _real.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        _real.lseek(descriptor, offset, os.SEEK_SET)
        with archive.open(member) as source:
            while piece := source.read(_PIECE):
                write_all(descriptor, piece)
    finally:
        _real.close(descriptor)
