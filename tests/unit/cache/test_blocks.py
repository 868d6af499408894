"""Arithmetic of blocks agrees with counting byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfsoverlay._cache import blocks

SIZES = st.integers(0, 500)
BLOCK_SIZES = st.integers(1, 64)


@given(SIZES, BLOCK_SIZES)
def test_every_byte_lies_in_one_block(size: int, block_size: int) -> None:
    """The spans of all blocks are the bytes of the object, in order and without a gap."""
    spans = [blocks.span(n, n + 1, size, block_size) for n in range(blocks.count(size, block_size))]
    assert [byte for start, stop in spans for byte in range(start, stop)] == list(range(size))


@given(SIZES, SIZES, BLOCK_SIZES)
def test_covering_is_the_least_that_covers(start: int, length: int, block_size: int) -> None:
    """The covering blocks are exactly those that hold a byte of the range."""
    first, last = blocks.covering(start, start + length, block_size)
    assert set(range(first, last)) == {byte // block_size for byte in range(start, start + length)}


@given(st.binary(max_size=30), st.integers(0, 255), st.integers(0, 30), st.integers(0, 40))
def test_run_length_counts_equal_bytes(states: bytes, value: int, start: int, stop: int) -> None:
    """A run ends at the first other byte, at the stop, or at the end."""
    stop = min(stop, len(states))
    length = blocks.run_length(states, value, start, stop)
    part = states[start : max(start, stop)]
    assert length == len(part) - len(part.lstrip(bytes([value])))
