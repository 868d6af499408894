"""Stores on the test server, one server for a whole module where tests only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay._metrics import Metrics
from vfsoverlay._model import ObjectInfo
from vfsoverlay._spec import Mount
from vfsoverlay._store.factory import open_store
from vfsoverlay._store.protocol import ObjectStore
from vfsoverlay.testing import S3Server

OpenStore = Callable[..., ObjectStore]


class Opened:
    """A store, and how tests look at it."""

    def __init__(self, source: str, options: dict[str, Any]) -> None:
        self.metrics = Metrics()
        self.store, self.prefix = open_store(source, Mount(source, "/unused", **options).option, self.metrics)

    def rows(self, **arguments: Any) -> list[ObjectInfo]:
        """All rows below the prefix."""
        return [ObjectInfo(*row) for page in self.store.list_pages(self.prefix, **arguments) for row in page.rows]

    def info(self, key: str) -> ObjectInfo:
        """The row of one key."""
        return next(row for row in self.rows() if row.key == key)

    def read(self, info: ObjectInfo, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes of one object."""
        pieces: list[bytes] = []
        self.store.read_range(
            info, start, info.size if stop is None else stop, lambda piece: pieces.append(bytes(piece))
        )
        return b"".join(pieces)


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        yield running


@pytest.fixture
def opened() -> Iterator[Callable[..., Opened]]:
    """Open stores that are closed after the test."""
    made: list[Opened] = []

    def make(source: str, **options: Any) -> Opened:
        made.append(Opened(source, options))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the AWS configuration file."""

    def write(text: str) -> None:
        path = tmp_path / "config"
        path.write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))

    return write
