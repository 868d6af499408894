"""The attributes that a mount makes up: the same from C and from Python, and no burden on the garbage collector."""

from __future__ import annotations

import gc
import os
import stat

import pytest

from vfsoverlay._vfs import attributes

compiled = pytest.mark.skipif(attributes._COMPILED is None, reason="nothing is compiled, or it is not wanted")

FILE, DIRECTORY = stat.S_IFREG | 0o444, stat.S_IFDIR | 0o555


@compiled
@pytest.mark.parametrize("mode", [FILE, DIRECTORY, stat.S_IFREG])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5 * 1024**4, 2**63])
@pytest.mark.parametrize("mtime_ns", [0, 1, -1, 10**9, 1_761_234_567_123_456_789, 10**21])
def test_c_and_python_agree(mode: int, size: int, mtime_ns: int) -> None:
    """Every field is the same, and of the same type, whichever of the two makes it."""
    arguments = mode, 2**63 - 1, 2**40, (1000, 2**32 - 2), size, mtime_ns
    made, expected = attributes.make_stat(*arguments), attributes.make_stat_in_python(*arguments)
    assert type(made) is os.stat_result
    fields, wanted = made.__reduce__()[1], expected.__reduce__()[1]
    assert repr(fields) == repr(wanted)
    assert list(map(type, fields[0])) == list(map(type, wanted[0]))


@compiled
def test_the_garbage_collector_knows_as_little_of_them_as_of_the_kernels() -> None:
    """The collector looks at none of them, as at no result of the real ``os.stat``."""
    made = attributes.make_stat(FILE, 1, 2, (3, 4), 5, 6)
    assert gc.is_tracked(made) == gc.is_tracked(os.stat("/")) == False  # noqa: E712 - said of both


@compiled
@pytest.mark.parametrize(
    "wrong", [(), (1,) * 6, ("a", 1, 2, (3, 4), 5, 6), (1, 2, 3, (4, 5), "x", 6), (1, 2, 3, (4, 5), 6, "x")]
)
def test_nonsense_is_refused(wrong: tuple[object, ...]) -> None:
    """Arguments of other numbers and types raise TypeError, and leave nothing half made."""
    with pytest.raises(TypeError):
        attributes.make_stat(*wrong)  # type: ignore[arg-type]
