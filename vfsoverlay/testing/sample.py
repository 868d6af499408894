"""The bundled sample: a small bucket of real, freely usable weather records for the demo, the examples and tests.

``_sample/SOURCE.md`` says where the data comes from. Keys and bucket name are those of the
documentation page that this project began from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from vfsoverlay.testing.s3server import S3Server

#: The bucket that the example of the documentation page reads.
SAMPLE_BUCKET: Final = "ryft-public-sample-data"

_DIRECTORY: Final = os.path.join(os.path.dirname(__file__), "_sample")
_PREFIXES: Final = ("esRedditJson", "weather")


def sample_objects() -> dict[str, bytes]:
    """All objects of the sample bucket: key to content, half a megabyte in all.

    Keys are ``esRedditJson/esRedditJson1`` to ``4`` (JSON lines, a year each) and
    ``weather/seattle-2010.csv`` and ``weather/san-francisco-2010.csv``.
    """
    objects = {}
    for prefix in _PREFIXES:
        directory = os.path.join(_DIRECTORY, prefix)
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as file:
                objects[f"{prefix}/{name}"] = file.read()
    return objects


@contextmanager
def sample_server(*, public: bool = True, **arguments: Any) -> Iterator[S3Server]:
    """An ``S3Server`` (with *arguments*) that serves the sample bucket, for anonymous reading if *public*."""
    with S3Server(**arguments) as server:
        server.create_bucket(SAMPLE_BUCKET, public=public)
        for key, body in sample_objects().items():
            server.put(SAMPLE_BUCKET, key, body)
        yield server
