"""The cache of a mount stays within its bounds, and reading goes on when it is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

MIB = 1024 * 1024


def test_cache_stays_within_its_size(mount: Any, server: Any, tmp_path: Path) -> None:
    """The cache evicts what was used longest ago, and what is read stays right."""
    for number in range(12):
        server.put("data", f"{number:02}", bytes([number]) * MIB)
    point = mount(cache_dir=str(tmp_path / "cache"), cache_size=4 * MIB, min_free=0, readahead=False)
    for number in range(12):
        assert Path(f"/content/data/{number:02}").read_bytes() == bytes([number]) * MIB
    assert point.cache.usage().allocated <= 5 * MIB
    assert point.metrics()["evictions"] >= 6
    assert not point.cache.check().problems


@pytest.mark.parametrize("size", [MIB // 2, 6 * MIB], ids=["small", "large"])
def test_object_that_does_not_fit_is_read_all_the_same(
    mount: Any, server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """A full cache never fails a read, and says once that nothing is kept; a descriptor of the whole file is ENOSPC."""
    body = os.urandom(size)
    server.put("data", "a", body)
    mount(cache_dir=str(tmp_path / "cache"), cache_size=100_000, min_free=0)
    for _ in range(2):
        with open("/content/data/a", "rb") as file:
            assert file.read() == body
            file.seek(size // 2)
            assert file.read(1000) == body[size // 2 : size // 2 + 1000]
    with pytest.raises(OSError, match=r".+") as caught:
        os.open("/content/data/a", os.O_RDONLY)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/content/data/a")
    assert len([record for record in caplog.records if "served from memory" in record.getMessage()]) == 1
