"""A running server and a bare HTTP client, which shows answers as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import NamedTuple

import pytest

from vfsoverlay.testing import S3Server


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


Ask = Callable[..., Answer]


@pytest.fixture
def server() -> Iterator[S3Server]:
    """A server with a public bucket "b" that holds "k"."""
    with S3Server() as server:
        server.create_bucket("b", public=True)
        server.put("b", "k", b"0123456789")
        yield server


@pytest.fixture
def ask(server: S3Server) -> Ask:
    """Send one request to the server: ``ask("/b/k", Range="bytes=0-1")``."""

    def ask(target: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = HTTPConnection(server.host, server.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body=body, headers=named)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    return ask
