"""CPU and time of ranges, small objects and listings: vfsoverlay's S3 store beside boto3, s3fs, obstore and awscrt.

    python benchmarks/bench_transport.py                       # against the test server, in a process of its own
    python benchmarks/bench_transport.py --endpoint URL --bucket NAME --prefix bench/

Each figure is the median of several runs, each in a fresh process; peers that are not installed are
left out. CPU is that of the client alone. A bucket of one's own must hold ``<prefix>large`` (a
multiple of 8 MiB) and some thousand small objects below ``<prefix>small/``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

MIB = 1024**2
RANGE = 8 * MIB
SMALL = 4096
CASES = ("ranges", "small", "list")


class Target:
    """Where to read, and the credentials for it."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.endpoint: str = values["endpoint"]
        self.bucket: str = values["bucket"]
        self.prefix: str = values["prefix"]
        self.key: str = values["key"]
        self.secret: str = values["secret"]
        self.region: str = values["region"]


class Peer:
    """One way to read from S3; ``read`` returns or writes the bytes of a range, ``pages`` counts the keys listed."""

    package = ""
    cases = CASES

    def __init__(self, target: Target) -> None:
        self.target = target

    def read(self, key: str, start: int, stop: int, fd: int) -> None:
        """Put bytes of *key* into the file *fd* at their place."""
        raise NotImplementedError

    def count(self, prefix: str) -> int:
        """How many keys begin with *prefix*, all their fields parsed."""
        raise NotImplementedError


class VFSOverlay(Peer):
    """Our store."""

    package = "vfsoverlay"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from vfsoverlay._metrics import Metrics
        from vfsoverlay._spec import Mount
        from vfsoverlay._store.factory import open_store

        keys = {"key": target.key, "secret": target.secret} if target.key else {}
        options = {"endpoint_url": target.endpoint, "region": target.region, "storage_options": keys}
        source = f"s3://{target.bucket}/"
        self.store, _ = open_store(source, Mount(source, "/unused", **options).option, Metrics())
        self.infos: dict[str, Any] = {}

    def read(self, key: str, start: int, stop: int, fd: int) -> None:
        """See ``Peer``."""
        from vfsoverlay._model import ObjectInfo

        info = self.infos.get(key)
        if info is None:
            for page in self.store.list_pages(self.target.prefix):
                self.infos.update({row[0]: ObjectInfo(*row) for row in page.rows})
            info = self.infos[key]
        position = start

        def sink(piece: memoryview) -> None:
            nonlocal position
            position += os.pwrite(fd, piece, position)

        self.store.read_range(info, start, stop, sink)

    def count(self, prefix: str) -> int:
        """See ``Peer``."""
        return sum(len(page.rows) for page in self.store.list_pages(prefix))


