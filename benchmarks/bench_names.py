"""Listing, looking up and walking many names: a mount beside a raw client and a local directory.

    python benchmarks/bench_names.py                           # all of it; several minutes
    python benchmarks/bench_names.py list --count 100000       # one part of it

``list``
    mounts a million keys of a formula: ``deep`` has 100 files in each directory, ``flat`` one directory.
    The raw client fetches the same pages one after the other over one connection and splits them with a
    regular expression; it checks and keeps nothing. Then ``os.stat`` of 20,000 at random, each for the
    first time, in turns with files on disk; and ``os.listdir``.
``walk``
    100,000 keys in 1,110 directories at 20 ms a request: mount, ``os.walk`` and ``os.stat`` of each,
    beside the raw client's flat listing; then once more beside the same tree on the local disk.

Every figure is the median of three processes of their own, taken in turns, so that the noise of the
machine meets all alike. The server is another process; its own time is told.
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
from statistics import median
from typing import Any
from urllib.parse import quote

Figures = dict[str, float]


def _deep(number: int) -> str:
    digits = f"{number:07d}"
    return f"p/d{digits[:3]}/e{digits[3:5]}/file-{digits}.jpg"


def _tree(number: int) -> str:
    digits = f"{number:05d}"
    return f"p/a{digits[0]}/b{digits[1]}/c{digits[2]}/file-{digits}.jpg"


#: The server makes a thousand names for each page, on the clock as well; arithmetic would take it twice the time.
NAMES: dict[str, Callable[[int], str]] = {
    "deep": _deep,
    "flat": lambda i: f"p/file-{i:07d}.jpg",
    "tree": _tree,
    "few": lambda i: f"p/{i:05d}",
    "wide": lambda i: f"p/d/file-{i:05d}.jpg",
}
_ROUNDS = 3
_ROOT = "/mounted/names"
_ROW = re.compile(rb"<Key>([^<]*)</Key><LastModified>([^<]*)</LastModified><ETag>([^<]*)</ETag><Size>(\d+)</Size>")
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]*)<")


# ------------------------------------------------------------------ each of these in a process of its own


def serve(latency: str, **counts: int) -> None:
    """Serve a bucket for each shape until standard input ends; the first line of output is the URL."""
    from vfsoverlay.testing import GeneratedKeys, S3Server

    with S3Server(latency=float(latency)) as server:
        for shape, count in counts.items():
            server.create_bucket(shape, public=True, keys=GeneratedKeys(int(count), NAMES[shape]))
        print(server.url, flush=True)
        sys.stdin.read()


def raw(url: str, shape: str) -> Figures:
    """Fetch all pages in order, and split them."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    token, keys, splitting = b"", 0, 0.0
    with _clock() as passed:
        while True:
            query = f"/{shape}?list-type=2&prefix=p%2F&encoding-type=url"
            connection.request("GET", query + (f"&continuation-token={quote(token, safe='')}" if token else ""))
            body = connection.getresponse().read()
            begun = time.perf_counter()
            keys += len([row.groups() for row in _ROW.finditer(body)])
            splitting += time.perf_counter() - begun
            found = _TOKEN.search(body)
            if found is None:
                break
            token = found[1]
    return {**passed, "keys": keys, "splitting": splitting}


def mount(url: str, shape: str) -> Figures:
    """Mount, then ``os.stat`` files at random, beside files on disk, and one of them again and again."""
    with tempfile.TemporaryDirectory() as cache:
        with _clock() as passed:
            point = _mount(url, shape, cache)
        peak = _peak()
        count = point.size()[1]
        chosen = random.Random(1).sample(range(count), min(count, 20_000))
        paths = [f"{_ROOT}/{NAMES[shape](i)[2:]}" for i in chosen]
        with _real_files(f"{cache}/real", 10_000) as files:
            local = random.Random(2).choices(files, k=len(paths))
            figures = dict(zip(("random", "local"), _alternating(os.stat, paths, local), strict=True))
        figures["again"] = _each(os.stat, paths[:1] * 50_000)
        before = _peak()
        figures["first entry"], figures["scandir"] = _scan(_ROOT)
        figures["scandir memory"] = _peak() - before
        index = f"{cache}/v1/index"
        size = sum(os.stat(f"{index}/{name}").st_size for name in os.listdir(index))
        requests = point.metrics()["requests.list"]
        return {**passed, **figures, "keys": count, "requests": requests, "peak": peak, "later": _peak(), "disk": size}


