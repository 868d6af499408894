"""Which keys can be file names, and why the others are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

EMPTY: Final = "empty component"
DOT: Final = "'.' component"
DOT_DOT: Final = "'..' component"
NUL: Final = "NUL character"
NOT_UTF_8: Final = "not UTF-8"
SHADOWED: Final = "shadowed by a directory"
MARKER: Final = "directory marker with content"

_FORBIDDEN: Final = {"": EMPTY, ".": DOT, "..": DOT_DOT}


def why_invalid(component: str) -> str:
    """Why *component* can be no name; empty if it can."""
    if component in _FORBIDDEN:
        return _FORBIDDEN[component]
    if "\0" in component:
        return NUL
    if not component.isascii():
        try:
            component.encode()
        except UnicodeEncodeError:
            return NOT_UTF_8
    return ""


def all_valid(components: Sequence[str]) -> bool:
    """Whether ``why_invalid`` has nothing against any of *components*, none of which has a slash."""
    together = f"/{'/'.join(components)}/"
    if "//" in together or "/./" in together or "/../" in together or "\0" in together:
        return False
    return together.isascii() or not any(map(why_invalid, components))


def visible_part(directory: str) -> tuple[str, str]:
    """The leading part of *directory* that is valid, and why the rest is not (empty: all is valid).

    *directory* is empty or ends in a slash; the answer has no slash at its end. An invalid component
    hides everything below it; the valid directories above it exist.
    """
    components = directory.split("/")[:-1]
    for i, component in enumerate(components):
        reason = why_invalid(component)
        if reason:
            return "/".join(components[:i]), reason
    return directory[:-1], ""
