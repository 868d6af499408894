"""The ways to read objects that ``bench_data.py`` compares, each behind the same few methods.

A contender that shows files under a path only says where they are; a library reads by itself, in the
way its documentation shows first. ``raw`` is the plain HTTP limit of this machine and Python: threads and
kept-alive connections, no cache, no checks.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

from s3_like_server import tied

MIB = 1024**2

ROW = re.compile(rb"<Key>([^<]*)</Key><LastModified>([^<]*)</LastModified><ETag>([^<]*)</ETag><Size>(\d+)</Size>")
TOKEN = re.compile(rb"<NextContinuationToken>([^<]*)<")

#: Called with key, offset and bytes of everything that was read.
Seen = Callable[[str, int, Any], object]


class Target(NamedTuple):
    """What is read, and where a contender may keep files."""

    url: str
    bucket: str
    directory: str
    """The bucket's objects as local files: what ``local`` reads, and what results are compared with."""
    scratch: str
    """Kept between a cold and a warm run, empty before a cold one."""


class Contender:
    """One way to read; entered before the clock starts, left after it stops."""

    packages: ClassVar[tuple[str, ...]] = ()
    programs: ClassVar[tuple[str, ...]] = ()
    #: Whether a second run in a new process finds what the first one fetched.
    has_cache = False

    def __init__(self, target: Target) -> None:
        self.target = target

    @classmethod
    def missing(cls) -> str:
        """Why it cannot run here; empty if it can."""
        lacking = [name for name in cls.packages if importlib.util.find_spec(name) is None]
        lacking += [name for name in cls.programs if shutil.which(name, path=search_path()) is None]
        return f"{', '.join(lacking)} not installed" if lacking else ""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""

    def open(self, key: str) -> Any:
        """A binary file object."""
        raise NotImplementedError

    def read(self, key: str) -> Any:
        """All bytes of a small object."""
        with self.open(key) as file:
            return file.read()

    def read_in_order(self, key: str, size: int, seen: Seen) -> None:
        """Read a large object from its beginning to its end, a mebibyte at a time."""
        with self.open(key) as file:
            for offset in range(0, size, MIB):
                seen(key, offset, file.read(MIB))

    def read_at(self, key: str, offsets: list[int], length: int, seen: Seen) -> None:
        """Read *length* bytes at each of *offsets*."""
        with self.open(key) as file:
            for offset in offsets:
                file.seek(offset)
                seen(key, offset, file.read(length))

    def known_order(self, keys: list[str]) -> Iterable[str]:
        """*keys*, which are told in advance; a contender may use that."""
        return keys

    def column(self, key: str, name: str) -> Any:
        """One column of a Parquet file."""
        import pyarrow.parquet

        with self.open(key) as file:
            return pyarrow.parquet.ParquetFile(file).read([name])[name]

    def walk(self) -> int:
        """How many objects there are, with the size of each known."""
        raise NotImplementedError


class Local(Contender):
    """The same files on this machine's disk, in the page cache."""

    has_cache = True

    def path(self, key: str) -> str:
        """Where *key* is."""
        return f"{self.target.directory}/{key}"

    def open(self, key: str) -> Any:
        """See ``Contender``."""
        return open(self.path(key), "rb")

    def walk(self) -> int:
        """See ``Contender``."""
        top, count = self.path("").rstrip("/"), 0
        for directory, _, files in os.walk(top):
            for name in files:
                os.stat(f"{directory}/{name}")
            count += len(files)
        return count


