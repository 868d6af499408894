"""Listing, looking up and walking many names: vfsoverlay's snapshot beside a raw client and a local directory.

    python benchmarks/bench_names.py                           # 1,000,000 keys, from a test server of its own
    python benchmarks/bench_names.py --count 100000 --latency 0.02

The keys are made by a formula: ``deep`` has 100 files in each of its directories, ``flat`` has one
directory. The raw client fetches the same pages one after the other over one connection and splits
them with a regular expression; it checks and keeps nothing. Each figure comes from a process of its own,
so that peak memory is its own as well; the server's share of the raw time is the time without splitting.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

NAMES: dict[str, Callable[[int], str]] = {
    "deep": lambda i: f"p/d{i // 10_000:03d}/e{i // 100 % 100:02d}/file-{i:07d}.jpg",
    "flat": lambda i: f"p/file-{i:07d}.jpg",
}
_ROW = re.compile(rb"<Key>([^<]*)</Key><LastModified>([^<]*)</LastModified><ETag>([^<]*)</ETag><Size>(\d+)</Size>")
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]*)<")


def serve(count: int, latency: float) -> None:
    """Serve a bucket for each shape until standard input ends; the first line of output is the URL."""
    from vfsoverlay.testing import GeneratedKeys, S3Server

    with S3Server(latency=latency) as server:
        for shape, name in NAMES.items():
            server.create_bucket(shape, public=True, keys=GeneratedKeys(count, name))
        print(server.url, flush=True)
        sys.stdin.read()


def raw(url: str, shape: str, *, split: bool) -> dict[str, float]:
    """Fetch all pages in order, and split them."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    token, keys, pages, splitting = b"", 0, 0, 0.0
    start, begun_cpu = time.perf_counter(), time.process_time()
    while True:
        query = f"/{shape}?list-type=2&prefix=p%2F&encoding-type=url"
        connection.request("GET", query + (f"&continuation-token={quote(token.decode(), safe='')}" if token else ""))
        body = connection.getresponse().read()
        pages += 1
        if split:
            begun = time.perf_counter()
            keys += len([row.groups() for row in _ROW.finditer(body)])
            splitting += time.perf_counter() - begun
        found = _TOKEN.search(body)
        if found is None:
            seconds, cpu = time.perf_counter() - start, time.process_time() - begun_cpu
            return {"seconds": seconds, "cpu": cpu, "keys": keys, "pages": pages, "splitting": splitting}
        token = found[1]


def build(url: str, shape: str, directory: str) -> dict[str, float]:
    """List with the store and the workers of a mount."""
    from vfsoverlay._metrics import Metrics
    from vfsoverlay._namespace.generations import build_snapshot
    from vfsoverlay._store.factory import open_store

    options: dict[str, Any] = {"endpoint_url": url, "region": "us-east-1", "anon": True}
    from vfsoverlay._spec import Mount

    spec, metrics = Mount(f"s3://{shape}/p/", "/data", **options), Metrics()
    store, prefix = open_store(spec.source, spec.option, metrics)
    start, begun_cpu = time.perf_counter(), time.process_time()
    limits: dict[str, Any] = {"max_objects": 1_000_000, "max_object_size": 5 * 1024**3}
    snapshot = build_snapshot(store.list_pages, prefix, directory, identity=spec.source, **limits)
    seconds, cpu = time.perf_counter() - start, time.process_time() - begun_cpu
    requests = metrics.snapshot()["requests.list"]
    return {"seconds": seconds, "cpu": cpu, "keys": snapshot.object_count, "requests": requests}


def look_up(shape: str, directory: str, count: int) -> dict[str, float]:
    """Random look-ups in the snapshot and of a local file."""
    from vfsoverlay._namespace.snapshot import open_snapshot

    (name,) = (name for name in os.listdir(directory) if name.endswith(".sqlite"))
    start = time.perf_counter()
    snapshot = open_snapshot(f"{directory}/{name}")
    opened = time.perf_counter() - start
    chosen = [NAMES[shape](i)[2:] for i in random.Random(1).sample(range(count), min(count, 50_000))]
    cold, warm = _each(snapshot.lookup, chosen), _each(snapshot.lookup, chosen[:1] * 200_000)
    walk = time.perf_counter()
    found = sum(1 for _ in _walk(snapshot, ""))
    walked = time.perf_counter() - walk
    return {"open": opened, "random": cold, "warm": warm, "walk a name": walked / found, "names": found}