class Boto3(Peer):
    """boto3, read in pieces of a mebibyte."""

    package = "boto3"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import boto3
        from botocore.config import Config

        self.client = boto3.client(
            "s3",
            endpoint_url=target.endpoint,
            region_name=target.region,
            aws_access_key_id=target.key,
            aws_secret_access_key=target.secret,
            config=Config(max_pool_connections=64),
        )

    def read(self, key: str, start: int, stop: int, fd: int) -> None:
        """See ``Peer``."""
        body = self.client.get_object(Bucket=self.target.bucket, Key=key, Range=f"bytes={start}-{stop - 1}")["Body"]
        for piece in body.iter_chunks(MIB):
            start += os.pwrite(fd, piece, start)

    def count(self, prefix: str) -> int:
        """See ``Peer``."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.target.bucket, Prefix=prefix)
        return sum(len(page["Contents"]) for page in pages)


class S3fs(Peer):
    """s3fs from threads, as a file object would use it."""

    package = "s3fs"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import s3fs

        client = {"region_name": target.region}
        self.fs = s3fs.S3FileSystem(
            key=target.key, secret=target.secret, endpoint_url=target.endpoint, client_kwargs=client
        )

    def read(self, key: str, start: int, stop: int, fd: int) -> None:
        """See ``Peer``."""
        os.pwrite(fd, self.fs.cat_file(f"{self.target.bucket}/{key}", start=start, end=stop), start)

    def count(self, prefix: str) -> int:
        """See ``Peer``."""
        return len(self.fs.find(f"{self.target.bucket}/{prefix}", detail=True))


class Obstore(Peer):
    """obstore's synchronous functions (Rust)."""

    package = "obstore"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from obstore.store import S3Store

        self.store = S3Store(
            target.bucket,
            endpoint=target.endpoint,
            region=target.region,
            access_key_id=target.key,
            secret_access_key=target.secret,
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    def read(self, key: str, start: int, stop: int, fd: int) -> None:
        """See ``Peer``."""
        import obstore

        os.pwrite(fd, obstore.get_range(self.store, key, start=start, end=stop), start)

    def count(self, prefix: str) -> int:
        """See ``Peer``."""
        import obstore

        return sum(len(page) for page in obstore.list(self.store, prefix, chunk_size=1000))


class AWSCRT(Peer):
    """The S3 client of awscrt (C), waited for from threads; it has no listing."""

    package = "awscrt"
    cases = ("ranges", "small")

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from awscrt import auth, io, s3

        # Its own defaults for a machine of this size: the client finds the number of connections by itself.
        bootstrap = io.ClientBootstrap(io.EventLoopGroup(), io.DefaultHostResolver(io.EventLoopGroup()))
        provider = auth.AwsCredentialsProvider.new_static(target.key, target.secret)
        signing = s3.create_default_s3_signing_config(region=target.region, credential_provider=provider)
        tls = s3.S3RequestTlsMode.ENABLED if target.endpoint.startswith("https") else s3.S3RequestTlsMode.DISABLED
        self.client = s3.S3Client(bootstrap=bootstrap, region=target.region, tls_mode=tls, signing_config=signing)
        self.host = target.endpoint.partition("://")[2]

    def read(self, key: str, start: int, stop: int, fd: int) -> None:
        """See ``Peer``."""
        from awscrt import http, s3

        position = start

        def write(chunk: bytes, offset: int, **_: Any) -> None:  # noqa: ARG001 - pieces come in order
            nonlocal position
            position += os.pwrite(fd, chunk, position)

        headers = http.HttpHeaders([("host", self.host), ("range", f"bytes={start}-{stop - 1}")])
        request = http.HttpRequest("GET", f"/{self.target.bucket}/{key}", headers)
        self.client.make_request(
            type=s3.S3RequestType.GET_OBJECT, request=request, on_body=write
        ).finished_future.result()
        assert position == stop


PEERS: dict[str, type[Peer]] = {
    "vfsoverlay": VFSOverlay,
    "s3fs": S3fs,
    "boto3": Boto3,
    "obstore": Obstore,
    "awscrt": AWSCRT,
}


def measure(peer: Peer, case: str, amount: int, threads: int) -> dict[str, float]:
    """CPU and wall seconds of one case, for *amount* bytes or objects."""
    prefix = peer.target.prefix
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        if case == "list":
            work: Callable[[], int] = partial(peer.count, f"{prefix}list/")
        elif case == "ranges":
            jobs = [(f"{prefix}large", at, at + RANGE) for at in range(0, amount, RANGE)]
            work = _in_threads(peer, jobs, fd, threads)
        else:
            jobs = [(f"{prefix}small/{i:05d}", 0, SMALL) for i in range(amount)]
            work = _in_threads(peer, jobs, fd, threads)
        # Connections, imports and the client's own listing are not what is compared.
        peer.read(f"{prefix}small/00000", 0, SMALL, fd)
        cpu, wall = time.process_time(), time.perf_counter()
        done = work()
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "amount": done}


def _in_threads(peer: Peer, jobs: list[tuple[str, int, int]], fd: int, threads: int) -> Callable[[], int]:
    def work() -> int:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(peer.read, *job, fd) for job in jobs]:
                done.result()
        return sum(stop - start for _, start, stop in jobs) if jobs[0][2] == RANGE else len(jobs)

    return work


