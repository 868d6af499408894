from __future__ import annotations

import pytest

from vfsoverlay._namespace.directory_cache import DirectoryCache


class Item:
    def __init__(self, weight: int, *, used: bool = False) -> None:
        self.weight = weight
        self.used = used


@pytest.fixture
def cache() -> DirectoryCache[Item]:
    return DirectoryCache(10)


def test_what_was_not_used_goes_first(cache: DirectoryCache[Item]) -> None:
    """When room is needed, directories that were used since they came stay, others go, oldest first."""
    for name, used in (("old", False), ("used", True), ("new", False)):
        cache.put(name, Item(3, used=used))
    cache.put("more", Item(4))
    assert list(cache.items) == ["used", "new", "more"]
    cache.items["used"].used = True
    cache.put("last", Item(3))
    assert set(cache.items) == {"used", "more", "last"}


def test_one_directory_is_kept_whatever_it_weighs(cache: DirectoryCache[Item]) -> None:
    """A directory larger than the limit displaces all others, and is displaced by the next."""
    cache.put("small", Item(1, used=True))
    cache.put("huge", Item(100, used=True))
    assert list(cache.items) == ["huge"]
    cache.put("small", Item(1))
    assert list(cache.items) == ["small"]


def test_weights_are_given_back(cache: DirectoryCache[Item]) -> None:
    """Replacing or dropping a directory gives back its weight, so the limit does not shrink with time."""
    for _ in range(100):
        cache.put("a", Item(9))
        cache.put("b", Item(1))
        assert set(cache.items) == {"a", "b"}
        cache.drop("a")
        cache.drop("nothing")
    cache.clear()
    cache.put("a", Item(10))
    assert list(cache.items) == ["a"]
