"""The parts of this package that are written in C as well, for where they were compiled and are wanted."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def compiled(name: str) -> Any:
    """The module *name*, which is written in C; None where it was not built, or is not wanted."""
    if os.environ.get("VFSOVERLAY_PURE", "") not in ("", "0"):
        return None
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        return None