@contextmanager
def test_server(size: int, small: int, keys: int) -> Iterator[dict[str, Any]]:
    """The in-repo server in a process of its own, filled; gives the values of its ``Target``."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, size, small, keys), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Any, size: int, small: int, keys: int) -> None:
    from vfsoverlay.testing import S3Server

    with S3Server(keep_requests=10) as server:
        server.create_bucket("bench")
        server.put("bench", "large", os.urandom(MIB) * (size // MIB))
        for number in range(small):
            server.put("bench", f"small/{number:05d}", os.urandom(SMALL))
        for number in range(keys):
            server.put("bench", f"list/{number // 1000:03d}/file-{number:07d}.jpg", b"")
        key = server.credentials
        pipe.send(
            {"endpoint": server.url, "bucket": "bench", "prefix": "", "key": key.access_key,
             "secret": key.secret_key, "region": server.region}
        )  # fmt: skip
        threading.Event().wait()


def child(arguments: argparse.Namespace) -> None:
    """Measure one peer in this process and print the figures as JSON."""
    if arguments.child != "awscrt":
        # botocore signs by it where it is installed, which takes longer: nobody is to be slowed by a peer's package.
        sys.modules["awscrt"] = None  # type: ignore[assignment]
    target = Target(json.loads(os.environ["BENCH_TARGET"]))
    figures = measure(PEERS[arguments.child](target), arguments.case, arguments.amount, arguments.threads)
    print(json.dumps(figures))


def run_child(name: str, case: str, amount: int, threads: int, target: dict[str, Any]) -> dict[str, float]:
    """The figures of one fresh process."""
    command = [sys.executable, __file__, "--child", name, "--case", case]
    command += ["--amount", str(amount), "--threads", str(threads)]
    done = subprocess.run(
        command, env={**os.environ, "BENCH_TARGET": json.dumps(target)}, check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def report(case: str, figures: dict[str, list[dict[str, float]]]) -> None:
    """Print medians, and ratios to s3fs (or to the first peer where s3fs is missing)."""
    unit, scale = {"ranges": ("CPU s/GiB", 1024**3), "small": ("CPU us/GET", 1e6), "list": ("CPU us/key", 1e6)}[case]
    rate_unit, rate_scale = {"ranges": ("MB/s", 1e-6), "small": ("GET/s", 1), "list": ("keys/s", 1)}[case]
    cpu = {
        name: statistics.median(run["cpu"] / run["amount"] for run in runs) * scale for name, runs in figures.items()
    }
    rate = {
        name: statistics.median(run["amount"] / run["wall"] for run in runs) * rate_scale
        for name, runs in figures.items()
    }
    base = "s3fs" if "s3fs" in figures else next(iter(figures))
    print(f"\n{case}: {unit}, {rate_unit}; ratios to {base}")
    for name in figures:
        print(
            f"  {name:12} {cpu[name]:10.2f} {cpu[name] / cpu[base]:6.2f}x   "
            f"{rate[name]:10.0f} {rate[name] / rate[base]:6.2f}x"
        )


def main() -> None:
    """Run the cases for all peers in turn, so that a noisy minute meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=512, help="MiB of the large object (default: %(default)s)")
    parser.add_argument("--small", type=int, default=1000, help="small objects to read (default: %(default)s)")
    parser.add_argument("--keys", type=int, default=20_000, help="keys to list (default: %(default)s)")
    parser.add_argument("--endpoint", help="an S3 endpoint instead of the test server; keys from AWS_ACCESS_KEY_ID ...")
    parser.add_argument("--bucket", default="bench")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--amount", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    peers = [name for name in arguments.peers if importlib.util.find_spec(PEERS[name].package)]
    if arguments.endpoint:
        compare(arguments, peers, {
            "endpoint": arguments.endpoint, "bucket": arguments.bucket, "prefix": arguments.prefix,
            "key": os.environ.get("AWS_ACCESS_KEY_ID", ""), "secret": os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
            "region": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
        })  # fmt: skip
        return
    with test_server(arguments.size * MIB, arguments.small, arguments.keys) as target:
        compare(arguments, peers, target)


def compare(arguments: argparse.Namespace, peers: list[str], target: dict[str, Any]) -> None:
    """Measure and report each case."""
    amounts = {"ranges": (arguments.size * MIB, 8), "small": (arguments.small, 16), "list": (arguments.keys, 1)}
    for case in arguments.cases:
        able = [name for name in peers if case in PEERS[name].cases]
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in able}
        for _ in range(arguments.runs):
            for name in able:
                figures[name].append(run_child(name, case, *amounts[case], target))
        report(case, figures)


if __name__ == "__main__":
    main()
