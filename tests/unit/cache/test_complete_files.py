"""Known data files are opened pinned, and only while they look as recorded: in C as in Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vfsoverlay._cache import layout
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.locks import OfdLocks
from vfsoverlay._cache.records import Record
from vfsoverlay._model import ObjectId

ID = ObjectId("http://store", "key", "etag", 4, 0)


class OtherLocks(OfdLocks):
    """Locks that the step in C does not know, so that Python takes all steps."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    data = tmp_path / f"object{layout.DATA}"
    data.write_bytes(b"data")
    return data


@pytest.fixture(params=[OfdLocks, OtherLocks])
def files(request: pytest.FixtureRequest, path: Path) -> CompleteFiles:
    known = CompleteFiles(request.param())
    found = path.stat()
    record = Record(found.st_size, found.st_mtime_ns, found.st_ctime_ns, 0, b"boot")
    known.remember(ID, str(path).removesuffix(layout.DATA), record)
    return known


@pytest.fixture(autouse=True)
def _all_are_closed() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def test_a_file_that_looks_as_recorded_is_opened_pinned(files: CompleteFiles, path: Path) -> None:
    """The descriptor reads the file, names its identity, is not inherited, counts as used, and pins it until closed."""
    files.take_used()
    opened = files.open_identified(ID)
    assert opened is not None
    fd, *identity = opened
    other = os.open(path, os.O_RDONLY)
    try:
        assert identity == [path.stat().st_dev, path.stat().st_ino]
        assert os.read(fd, 10) == b"data"
        assert not os.get_inheritable(fd)
        assert OfdLocks().is_pinned(other)
        os.close(fd)
        assert not OfdLocks().is_pinned(other)
    finally:
        os.close(other)
    assert len(files.take_used()) == 1


def _longer(path: Path) -> None:
    times = path.stat()
    path.write_bytes(b"longer")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _older(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def _renamed(path: Path) -> None:
    # As an evictor does, who finds it in use and puts it back.
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:  # the clock of an older kernel's files ticks every few milliseconds
        path.rename(path.with_suffix(".gone")).rename(path)


def _linked(path: Path) -> None:
    path.rename(path.with_suffix(".gone"))
    path.symlink_to(path.with_suffix(".gone"))


@pytest.mark.parametrize("change", [_longer, _older, _renamed, _linked, os.unlink])
def test_another_file_is_forgotten(files: CompleteFiles, path: Path, change: Callable[[Path], object]) -> None:
    """A file of another size or time, one that was renamed, a link, and none at all are not opened, nor known then."""
    change(path)
    assert files.open_identified(ID) is None
    assert files.knows(ID) is None


def test_a_failure_is_raised(path: Path) -> None:
    """A lock that the file system refuses is no reason to forget the file: the caller hears of it."""

    class Refusing(OfdLocks):
        def pin(self, fd: int) -> None:
            os.fstat(-1 if fd else fd)

    files = CompleteFiles(Refusing())
    files.remember(ID, str(path).removesuffix(layout.DATA), Record(4, 0, 0, 0, b"boot"))
    with pytest.raises(OSError, match="Bad file descriptor"):
        files.open_identified(ID)
    assert files.knows(ID)
