"""Checksums that S3 keeps with an object: computed with the standard library, in base64 as the headers have them."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Final


def _reflected_crc(data: bytes | bytearray, polynomial: int, bits: int) -> bytes:
    """A CRC with reflected bits and all ones before and after; pure Python, about 10 MB/s."""
    table = _table(polynomial)
    value = ones = (1 << bits) - 1
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return (value ^ ones).to_bytes(bits // 8, "big")


@cache
def _table(polynomial: int) -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)  # noqa: PLW2901 - the usual way to write it
        table.append(value)
    return table


#: By the name in ``x-amz-checksum-<name>``. The polynomials are those of Castagnoli and of NVM Express, reflected.
_ALGORITHMS: Final[dict[str, Callable[[bytes | bytearray], bytes]]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: _reflected_crc(data, 0x82F63B78, 32),
    "crc64nvme": lambda data: _reflected_crc(data, 0x9A6C9329AC4BC9B5, 64),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}

CHECKSUMS: Final = tuple(_ALGORITHMS)


def checksum(name: str, data: bytes | bytearray) -> str:
    """The checksum *name* (one of ``CHECKSUMS``) of *data*, as its header has it."""
    return b64encode(_ALGORITHMS[name](data)).decode()
