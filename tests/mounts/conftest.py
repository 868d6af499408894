"""A server with one public bucket, and mounts of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay.testing import S3Server

BUCKET = "data"


@pytest.fixture
def server() -> Iterator[S3Server]:
    """An S3 server in this process with the public bucket ``data``."""
    with S3Server() as server:
        server.create_bucket(BUCKET, public=True)
        yield server


@pytest.fixture(autouse=True)
def _nothing_stays_mounted() -> Iterator[None]:
    yield
    left = vfsoverlay.mounts()
    for point in left:
        point.unmount()
    assert not left


class Mounts:
    """Mounts prefixes of the bucket with the server's options, and unmounts them at the end."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.points: list[vfsoverlay.MountPoint] = []

    def __call__(self, prefix: str = "", root_dir: str = "/content/data", **options: Any) -> vfsoverlay.MountPoint:
        options = {**self.server.mount_options(), **options}
        point = vfsoverlay.mount(f"s3://{BUCKET}/{prefix}", root_dir, **options)
        self.points.append(point)
        return point


@pytest.fixture
def mount(server: S3Server) -> Iterator[Mounts]:
    """Makes mounts of the bucket."""
    mounts = Mounts(server)
    yield mounts
    for point in mounts.points:
        point.unmount()
