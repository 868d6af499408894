from __future__ import annotations

import pytest

from vfsoverlay._namespace import names


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        ("", names.EMPTY),
        (".", names.DOT),
        ("..", names.DOT_DOT),
        ("a\0b", names.NUL),
        ("\udcff", names.NOT_UTF_8),
        ("...", ""),
        (" ", ""),
        ("a\nb", ""),
        ("\\", ""),
        ("é" * 512, ""),
    ],
)
def test_which_components_are_names(component: str, reason: str) -> None:
    """A component is hidden when it is empty, '.', '..', has a NUL or is not UTF-8; anything else is a name."""
    assert names.why_invalid(component) == reason


@pytest.mark.parametrize(
    ("directory", "visible"),
    [
        ("", ("", "")),
        ("/", ("", names.EMPTY)),
        ("a/", ("a", "")),
        ("a/b/", ("a/b", "")),
        ("a//", ("a", names.EMPTY)),
        ("a/../b/", ("a", names.DOT_DOT)),
        ("./a/", ("", names.DOT)),
    ],
)
def test_directories_before_an_invalid_component_exist(directory: str, visible: tuple[str, str]) -> None:
    """An invalid component hides what is below it; the valid directories above it exist."""
    assert names.visible_part(directory) == visible
