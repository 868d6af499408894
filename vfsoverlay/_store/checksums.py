"""The checksum that S3 keeps with an object, computed again over the bytes that came."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

from vfsoverlay._store.answer_checks import Headers

_PREFIX: Final = "x-amz-checksum-"
#: Bytes of a cyclic redundancy check, by its name; they are sent big-endian.
_CRC_WIDTH: Final = {"crc32": 4, "crc32c": 4, "crc64nvme": 8}
_HASHES: Final = ("sha256", "sha1")


@cache
def _crc(name: str) -> Callable[[Any, int], int] | None:
    """The function of (bytes, value so far), or None where no library here has it."""
    if name == "crc32":
        return zlib.crc32
    try:
        found: Callable[[Any, int], int] = getattr(import_module("awscrt.checksums"), name)
    except (ImportError, AttributeError):
        return None
    return found


class Checksum:
    """A running checksum over a whole object, and the value it must have in the end."""

    __slots__ = ("_crc", "_hash", "_value", "expected", "name")

    def __init__(self, name: str, expected: str) -> None:
        self.name = name
        self.expected = expected
        self._crc = _crc(name) if name in _CRC_WIDTH else None
        self._hash = hashlib.new(name, usedforsecurity=False) if name in _HASHES else None
        self._value = 0

    def update(self, piece: memoryview) -> None:
        """Take the next bytes."""
        if self._crc is not None:
            self._value = self._crc(piece, self._value)
        elif self._hash is not None:
            self._hash.update(piece)

    def matches(self) -> bool:
        """Whether the bytes taken are those of the object."""
        raw = self._value.to_bytes(_CRC_WIDTH[self.name], "big") if self._hash is None else self._hash.digest()
        return b64encode(raw).decode() == self.expected


def checksum_of(get: Headers) -> Checksum | None:
    """The checksum an answer carries for the whole object; None where there is none that can be computed here."""
    for name in (*_CRC_WIDTH, *_HASHES):
        expected = get(_PREFIX + name)
        # "value-3" is made of the checksums of three parts, whose borders are not known.
        if expected and "-" not in expected and (name in _HASHES or _crc(name) is not None):
            return Checksum(name, expected)
    return None