def listdir(url: str) -> Figures:
    """List a directory of 10,000 entries for the first time, and again; and the same one on disk."""
    with tempfile.TemporaryDirectory() as cache:
        _mount(url, "wide", f"{cache}/cache")
        real = f"{cache}/real"
        with _real_files(real, 10_000):
            begun = time.perf_counter()
            os.listdir(f"{_ROOT}/d")
            first = time.perf_counter() - begun
            again, local = _alternating(os.listdir, [f"{_ROOT}/d"] * 20, [real] * 20, 1)
        return {"first": first, "again": again, "local": local}


def walk(url: str, real: str) -> Figures:
    """Mount, walk and stat; then walk and stat both the mount and *real*, the same tree on disk, in turns.

    A mount of a bucket with few objects comes before: what it imports, the raw client has imported too.
    """
    with tempfile.TemporaryDirectory() as cache:
        with _clock() as imports:
            _mount(url, "few", f"{cache}/few").unmount()
        with _clock() as mounting:
            _mount(url, "tree", f"{cache}/cache")
        with _clock() as walking:
            count = _walk_and_stat(_ROOT)
        figures: Figures = {"imports": imports["seconds"], "mount": mounting["seconds"], "entries": count}
        figures["cold"] = mounting["seconds"] + walking["seconds"]
        figures["cpu"] = mounting["cpu"] + walking["cpu"]
        turns = [(_each(_walk_and_stat, [_ROOT]), _each(_walk_and_stat, [real])) for _ in range(_ROUNDS)]
        warm, local = (median(times) for times in zip(*turns, strict=True))
        return {**figures, "warm": warm, "local": local}


def _mount(url: str, shape: str, cache: str) -> Any:
    import vfsoverlay

    options: dict[str, Any] = {"endpoint_url": url, "region": "us-east-1", "anon": True, "cache_dir": cache}
    return vfsoverlay.mount(f"s3://{shape}/p/", _ROOT, **options)


def _touch(path: str) -> None:
    with open(path, "w"):
        pass


def _walk_and_stat(top: str) -> int:
    count = 0
    for directory, _, names in os.walk(top):
        for name in names:
            os.stat(os.path.join(directory, name))
        count += len(names)
    return count


def _each(call: Callable[[str], object], arguments: list[str]) -> float:
    begun = time.perf_counter()
    for argument in arguments:
        call(argument)
    return (time.perf_counter() - begun) / len(arguments)


def _scan(directory: str) -> tuple[float, float]:
    """Seconds until ``os.scandir`` gives the first entry, and all."""
    begun = time.perf_counter()
    with os.scandir(directory) as entries:
        next(entries)
        first = time.perf_counter() - begun
        for _ in entries:
            pass
    return first, time.perf_counter() - begun


def _alternating(call: Callable[[str], object], ours: list[str], others: list[str], some: int = 100) -> list[float]:
    """What *call* takes on average, of *ours* and of *others*: some of these, some of those, to share the noise."""
    seconds = [0.0, 0.0]
    for start in range(0, len(ours), some):
        for which, arguments in enumerate((ours, others)):
            seconds[which] += _each(call, arguments[start : start + some]) * some
    return [total / len(ours) for total in seconds]


@contextmanager
def _real_files(directory: str, count: int) -> Iterator[list[str]]:
    """Files on the local disk."""
    os.mkdir(directory)
    files = [f"{directory}/{NAMES['wide'](i)[4:]}" for i in range(count)]
    for file in files:
        _touch(file)
    yield files


@contextmanager
def _clock() -> Iterator[Figures]:
    passed: Figures = {}
    begun, worked = time.perf_counter(), time.process_time()
    yield passed
    passed.update(seconds=time.perf_counter() - begun, cpu=time.process_time() - worked)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


MEASURES: dict[str, Callable[..., Figures]] = {"raw": raw, "mount": mount, "listdir": listdir, "walk": walk}


# ------------------------------------------------------------------------------------------- the report


