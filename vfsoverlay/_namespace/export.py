"""A snapshot as one file that can be kept, copied and loaded elsewhere: pinned data, and a start without listing.

The file is two lines of text, the mark and a JSON object with ``bytes``, ``blake2b`` and the ``info`` of
the snapshot, followed by the snapshot itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from vfsoverlay import _real
from vfsoverlay._namespace.generations import SnapshotHome
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot
from vfsoverlay._namespace.whole_file import pieces, reading, replacing, write_all

_MARK: Final = b"vfsoverlay listing 1\n"
_MAX_HEADER: Final = 1 << 20


def save_snapshot(snapshot: Snapshot, file: str) -> None:
    """Write *snapshot* to *file*, which is replaced as a whole or not at all; it is on the disk afterwards."""
    with reading(snapshot.path) as source:
        size, digest = _measure(source)
        header = {"bytes": size, "blake2b": digest, "info": dict(snapshot.info)}
        with replacing(file, f"{file}.{_real.getpid()}.tmp") as target:
            write_all(target, _MARK + json.dumps(header).encode() + b"\n")
            for piece in pieces(source):
                write_all(target, piece)


def snapshot_info(file: str) -> Mapping[str, str]:
    """What the saved snapshot says about itself: identity, prefix, generation, listed_at_ns, counts.

    Raises:
        ValueError: *file* is no saved snapshot of this version.
    """
    with reading(file) as source:
        return dict(_header(source, file)["info"])


def load_snapshot(file: str, directory: str, *, identity: str) -> Snapshot:
    """Check the saved snapshot *file*, copy it to *directory* unless it is there, and open it.

    Args:
        file: What ``save_snapshot`` wrote.
        directory: Where snapshots lie.
        identity: Must be the one that the snapshot was built for.

    Raises:
        ValueError: It is no saved snapshot of this version, is damaged or cut, or is one of another source.
    """
    with reading(file) as source:
        header = _header(source, file)
        info = header["info"]
        if info["identity"] != identity:
            msg = f"{file} is a listing of {info['identity']}, not of {identity}"
            raise ValueError(msg)
        home = SnapshotHome(directory, identity)
        path = home.path(int(info["generation"], 16))
        with home.locked():
            if not _is_there(path, header):
                with replacing(path, path + ".tmp") as target:
                    for piece in pieces(source):
                        write_all(target, piece)
                    if not _is_there(path + ".tmp", header):
                        msg = f"{file} is damaged: its content is not what was saved; save it again"
                        raise ValueError(msg)
            return _open_checked(path, header["info"], file)


def _is_there(path: str, header: Mapping[str, Any]) -> bool:
    """Whether the file *path* has the content that *header* speaks of."""
    with suppress(FileNotFoundError), reading(path) as descriptor:
        return _measure(descriptor) == (header["bytes"], header["blake2b"])
    return False


def _open_checked(path: str, info: Mapping[str, str], file: str) -> Snapshot:
    try:
        snapshot = open_snapshot(path)
    except OSError as error:
        _real.unlink(path)
        msg = f"{file} holds no usable listing: {error.strerror}"
        raise ValueError(msg) from error
    if dict(snapshot.info) == dict(info):
        return snapshot
    snapshot.close()
    _real.unlink(path)
    msg = f"{file} is damaged: it holds another listing than it says"
    raise ValueError(msg)


def _header(source: int, file: str) -> dict[str, Any]:
    """Read the header of a saved snapshot; *source* stands at its content then."""
    start = _real.read(source, _MAX_HEADER)
    mark, line, _ = (*start.split(b"\n", 2), b"", b"")[:3]
    try:
        header: Any = json.loads(line) if mark == _MARK.rstrip() else None
        info = header["info"]
        sound = type(header["bytes"]) is int and all(type(value) is str for value in info.values())
        sound = sound and int(info["generation"], 16) > 0 and type(info["identity"]) is str
    except (ValueError, TypeError, LookupError, AttributeError):
        sound = False
    if not sound:
        msg = f"{file} is no listing saved by this version of vfsoverlay"
        raise ValueError(msg)
    _real.lseek(source, len(mark) + len(line) + 2, 0)
    return dict(header)


def _measure(descriptor: int) -> tuple[int, str]:
    """Length and checksum of a file, which stands at its beginning afterwards."""
    digest, size = blake2b(), 0
    for piece in pieces(descriptor):
        digest.update(piece)
        size += len(piece)
    _real.lseek(descriptor, 0, 0)
    return size, digest.hexdigest()
