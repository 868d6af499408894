"""A mount of what a test puts into a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay.testing import S3Server

ROOT = "/content/data"

Mounted = Callable[..., vfsoverlay.MountPoint]


@pytest.fixture
def server() -> Iterator[S3Server]:
    """An S3 server in this process with the public, empty bucket ``data``."""
    with S3Server() as server:
        server.create_bucket("data", public=True)
        yield server


@pytest.fixture
def mounted(server: S3Server) -> Iterator[Mounted]:
    """Puts objects into the bucket and mounts it at ``ROOT``, or elsewhere."""
    points = []

    def mount(objects: Mapping[str, bytes], root_dir: str = ROOT, **options: Any) -> vfsoverlay.MountPoint:
        for key, body in objects.items():
            server.put("data", key, body)
        points.append(vfsoverlay.mount("s3://data/", root_dir, **{**server.mount_options(), **options}))
        return points[-1]

    yield mount
    for point in points:
        point.unmount()
    assert not vfsoverlay.mounts()
