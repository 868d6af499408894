"""Arithmetic of blocks: byte ranges to block ranges and back; ranges are (start, stop) with stop exclusive."""

from __future__ import annotations


def count(size: int, block_size: int) -> int:
    """How many blocks an object of *size* bytes has; the last one may be short."""
    return -(-size // block_size)


def covering(start: int, stop: int, block_size: int) -> tuple[int, int]:
    """The blocks that hold bytes *start* to *stop*; an empty byte range has no blocks."""
    if stop <= start:
        return (start // block_size, start // block_size)
    return (start // block_size, -(-stop // block_size))


def span(first: int, last: int, size: int, block_size: int) -> tuple[int, int]:
    """The bytes of blocks *first* to *last* (exclusive) of an object of *size* bytes."""
    return (min(first * block_size, size), min(last * block_size, size))


def run_length(states: bytes | bytearray, value: int, start: int, stop: int) -> int:
    """How many bytes from *start* on, before *stop*, equal *value*."""
    at = start
    while at < stop and states[at] == value:
        at += 1
    return at - start