class Server:
    """A server in a process of its own."""

    def __init__(self, latency: float, **counts: int) -> None:
        given = [f"{shape}={count}" for shape, count in counts.items()]
        command = [sys.executable, __file__, "serve", "--arguments", str(latency), *given]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def cpu(self) -> float:
        """Seconds that it worked so far."""
        with open(f"/proc/{self._process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(what: str, *arguments: str) -> Figures:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, what, "--arguments", *arguments]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def in_turns(*measurements: Callable[[], Figures]) -> list[Figures]:
    """The medians of several measurements."""
    rounds = [[take() for take in measurements] for _ in range(_ROUNDS)]
    return [
        {name: median(figures[name] for figures in taken) for name in taken[0]} for taken in zip(*rounds, strict=True)
    ]


def report_list(shape: str, count: int) -> None:
    """Mounting *count* keys of one shape."""
    with Server(0, **{shape: count}) as near, Server(0.02, **{shape: count}) as far:
        begun = near.cpu()
        split, mounted, slow = in_turns(
            lambda: measure("raw", near.url, shape),
            lambda: measure("mount", near.url, shape),
            lambda: measure("mount", far.url, shape),
        )
        served = (near.cpu() - begun) / _ROUNDS / 2
    ratios = [mounted[value] / split[value] for value in ("seconds", "cpu")]
    print(f"{shape}: {count:,} keys")
    print(f"  raw client    {split['seconds']:6.2f} s, CPU {split['cpu']:5.2f} s,", end=" ")
    print(f"of which splitting {split['splitting']:.2f} s; the server's own CPU a listing {served:.2f} s")
    print(f"  mount()       {mounted['seconds']:6.2f} s, CPU {mounted['cpu']:5.2f} s,", end=" ")
    print(f"{mounted['requests']:.0f} requests = {ratios[0]:.2f} x, CPU {ratios[1]:.2f} x", end="; ")
    print(f"peak {mounted['peak']:.0f} MiB, after stats {mounted['later']:.0f};", end=" ")
    print(f"{mounted['disk'] / 1e6:.0f} MB on disk")
    print(f"  ... at 20 ms  {slow['seconds']:6.2f} s, CPU {slow['cpu']:5.2f} s,", end=" ")
    print(f"{slow['requests']:.0f} requests = {slow['seconds'] / mounted['seconds']:.2f} x without latency")
    print(f"  os.stat       {mounted['random'] * 1e6:6.2f} us at random", end=" ")
    print(f"= {mounted['random'] / mounted['local']:.1f} x local; {mounted['again'] * 1e6:.2f} us again", end=" ")
    print(f"= {mounted['again'] / mounted['local']:.2f} x", flush=True)
    if shape == "flat":
        print(f"  os.scandir    {mounted['scandir']:6.2f} s for all, the first after", end=" ")
        print(f"{mounted['first entry'] * 1e3:.1f} ms; {mounted['scandir memory']:.0f} MiB more memory", flush=True)


def report_listdir() -> None:
    """A directory of 10,000 entries."""
    with Server(0, wide=10_000) as server:
        (taken,) = in_turns(lambda: measure("listdir", server.url))
    local = taken["local"]
    print(f"os.listdir of 10,000: local {local * 1e3:.2f} ms, mount {taken['first'] * 1e3:.2f} ms", end=" ")
    print(f"= {taken['first'] / local:.1f} x, again {taken['again'] / local:.1f} x")


def report_walk() -> None:
    """A tree of 100,000 files at 20 ms a request, and warm."""
    count = 100_000
    with Server(0.02, tree=count, few=10) as server, tempfile.TemporaryDirectory() as real:
        for i in range(count):
            path = f"{real}/{NAMES['tree'](i)[2:]}"
            if i % 100 == 0:
                os.makedirs(os.path.dirname(path))
            _touch(path)
        split, walked = in_turns(lambda: measure("raw", server.url, "tree"), lambda: measure("walk", server.url, real))
    whole = walked["imports"] + walked["cold"]
    print(f"tree: {walked['entries']:,.0f} files in 1,110 directories, 20 ms a request")
    print(f"  raw client    {split['seconds']:6.2f} s, a flat listing")
    print(f"  mount ({walked['mount']:.2f} s), os.walk, os.stat of each {walked['cold']:.2f} s", end=" ")
    print(f"= {walked['cold'] / split['seconds']:.2f} x, CPU {walked['cpu']:.2f} s", end="; ")
    print(f"with imports {whole:.2f} s = {whole / split['seconds']:.2f} x")
    print(f"  warm os.walk, os.stat of each {walked['warm']:.2f} s = {walked['warm'] / walked['local']:.2f} x local")


def main() -> None:
    """Report, or do one measurement for the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="all", help="all, list, deep, flat or walk (default: %(default)s)")
    parser.add_argument("--count", type=int, default=1_000_000, help="keys to list (default: %(default)s)")
    parser.add_argument("--arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "serve":
        latency, *counts = options.arguments
        serve(latency, **dict(pair.split("=") for pair in counts))
    elif options.arguments is not None:
        print(json.dumps(MEASURES[options.part](*options.arguments)))
    else:
        if options.part in ("all", "list"):
            report_listdir()
        for shape in ("deep", "flat"):
            if options.part in ("all", "list", shape):
                report_list(shape, options.count)
        if options.part in ("all", "walk"):
            report_walk()


if __name__ == "__main__":
    main()
