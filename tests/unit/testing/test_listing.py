from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfsoverlay.testing._listing import page_of

# Few letters, so that prefixes and delimiters meet; the last two have no plain successor.
LETTERS = "ab/\ud7ff\U0010ffff"
TEXTS = st.text(LETTERS, max_size=5)
KEYS = st.text(LETTERS, min_size=1, max_size=5)


def naive_items(keys: list[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """The definition: cut each key behind the first delimiter after the prefix, and keep each result once."""
    items = set()
    for key in keys:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
            items.add(prefix + head + found)
    return sorted(item for item in items if item > after)


@given(st.sets(KEYS), TEXTS, st.sampled_from(["", "/", "a", "ab"]), TEXTS, st.integers(1, 4))
def test_pages_agree_with_the_definition(keys: set[str], prefix: str, delimiter: str, after: str, limit: int) -> None:
    """Pages of any size, one after the other, hold what the definition says, and only the last is not truncated."""
    found: list[str] = []
    expected = naive_items(sorted(keys), prefix, delimiter, after)
    while True:
        page = page_of(sorted(keys), prefix, delimiter, after, limit)
        items = sorted([*page.keys, *page.prefixes])
        assert len(items) <= limit
        found += items
        if not page.truncated:
            break
        assert len(items) == limit
        assert page.last == items[-1]
        after = page.last
    assert found == expected
