"""The listings that a cache directory keeps: damaged ones are found, and removed where nobody reads them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, NamedTuple

from vfsoverlay import _real
from vfsoverlay._namespace.generations import SUFFIX, holding, remove_unused
from vfsoverlay._namespace.schema import APPLICATION_ID, FORMAT
from vfsoverlay._namespace.snapshot_file import SnapshotFile
from vfsoverlay._namespace.whole_file import reading

#: Where SQLite's header has the two numbers that tell a snapshot, and of which format it is (file format, 1.3).
_USER_VERSION: Final = slice(60, 64)
_APPLICATION_ID: Final = slice(68, 72)


class Damage(NamedTuple):
    """One listing that is not what was written."""

    name: str
    what: str


class Listings(NamedTuple):
    """What a check of the listings found."""

    checked: int
    damaged: list[Damage]


def check_listings(directory: str) -> Listings:
    """Read all listings in *directory*; a damaged one is removed unless a process has it open.

    Who has one open reads on meanwhile. Listings of other formats belong to other versions of this
    package, which share the directory: they are left alone, and not counted.
    """
    checked = 0
    damaged = []
    for path in _kept(directory):
        try:
            before = _real.stat(path)
            if _is_of_another_format(path):
                continue
            checked += 1
            _verify(path)
        except FileNotFoundError:  # removed meanwhile: a newer one is there
            continue
        except OSError as error:
            end = "it was removed" if _removed(path, before) else "it stays until no process reads it"
            damaged.append(Damage(path.rpartition("/")[2], f"{error.strerror}; {end}"))
    return Listings(checked, damaged)


def _kept(directory: str) -> list[str]:
    try:
        names = _real.listdir(directory)
    except FileNotFoundError:
        return []
    return [f"{directory}/{name}" for name in sorted(names) if name.endswith(SUFFIX) and not name.startswith(".")]


def _is_of_another_format(path: str) -> bool:
    with reading(path) as descriptor:
        header = _real.pread(descriptor, _APPLICATION_ID.stop, 0)
    ours = int.from_bytes(header[_APPLICATION_ID], "big") == APPLICATION_ID
    return ours and int.from_bytes(header[_USER_VERSION], "big") != FORMAT


def _verify(path: str) -> None:
    file = SnapshotFile(path)
    try:
        file.verify()
    finally:
        file.close()


def _removed(path: str, before: os.stat_result) -> bool:
    """Remove *path* if it is still the file that *before* describes, and nobody reads or replaces it."""
    mount_id = path.rpartition("/")[2].partition(".")[0]
    # Who lists the same names, or loads them from a file, holds this, and tidies up after itself.
    with suppress(OSError), holding(f"{path.rpartition('/')[0]}/{mount_id}.lock", wait=False):
        now = _real.stat(path)
        if (now.st_dev, now.st_ino, now.st_ctime_ns) == (before.st_dev, before.st_ino, before.st_ctime_ns):
            return remove_unused(path)
    return False
