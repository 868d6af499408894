"""Known data files are opened pinned, and only while they look as recorded: in C as in Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vfsoverlay._cache import complete_files, layout
from vfsoverlay._cache.complete_files import CompleteFiles
from vfsoverlay._cache.locks import OfdLocks
from vfsoverlay._cache.records import Record, find, pack
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
    before = set(os.listdir("/proc/self/fd"))
    yield
    # A thread of an earlier test may end meanwhile, and close its own.
    assert set(os.listdir("/proc/self/fd")) <= before


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


compiled = pytest.mark.skipif(complete_files._COMPILED is None, reason="nothing is compiled, or it is not wanted")

DIGEST, BOOT = bytes.fromhex(ID.digest), bytes(range(16))
MOST_IN_C = 400
"""Records in a file that is looked through in C."""


def entry(path: Path, kind: str) -> bytes:
    """An entry of a record file: the right one for *path*, or one with something wrong."""
    found = path.stat()
    wrong = 1 if kind == "of other times" else 0
    boot = bytes(16) if kind == "of another boot" else BOOT
    record = Record(found.st_size, found.st_mtime_ns, found.st_ctime_ns + wrong, 7, boot)
    packed = bytearray(pack(bytes(20) if kind == "of another object" else DIGEST, record))
    if kind == "damaged":
        packed[30] ^= 1
    return bytes(packed[: 20 if kind == "torn" else None])


def opened(path: Path, records: bytes, *, digest: bytes = DIGEST, boot: bytes = BOOT) -> tuple[int, ...] | None:
    """What the step in C makes of a file with these *records*; the descriptor is closed and -1."""
    (path.parent / "records").write_bytes(records)
    files = CompleteFiles(OfdLocks())
    stem = str(path).removesuffix(layout.DATA)
    found = files.open_recorded(ID, stem, str(path.parent / "records"), digest, boot)
    assert files.knows(ID) is (None if found is None else True)
    if found is None:
        return None
    os.close(found[0])
    assert files.holds(ID)
    return (-1, *found[1:])


KINDS = ("right", "of other times", "of another boot", "of another object", "damaged", "torn")


@compiled
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(KINDS), max_size=6))
@example(kinds=["right"] * (MOST_IN_C - 1))
@example(kinds=[])
def test_c_believes_the_records_that_python_believes(path: Path, kinds: list[str]) -> None:
    """The newest sound record counts, if it is of this boot and the file looks as it says: to C as to Python."""
    content = b"".join(entry(path, kind) for kind in kinds)
    record, found = find(content, DIGEST), path.stat()
    looks = found.st_size, found.st_mtime_ns, found.st_ctime_ns
    right = record is not None and record.boot == BOOT and record[:3] == looks
    assert opened(path, content) == ((-1, found.st_dev, found.st_ino) if right else None)


@compiled
def test_what_is_not_plain_is_left_to_python(path: Path) -> None:
    """A longer record file, none, a directory in its place, and a digest of another length: no answer, and no error."""
    right = entry(path, "right")
    assert opened(path, right) is not None
    assert opened(path, right * (MOST_IN_C + 1)) is None
    assert opened(path, right, digest=DIGEST[:19]) is None
    assert opened(path, right, boot=b"") is None
    files = CompleteFiles(OfdLocks())
    for records in (path.parent / "nothing", path.parent):
        stem = str(path).removesuffix(layout.DATA)
        assert files.open_recorded(ID, stem, str(records), DIGEST, BOOT) is None
    with pytest.raises(ValueError, match="null"):
        files.open_recorded(ID, "stem", "a\0b", DIGEST, BOOT)


def test_other_locks_are_left_to_python(path: Path) -> None:
    """Where the locks are of another kind, nothing is opened in C."""
    (path.parent / "records").write_bytes(entry(path, "right"))
    files = CompleteFiles(OtherLocks())
    stem = str(path).removesuffix(layout.DATA)
    assert files.open_recorded(ID, stem, str(path.parent / "records"), DIGEST, BOOT) is None
