"""Records and maps: what was written is read back, anything else is a miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfsoverlay._cache.layout import FIRST_LOCK_BYTE
from vfsoverlay._cache.locks import OfdLocks, try_acquire
from vfsoverlay._cache.presence_map import DOUBTED, MISSING, PRESENT, Header, PresenceMap
from vfsoverlay._cache.records import Record, RecordFile, find, pack

DIGESTS = st.binary(min_size=20, max_size=20)
TIMES = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.builds(
    Record,
    st.integers(0, 2**40),
    TIMES,
    TIMES,
    st.integers(0, 2**32 - 1),
    st.binary(min_size=16, max_size=16),
)
HEADERS = st.builds(
    Header,
    st.integers(1, 2**31),
    st.booleans(),
    st.integers(0, 2**40),
    DIGESTS.map(bytes.hex),
    st.binary(min_size=16, max_size=16),
    TIMES,
    TIMES,
)


@given(st.lists(st.tuples(st.sampled_from([bytes([n]) * 20 for n in range(4)]), RECORDS), max_size=20))
def test_the_newest_record_counts(entries: list[tuple[bytes, Record]]) -> None:
    """Of several records of one object the last one is found, and none of others."""
    content = b"".join(pack(digest, record) for digest, record in entries)
    newest = dict(entries)
    for digest in (bytes([n]) * 20 for n in range(5)):
        assert find(content, digest) == newest.get(digest)


@given(DIGESTS, RECORDS, st.data())
def test_a_damaged_record_is_not_found(digest: bytes, record: Record, data: st.DataObject) -> None:
    """One changed byte anywhere makes a record a miss."""
    content = bytearray(pack(digest, record))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    assert find(bytes(content), digest) is None


def test_a_torn_record_does_not_hurt_later_ones(tmp_path: Path) -> None:
    """After half a record at the end of the file, the next record is found all the same."""
    path = tmp_path / "records"
    record = Record(1, 2, 3, 4, b"b" * 16)
    path.write_bytes(pack(b"x" * 20, record)[:30])
    records = RecordFile(str(path), OfdLocks())
    append(path, records, "ab" * 20, record)
    assert RecordFile(str(path), OfdLocks()).lookup("ab" * 20) == record == records.lookup("ab" * 20)


def test_records_of_others_are_recalled_as_well(tmp_path: Path) -> None:
    """Who has read a record file finds what another process adds to it later, newly read or recalled."""
    path = tmp_path / "records"
    path.touch()
    ours, theirs = RecordFile(str(path), OfdLocks()), RecordFile(str(path), OfdLocks())
    record = Record(1, 2, 3, 4, b"b" * 16)
    append(path, ours, "ab" * 20, record)
    assert ours.recall("ab" * 20) == record
    append(path, theirs, "cd" * 20, record)
    assert ours.recall("cd" * 20) == record
    append(path, theirs, "ef" * 20, record)
    append(path, ours, "12" * 20, record)
    assert [ours.recall(digest * 20) for digest in ("ab", "cd", "ef", "12", "34")] == [record] * 4 + [None]


def append(path: Path, records: RecordFile, digest: str, record: Record) -> None:
    """Add *record* under the lock of an object."""
    held = try_acquire(OfdLocks(), str(path), FIRST_LOCK_BYTE)
    assert held is not None
    with held:
        records.append(digest, record, held)


@given(HEADERS)
def test_headers_round_trip(header: Header) -> None:
    """A header is read back as it was written."""
    assert Header.parse(header.packed() + b"more") == header


@given(HEADERS, st.data())
def test_a_damaged_header_is_none(header: Header, data: st.DataObject) -> None:
    """One changed byte anywhere, or a missing one, makes a header None."""
    raw = bytearray(header.packed())
    at = data.draw(st.integers(0, len(raw) - 1))
    assert Header.parse(bytes(raw[:at])) is None
    raw[at] ^= data.draw(st.integers(1, 255))
    assert Header.parse(bytes(raw)) is None


@pytest.fixture
def presence(tmp_path: Path) -> PresenceMap:
    return PresenceMap.create(str(tmp_path / "a.map"), Header(100, False, 1000, "ab" * 20, b"b" * 16))


def test_blocks_are_marked_one_by_one(presence: PresenceMap) -> None:
    """What is marked is present with its checksum, everything else is missing."""
    presence.mark_present(3, [33, 44])
    assert list(presence.states(0, 10)) == [MISSING] * 3 + [PRESENT] * 2 + [MISSING] * 5
    assert presence.checksums(3, 5) == (33, 44)
    presence.close()


def test_doubt_keeps_what_is_missing(presence: PresenceMap) -> None:
    """Doubting a map turns present blocks into doubted ones, and the object is no longer complete."""
    presence.mark_present(0, [1])
    presence.doubt(b"c" * 16)
    assert list(presence.states(0, 2)) == [DOUBTED, MISSING]
    assert not presence.header.complete
    presence.close()


@pytest.mark.parametrize("waited", [b"\xff" * 8, b"\x00" * 6 + b"\xf0\xff", b""])
def test_a_damaged_waiting_time_begins_anew(presence: PresenceMap, tmp_path: Path, waited: bytes) -> None:
    """The waiting time is a hint: nonsense in its place is forgotten, sums are kept."""
    with (tmp_path / "a.map").open("r+b") as file:
        file.seek(128)
        file.write(waited)
    assert presence.add_waited(1.5) == 1.5
    assert presence.add_waited(1.0) == 2.5
    presence.close()
