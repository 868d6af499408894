from __future__ import annotations

from base64 import b64decode

import pytest

from vfsoverlay.testing._checksums import checksum


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crc32", "cbf43926"),
        ("crc32c", "e3069283"),
        ("crc64nvme", "ae8b14860a799888"),
        ("sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_check_values(name: str, expected: str) -> None:
    """Each algorithm gives the published check value, that of the digits 1 to 9."""
    assert b64decode(checksum(name, b"123456789")).hex() == expected