def _walk(snapshot: Any, path: str) -> Iterator[Any]:
    from vfsoverlay._namespace.nodes import DirectoryNode

    for node in snapshot.scan(path):
        yield node
        if type(node) is DirectoryNode:
            yield from _walk(snapshot, f"{path}/{node.name}" if path else node.name)


def local() -> dict[str, float]:
    """The same of a real directory with 10,000 files, and listing it in a snapshot for the first time."""
    from vfsoverlay._namespace.generations import build_snapshot
    from vfsoverlay._store.protocol import Page

    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as index:
        names = [f"file-{i:05d}.jpg" for i in range(10_000)]
        for name in names:
            with open(f"{directory}/{name}", "w"):
                pass
        stat = _each(os.stat, [f"{directory}/{name}" for name in names])
        start = time.perf_counter()
        os.listdir(directory)
        listed = time.perf_counter() - start

        page = Page([("d/" + name, 1, 1, "0" * 32, "", "") for name in names], [])
        limits: dict[str, Any] = {"max_objects": 1_000_000, "max_object_size": 5}
        snapshot = build_snapshot(lambda *_, **__: iter([page]), "", index, identity="x", **limits)
        start = time.perf_counter()
        snapshot.names("d")
        return {"stat": stat, "listdir": listed, "names": time.perf_counter() - start}


def _each(call: Callable[[str], object], arguments: list[str]) -> float:
    start = time.perf_counter()
    for argument in arguments:
        call(argument)
    return (time.perf_counter() - start) / len(arguments)


def measure(*arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", *arguments]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@contextmanager
def server(count: int, latency: float) -> Iterator[str]:
    """A server in a process of its own."""
    command = [sys.executable, __file__, "--measure", "serve", str(count), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def report(count: int, latency: float) -> None:
    """Print all figures."""
    local_ = measure("local")
    print(f"local: stat {local_['stat'] * 1e6:.2f} us; listdir of 10,000 {local_['listdir'] * 1e3:.1f} ms,", end=" ")
    print(f"names() of 10,000 {local_['names'] * 1e3:.1f} ms = {local_['names'] / local_['listdir']:.1f} x")
    for shape in NAMES:
        with server(count, latency) as url, tempfile.TemporaryDirectory() as directory:
            fetched, split = measure("fetch", url, shape), measure("raw", url, shape)
            built = measure("build", url, shape, directory)
            size = sum(os.stat(f"{directory}/{name}").st_size for name in os.listdir(directory))
            found = measure("look_up", shape, directory, str(count))
        print(f"{shape}: {count:,} keys, {latency * 1e3:.0f} ms a request")
        print(
            f"  raw client   {split['seconds']:6.2f} s, CPU {split['cpu']:.2f} s, in {split['pages']} requests", end=" "
        )
        print(f"(fetching alone {fetched['seconds']:.2f} s, splitting {split['splitting']:.2f} s)")
        ratios = [built[value] / split[value] for value in ("seconds", "cpu")]
        print(
            f"  snapshot     {built['seconds']:6.2f} s, CPU {built['cpu']:.2f} s, in {built['requests']:.0f} requests",
            end=" ",
        )
        print(f"= {ratios[0]:.2f} x, CPU {ratios[1]:.2f} x; peak {built['peak']:.0f} MiB; {size / 1e6:.0f} MB on disk")
        ratio = found["random"] / local_["stat"]
        print(f"  look-up      {found['random'] * 1e6:6.2f} us at random = {ratio:.1f} x a local stat", end="; ")
        print(f"{found['warm'] * 1e6:.2f} us warm; open {found['open'] * 1e3:.1f} ms", end="; ")
        print(f"walk {found['walk a name'] * 1e6:.2f} us a name; peak {found['peak']:.0f} MiB")


def main() -> None:
    """Report, or do one measurement for the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="keys (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer of the server")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.measure:
        report(options.count, options.latency)
        return
    what, *rest = options.measure
    if what == "serve":
        serve(int(rest[0]), float(rest[1]))
        return
    measurements: dict[str, Callable[..., dict[str, float]]] = {
        "fetch": lambda url, shape: raw(url, shape, split=False),
        "raw": lambda url, shape: raw(url, shape, split=True),
        "build": build,
        "look_up": lambda shape, directory, count: look_up(shape, directory, int(count)),
        "local": local,
    }
    result = measurements[what](*rest)
    result["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
