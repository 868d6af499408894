"""Makes the helpers of the model importable, and snapshots that close themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay._namespace.generations import build_snapshot
from vfsoverlay._namespace.snapshot import Snapshot

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    # At the end: the package under test comes from where it is installed.
    sys.path.append(ROOT)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Snapshot]]:
    """``build(store, prefix="", **options)``: a snapshot in ``tmp_path``."""
    with ExitStack() as stack:

        def build(store: Any, prefix: str = "", **options: Any) -> Snapshot:
            given = {"identity": "x", "max_objects": 1_000_000, "max_object_size": 1_000, **options}
            snapshot = build_snapshot(store.list_pages, prefix, str(tmp_path), **given)
            stack.callback(snapshot.close)
            return snapshot

        yield build
