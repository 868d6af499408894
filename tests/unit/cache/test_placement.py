"""The shards of a cache are marked as unrelated, where the file system knows such a mark."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

import pytest

from vfsoverlay._cache.layout import Layout
from vfsoverlay._cache.placement import scatter_directories

GET_FLAGS, SET_FLAGS, TOP_DIRECTORY = 0x80086601, 0x40086602, 0x00020000


def flags_of(path: str, change: int = 0) -> int:
    """The flags of the directory *path*, after *change* was added; a file system without flags ends the test."""
    fd = os.open(path, os.O_RDONLY)
    try:
        raw = bytearray(8)
        fcntl.ioctl(fd, GET_FLAGS, raw)
        fcntl.ioctl(fd, SET_FLAGS, struct.pack("l", struct.unpack("l", raw)[0] | change))
        fcntl.ioctl(fd, GET_FLAGS, raw)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
            pytest.skip(f"the file system of the temporary directory has no such flags: {error}")
        raise
    finally:
        os.close(fd)
    return int(struct.unpack("l", raw)[0])


def test_new_shards_lie_apart(tmp_path: Path) -> None:
    """The directory of the shards is marked when it is made, and its other flags stay as they were."""
    plain = flags_of(str(tmp_path), TOP_DIRECTORY)
    if not plain & TOP_DIRECTORY:
        pytest.skip("the file system of the temporary directory does not know the mark")
    places = Layout(str(tmp_path / "cache"))
    places.prepare()
    assert flags_of(places.objects) == flags_of(places.locks) | TOP_DIRECTORY


@pytest.mark.parametrize("path", ["/proc/self", "/dev/null", "/nowhere"])
def test_elsewhere_nothing_happens(path: str) -> None:
    """Where there is no such mark, or no directory, nothing is said."""
    scatter_directories(path)
