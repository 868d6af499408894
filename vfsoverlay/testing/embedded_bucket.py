"""One public bucket on a server of its own: what the pytest fixture ``vfs_bucket`` hands out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vfsoverlay.testing._faults import Fault
from vfsoverlay.testing._request_log import RequestPurpose, RequestRecord
from vfsoverlay.testing.s3server import S3Server


class EmbeddedBucket:
    """Objects that a test made up, served over HTTP by this process.

    Args:
        server: A running server; the bucket is made in it, for anonymous reading.
        content: Key to bytes (or text, stored as UTF-8), or a directory whose files are stored.
        name: Name of the bucket.
    """

    def __init__(
        self, server: S3Server, content: Mapping[str, bytes | str] | str | os.PathLike[str], name: str
    ) -> None:
        self.server = server
        self.name = name
        server.create_bucket(name, public=True)
        for key, body in (content if isinstance(content, Mapping) else _read_directory(content)).items():
            self.put(key, body)

    @property
    def url(self) -> str:
        """The source to mount: the whole bucket."""
        return f"s3://{self.name}/"

    @property
    def options(self) -> dict[str, Any]:
        """What ``mount()`` needs to find the server, which is there without a network as well."""
        return {**self.server.mount_options(), "offline": False}

    def put(self, key: str, body: bytes | str) -> None:
        """Store an object, replacing an older version of it."""
        self.server.put(self.name, key, body)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        self.server.delete(self.name, key)

    def fail(self, *faults: Fault) -> None:
        """Let requests go wrong as *faults* say, such as ``Fault.slow_down(times=2)``."""
        self.server.faults.add(*faults)

    def requests(self, purpose: RequestPurpose | None = None, key: str | None = None) -> list[RequestRecord]:
        """The requests so far, oldest first: all, or those of a purpose ("list", "get", ...) or for a key."""
        return self.server.requests.select(purpose, bucket=self.name, key=key)


def _read_directory(directory: str | os.PathLike[str]) -> dict[str, bytes]:
    objects = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                objects[os.path.relpath(path, directory)] = file.read()
    return objects