class VFSOverlay(Local):
    """A mount of this library."""

    packages = ("vfsoverlay",)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import vfsoverlay

        self.library = vfsoverlay
        self.root = "/vfsoverlay-benchmark"
        self.point: Any = None

    def __enter__(self) -> VFSOverlay:
        self.point = self.mount(self.target.bucket, self.root)
        return self

    def mount(self, bucket: str, root: str) -> Any:
        """Mount all of *bucket*."""
        options = {"endpoint_url": self.target.url, "region": "us-east-1", "anon": True}
        cache = f"{self.target.scratch}/cache"
        return self.library.mount(f"s3://{bucket}/", root, cache_dir=cache, **options)

    def __exit__(self, *_: object) -> None:
        if self.point is not None:
            self.point.unmount()

    def path(self, key: str) -> str:
        """See ``Local``."""
        return f"{self.root}/{key}"

    def known_order(self, keys: list[str]) -> Iterable[str]:
        """See ``Contender``."""
        skip = len(self.path(""))
        return (path[skip:] for path in self.library.warm_ahead(map(self.path, keys)))


class VFSOverlayListing(VFSOverlay):
    """As ``VFSOverlay``, with ``mount()`` on the clock, but for the imports that a first mount brings."""

    def __enter__(self) -> VFSOverlayListing:
        self.mount("small200", f"{self.root}-0").unmount()
        return self

    def walk(self) -> int:
        """See ``Contender``."""
        if self.point is None:
            self.point = self.mount(self.target.bucket, self.root)
        return super().walk()


