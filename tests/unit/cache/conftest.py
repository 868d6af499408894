"""A cache in a temporary directory, and a source that counts what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cache_source import Source
from vfsoverlay._cache.block_cache import BlockCache

MakeCache = Callable[..., BlockCache]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def make_cache(tmp_path: Path) -> Iterator[MakeCache]:
    """Makes caches over one directory, as several processes would have them; each must be sound at the end."""
    made = []

    def make(**options: Any) -> BlockCache:
        options.setdefault("block_size", 64 * 1024)
        options.setdefault("min_free", 0)
        options.setdefault("cache_size", 1 << 30)
        options.setdefault("deadline", 20.0)
        cache = BlockCache(str(tmp_path / "cache"), **options)
        made.append(cache)
        return cache

    yield make
    for cache in made:
        assert cache.check().is_clean
        cache.close()


@pytest.fixture
def cache(make_cache: MakeCache) -> BlockCache:
    return make_cache()
