"""A server whose answers contradict themselves: readers get the object's bytes or an error, never something else."""

from __future__ import annotations

import errno
import gzip
import os
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import vfsoverlay

MIB = 1024**2

#: Nothing shrinks when it is compressed, so that what a proxy compresses is longer than what was asked for.
OBJECTS = {"small": random.Random(1).randbytes(5000), "large": random.Random(2).randbytes(MIB + 300_000)}


class Asked(NamedTuple):
    """A GET of an object, and what an honest answer would be."""

    body: bytes
    start: int
    size: int
    is_range: bool


class Answer(NamedTuple):
    """What is sent; without a length, the body is sent in pieces whose end is told."""

    status: int
    body: bytes
    headers: dict[str, str]
    has_length: bool = True


Lie = Callable[[Asked], Answer]


def honest(asked: Asked) -> Answer:
    if not asked.is_range:
        return Answer(200, asked.body, {"ETag": '"e"'})
    stop = asked.start + len(asked.body)
    return Answer(206, asked.body, {"ETag": '"e"', "Content-Range": f"bytes {asked.start}-{stop - 1}/{asked.size}"})


def changed(asked: Asked, body: bytes, headers: dict[str, str] | None = None, *, has_length: bool = True) -> Answer:
    """The honest answer's head, but for these headers, before another body."""
    plain = honest(asked)
    return Answer(plain.status, body, plain.headers | (headers or {}), has_length)


def compressed(asked: Asked) -> Answer:
    return changed(asked, gzip.compress(asked.body), {"Content-Encoding": "gzip"})


def compressed_in_pieces(asked: Asked) -> Answer:
    headers = {"Content-Encoding": "gzip", "ETag": 'W/"e"'}
    return changed(asked, gzip.compress(asked.body), headers, has_length=False)


def longer(asked: Asked) -> Answer:
    return changed(asked, b"more" + asked.body)


def longer_in_pieces(asked: Asked) -> Answer:
    return changed(asked, asked.body + b"more", has_length=False)


def shorter_in_pieces(asked: Asked) -> Answer:
    return changed(asked, asked.body[:-1], has_length=False)


def several_parts(asked: Asked) -> Answer:
    headers = {"ETag": '"e"', "Content-Type": "multipart/byteranges; boundary=x"}
    return Answer(206, b"--x\r\n\r\n" + asked.body, headers)


def of_another_unit(asked: Asked) -> Answer:
    return changed(asked, asked.body[::-1], {"Content-Range": "lines 1-2/3"})


def an_error_that_counts_as_success(asked: Asked) -> Answer:
    return changed(asked, b"<Error><Code>InternalError</Code></Error>")


def half(asked: Asked) -> Answer:
    """No lie, but half of what was asked for."""
    return honest(asked._replace(body=asked.body[: max(1, len(asked.body) // 2)])) if asked.is_range else honest(asked)


LIES: list[Lie] = [
    compressed,
    compressed_in_pieces,
    longer,
    longer_in_pieces,
    shorter_in_pieces,
    several_parts,
    of_another_unit,
    an_error_that_counts_as_success,
    half,
]


class LyingServer(ThreadingHTTPServer):
    """Lists the objects truthfully, and tells a lie in its first answer from each place in an object."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lie: Lie = honest
        self._answered: set[tuple[str, int]] = set()
        self._mutex = threading.Lock()

    def answer(self, key: str, asked: Asked) -> Answer:
        with self._mutex:
            is_first = (key, asked.start) not in self._answered
            self._answered.add((key, asked.start))
        return self.lie(asked) if is_first else honest(asked)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LyingServer  # type: ignore[mutable-override]  # typeshed does not foresee it

    def do_GET(self) -> None:
        key = self.path.partition("?")[0].strip("/").partition("/")[2]
        self._send(self.server.answer(key, self._asked(OBJECTS[key])) if key else Answer(200, listing(), {}))

    def _asked(self, whole: bytes) -> Asked:
        wanted = self.headers["Range"]
        if wanted is None:
            return Asked(whole, 0, len(whole), is_range=False)
        first, last = wanted.removeprefix("bytes=").split("-")
        return Asked(whole[int(first) : int(last) + 1], int(first), len(whole), is_range=True)

    def _send(self, answer: Answer) -> None:
        size, body = len(answer.body), answer.body
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header(*(("Content-Length", str(size)) if answer.has_length else ("Transfer-Encoding", "chunked")))
        self.end_headers()
        try:
            self.wfile.write(body if answer.has_length else b"%x\r\n%b\r\n0\r\n\r\n" % (size, body))
        except OSError:
            # The client has seen enough.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def listing() -> bytes:
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
        f"<Size>{len(body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key, body in sorted(OBJECTS.items())
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()


@pytest.fixture
def liar() -> Iterator[LyingServer]:
    with LyingServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("key", OBJECTS)
@pytest.mark.parametrize("whole", [True, False], ids=["descriptor", "pieces"])
def test_no_lie_is_believed(liar: LyingServer, tmp_path: Path, lie: Lie, key: str, whole: bool) -> None:
    """Whatever a server makes of its first answers, a reader gets the object's bytes or EIO, and the cache is sound."""
    liar.lie = lie
    options: dict[str, Any] = {"region": "us-east-1", "anon": True, "cache_dir": str(tmp_path), "deadline": 5}
    url, path = f"http://127.0.0.1:{liar.server_port}", f"/content/lies/{key}"
    with vfsoverlay.mount("s3://bucket/", "/content/lies", endpoint_url=url, **options) as point:
        try:
            assert (_through_descriptor(path) if whole else _in_pieces(path)) == OBJECTS[key]
        except OSError as error:
            assert error.errno == errno.EIO  # noqa: PT017 - either outcome is right
        assert Path(path).read_bytes() == OBJECTS[key]
        assert point.cache.check().is_clean


def _through_descriptor(path: str) -> bytes:
    with open(os.open(path, os.O_RDONLY), "rb") as file:
        return file.read()


def _in_pieces(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(70_000), b""))