class Raw(Contender):
    """``http.client`` with kept-alive connections."""

    streams = 8
    part = 8 * MIB

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._own = threading.local()

    def get(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """Ask on this thread's connection."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            address = self.target.url.removeprefix("http://")
            connection = self._own.connection = http.client.HTTPConnection(address)
            connection.connect()
        connection.request("GET", f"/{self.target.bucket}{path}", headers=headers or {})
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer

    def read(self, key: str) -> bytes:
        """See ``Contender``."""
        return self.get("/" + quote(key)).read()

    def read_in_order(self, key: str, size: int, seen: Seen) -> None:
        """See ``Contender``: ranges of 8 MiB over 8 connections, given in order."""

        def fetch(start: int) -> list[tuple[int, bytes]]:
            stop = min(size, start + self.part)
            answer = self.get("/" + key, {"Range": f"bytes={start}-{stop - 1}"})
            return [(offset, answer.read(MIB)) for offset in range(start, stop, MIB)]

        with ThreadPoolExecutor(self.streams) as pool:
            for pieces in pool.map(fetch, range(0, size, self.part)):
                for offset, piece in pieces:
                    seen(key, offset, piece)

    def read_at(self, key: str, offsets: list[int], length: int, seen: Seen) -> None:
        """See ``Contender``: one request after the other."""
        for offset in offsets:
            answer = self.get("/" + key, {"Range": f"bytes={offset}-{offset + length - 1}"})
            seen(key, offset, answer.read())

    def walk(self) -> int:
        """See ``Contender``: one flat page after the other, split with a regular expression."""
        query, count, token = "?list-type=2&encoding-type=url", 0, b""
        while True:
            page = self.get(query + (f"&continuation-token={quote(token.decode(), safe='')}" if token else "")).read()
            count += len([row.groups() for row in ROW.finditer(page)])
            found = TOKEN.search(page)
            if found is None:
                return count
            token = found[1]


class Boto3(Contender):
    """boto3."""

    packages = ("boto3",)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        config = Config(signature_version=UNSIGNED, max_pool_connections=64)
        self.client = boto3.client("s3", endpoint_url=target.url, region_name="us-east-1", config=config)

    def body(self, key: str, **options: str) -> Any:
        """The body of an object or range."""
        return self.client.get_object(Bucket=self.target.bucket, Key=key, **options)["Body"]

    def read(self, key: str) -> Any:
        """See ``Contender``."""
        return self.body(key).read()

    def read_in_order(self, key: str, size: int, seen: Seen) -> None:
        """See ``Contender``."""
        body = self.body(key)
        for offset in range(0, size, MIB):
            seen(key, offset, body.read(MIB))

    def read_at(self, key: str, offsets: list[int], length: int, seen: Seen) -> None:
        """See ``Contender``."""
        for offset in offsets:
            seen(key, offset, self.body(key, Range=f"bytes={offset}-{offset + length - 1}").read())

    def walk(self) -> int:
        """See ``Contender``."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.target.bucket)
        return sum(len(page["Contents"]) for page in pages)


class S3fs(Contender):
    """s3fs, without a cache on disk."""

    packages = ("s3fs",)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.fs: Any = self.make()

    def options(self) -> dict[str, Any]:
        """Arguments of ``S3FileSystem``."""
        return {"anon": True, "client_kwargs": {"endpoint_url": self.target.url, "region_name": "us-east-1"}}

    def make(self) -> Any:
        """The file system."""
        import s3fs

        return s3fs.S3FileSystem(**self.options())

    def open(self, key: str) -> Any:
        """See ``Contender``."""
        return self.fs.open(f"{self.target.bucket}/{key}", "rb")

    def walk(self) -> int:
        """See ``Contender``."""
        return len(self.fs.find(self.target.bucket, detail=True))


class FileCache(S3fs):
    """fsspec's ``filecache`` over s3fs: whole files on disk."""

    packages = ("s3fs", "fsspec")
    has_cache = True

    def make(self) -> Any:
        """See ``S3fs``."""
        import fsspec

        storage = f"{self.target.scratch}/filecache"
        return fsspec.filesystem(
            "filecache", target_protocol="s3", target_options=self.options(), cache_storage=storage
        )


class CloudPathLib(Contender):
    """cloudpathlib: whole files on disk."""

    packages = ("cloudpathlib", "boto3")
    has_cache = True

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from cloudpathlib import S3Client

        cache = f"{target.scratch}/cloudpathlib"
        self.client = S3Client(no_sign_request=True, endpoint_url=target.url, local_cache_dir=cache)

    def open(self, key: str) -> Any:
        """See ``Contender``."""
        return self.client.CloudPath(f"s3://{self.target.bucket}/{key}").open("rb")


class Obstore(Contender):
    """obstore, the Python face of Rust's object_store."""

    packages = ("obstore",)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import obstore
        from obstore.store import S3Store

        self.library: Any = obstore
        self.store = S3Store(
            target.bucket,
            endpoint=target.url,
            region="us-east-1",
            skip_signature=True,
            client_options={"allow_http": True},
        )

    def open(self, key: str) -> Any:
        """See ``Contender``."""
        return contextlib.closing(self.library.open_reader(self.store, key))

    def read(self, key: str) -> Any:
        """See ``Contender``."""
        return self.library.get(self.store, key).bytes()

    def read_in_order(self, key: str, size: int, seen: Seen) -> None:  # noqa: ARG002 - the stream ends by itself
        """See ``Contender``."""
        offset = 0
        for piece in self.library.get(self.store, key).stream(min_chunk_size=MIB):
            seen(key, offset, piece)
            offset += len(piece)

    def read_at(self, key: str, offsets: list[int], length: int, seen: Seen) -> None:
        """See ``Contender``."""
        for offset in offsets:
            seen(key, offset, self.library.get_range(self.store, key, start=offset, length=length))

    def walk(self) -> int:
        """See ``Contender``."""
        return sum(len(page) for page in self.library.list(self.store))


class PyArrow(Contender):
    """pyarrow's own S3 file system."""

    packages = ("pyarrow",)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from pyarrow.fs import S3FileSystem

        endpoint = target.url.removeprefix("http://")
        self.fs = S3FileSystem(anonymous=True, endpoint_override=endpoint, scheme="http", region="us-east-1")

    def open(self, key: str) -> Any:
        """See ``Contender``."""
        return self.fs.open_input_file(f"{self.target.bucket}/{key}")

    def walk(self) -> int:
        """See ``Contender``."""
        from pyarrow.fs import FileSelector, FileType

        found = self.fs.get_file_info(FileSelector(self.target.bucket, recursive=True))
        return sum(info.type == FileType.File for info in found)


class KernelMount(Local):
    """A FUSE daemon that lives as long as the measurement."""

    programs: ClassVar[tuple[str, ...]] = ("fusermount3",)
    process: subprocess.Popen[bytes]

    @classmethod
    def missing(cls) -> str:
        """See ``Contender``."""
        return super().missing() or ("" if os.path.exists("/dev/fuse") else "no /dev/fuse here")

    def command(self, root: str) -> list[str]:
        """The daemon, staying in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables for the daemon beside those of this process."""
        return {}

    @property
    def root(self) -> str:
        """Where it mounts."""
        return f"{self.target.scratch}/mount"

    def path(self, key: str) -> str:
        """See ``Local``."""
        return f"{self.root}/{key}"

    def __enter__(self) -> KernelMount:
        os.makedirs(self.root, exist_ok=True)
        environment = {**os.environ, "PATH": search_path(), **self.environment()}
        with open(f"{self.target.scratch}/daemon.log", "wb") as log:
            self.process = subprocess.Popen(tied(self.command(self.root)), stdout=log, stderr=log, env=environment)
        until = time.monotonic() + 20
        while not os.path.ismount(self.root):
            if self.process.poll() is not None or time.monotonic() > until:
                with open(f"{self.target.scratch}/daemon.log") as log_:
                    raise RuntimeError(log_.read()[-300:])
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        # In peace first: some write down on their way out what their cache has.
        subprocess.run(["fusermount3", "-u", self.root], check=False, stderr=subprocess.DEVNULL)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            subprocess.run(["fusermount3", "-u", "-z", self.root], check=False)
            self.process.kill()
            self.process.wait()


class Rclone(KernelMount):
    """``rclone mount`` with its full cache and defaults otherwise."""

    programs = ("fusermount3", "rclone")
    has_cache = True
    options: ClassVar[tuple[str, ...]] = ()

    def command(self, root: str) -> list[str]:
        """See ``KernelMount``."""
        cache = f"{self.target.scratch}/rclone"
        return [
            "rclone", "mount", f":s3:{self.target.bucket}", root, "--vfs-cache-mode", "full", "--cache-dir", cache,
            "--read-only", *self.options,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """See ``KernelMount``."""
        settings = {"PROVIDER": "Other", "ENDPOINT": self.target.url, "REGION": "us-east-1", "FORCE_PATH_STYLE": "true"}
        return {"RCLONE_CONFIG": "/dev/null", **{f"RCLONE_S3_{name}": value for name, value in settings.items()}}


class RcloneTuned(Rclone):
    """``rclone mount`` with parallel streams, and without a HEAD for the time of each file."""

    options = (
        "--vfs-read-chunk-streams", "8", "--vfs-read-chunk-size", "8M", "--buffer-size", "0", "--use-server-modtime"
    )  # fmt: skip


class S3fsFuse(KernelMount):
    """s3fs-fuse with its cache and 8 parallel requests."""

    programs = ("fusermount3", "s3fs")
    has_cache = True

    def command(self, root: str) -> list[str]:
        """See ``KernelMount``."""
        cache = f"{self.target.scratch}/s3fs"
        os.makedirs(cache, exist_ok=True)
        options = ["public_bucket=1", "use_path_request_style", f"url={self.target.url}", f"use_cache={cache}"]
        options += ["parallel_count=8", "ro"]
        return ["s3fs", self.target.bucket, root, "-f", *(word for option in options for word in ("-o", option))]


CONTENDERS: dict[str, type[Contender]] = {
    "local": Local,
    "raw": Raw,
    "vfsoverlay": VFSOverlay,
    "boto3": Boto3,
    "s3fs": S3fs,
    "filecache": FileCache,
    "cloudpathlib": CloudPathLib,
    "obstore": Obstore,
    "pyarrow": PyArrow,
    "rclone": Rclone,
    "rclone-tuned": RcloneTuned,
    "s3fs-fuse": S3fsFuse,
}


def search_path() -> str:
    """Where programs are looked for: beside this interpreter first, as pip puts them there."""
    return os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)
