"""An S3-protocol server in this process, for tests and demonstrations.

``python -m vfsoverlay.testing.s3server DIR`` runs it as a program.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import weakref
from base64 import b64encode
from collections.abc import Collection
from hashlib import md5
from types import TracebackType
from typing import Any

from vfsoverlay import _real
from vfsoverlay.testing._buckets import Bucket, DirectoryBucket
from vfsoverlay.testing._checksums import checksum as compute_checksum
from vfsoverlay.testing._connection import Connection
from vfsoverlay.testing._faults import FaultPlan
from vfsoverlay.testing._generated import GeneratedBucket, GeneratedKeys
from vfsoverlay.testing._object_writes import whole_content
from vfsoverlay.testing._objects import BytesContent, StoredObject
from vfsoverlay.testing._request_log import RequestLog
from vfsoverlay.testing._service import S3Service
from vfsoverlay.testing._sigv4 import Credentials

DEFAULT_CREDENTIALS = Credentials("VFSOVERLAYTESTKEY", "vfsoverlay/test/secret")


class S3Server:
    """Serves buckets over HTTP from threads of this process; a context manager, listening when it is entered.

        with S3Server() as server:
            server.create_bucket("data", public=True)
            server.put("data", "a/b.txt", b"hello")
            ...  # any S3 client with endpoint_url=server.url
            assert server.requests.count("get", key="a/b.txt") == 1

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        region: Region of the endpoint and, unless they say otherwise, of its buckets.
        credentials: Key pair that may do everything; requests signed by others are refused.
        ssl_context: Serve HTTPS with this context's certificate.
        directory: Keep buckets as directories below this one; those that exist are served, with public reading.
        latency: Seconds before each answer begins.
        bandwidth: Bytes a second of each answer; 0 is no limit.
        keep_requests: How many requests the log remembers.

    ``latency``, ``bandwidth`` and ``clock_offset`` (seconds that the server's clock is ahead) may
    be set at any time. ``requests`` is the log, ``faults`` the plan of what goes wrong.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        region: str = "us-east-1",
        credentials: Credentials = DEFAULT_CREDENTIALS,
        ssl_context: ssl.SSLContext | None = None,
        directory: str | os.PathLike[str] | None = None,
        latency: float = 0.0,
        bandwidth: float = 0.0,
        keep_requests: int = 100_000,
    ) -> None:
        self.host = host
        self.port = port
        self.region = region
        self.credentials = credentials
        self.requests = RequestLog(keep_requests)
        self._ssl_context = ssl_context
        self._directory = None if directory is None else os.path.abspath(os.fspath(directory))
        self._closing = threading.Event()
        self._service = S3Service(region, self._closing, self.requests)
        self._service.make_bucket = lambda name, region: self.create_bucket(name, region=region)
        self._service.latency = latency
        self._service.bandwidth = bandwidth
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.add_credentials(credentials)
        if self._directory is not None:
            self._add_directories(self._directory)

    # --------------------------------------------------------------------------------- life

    def start(self) -> S3Server:
        """Listen and serve; raises ``RuntimeError`` the second time, since a closed server is not used again."""
        if self._acceptor is not None:
            msg = "this server was started before; make another one"
            raise RuntimeError(msg)
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=512)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="s3server-accept", daemon=True)
        _LIVE.add(self)
        self._acceptor.start()
        return self

    def close(self) -> None:
        """Stop at once: ends all connections and threads. Raises ``RuntimeError`` if a request crashed the server."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        _LIVE.discard(self)
        self._closing.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone does not
        listener.close()
        assert self._acceptor is not None
        self._acceptor.join()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.shut_down()
        for thread in connections.values():
            thread.join()
        if self._service.crashes:
            msg = "the test server itself failed while answering"
            raise RuntimeError(msg) from self._service.crashes[0]

    def __enter__(self) -> S3Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<S3Server {self.url} {'listening' if self._listener else 'not listening'}>"

    def _accept(self) -> None:
        assert self._listener is not None
        listener = self._listener
        while not self._closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # close() shut the listener down
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, self._service.answer, self._closing)
            thread = threading.Thread(target=self._run, args=(connection,), name="s3server-connection", daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            connection.run(self._ssl_context)
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def _forget_in_child(self) -> None:
        """Give up the sockets of the parent, which goes on serving; this child has none of its threads."""
        self._lock = threading.Lock()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            connection.socket.close()
        self._connections.clear()

    # ------------------------------------------------------------------------------ contents

    def create_bucket(
        self,
        name: str,
        *,
        public: bool | Collection[str] = False,
        deny: Collection[str] = (),
        region: str | None = None,
        versioned: bool = False,
        requester_pays: bool = False,
        keys: GeneratedKeys | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> Bucket:
        """Make a bucket.

        Args:
            name: Its name.
            public: What unsigned requests may do: True for listing and reading, or a collection of
                "list", "get", "put", "delete".
            deny: What nobody may do; same names.
            region: Where it lies; a signature for another region is refused or redirected.
            versioned: Keep old versions and delete markers.
            requester_pays: Refuse requests without ``x-amz-request-payer: requester``.
            keys: Its objects come from this formula.
            directory: Its objects are the files below this directory.

        Raises:
            ValueError: The bucket exists, or options contradict each other.
        """
        if name in self._service.buckets:
            msg = f"bucket {name!r} exists already"
            raise ValueError(msg)
        region = region or self.region
        bucket: Bucket
        if keys is not None:
            bucket = GeneratedBucket(name, keys, public=public, region=region)
        elif directory is not None or self._directory is not None:
            if versioned or requester_pays or deny:
                msg = "a bucket kept in a directory has no versions, no payer and no policy"
                raise ValueError(msg)
            path = os.path.abspath(os.fspath(directory)) if directory is not None else f"{self._directory}/{name}"
            bucket = DirectoryBucket(name, path, public=public, region=region)
        else:
            bucket = Bucket(
                name, public=public, deny=deny, region=region, versioned=versioned, requester_pays=requester_pays
            )
        self._service.buckets[name] = bucket
        return bucket

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes | str = b"",
        *,
        last_modified: float | None = None,
        etag: str | None = None,
        storage_class: str = "STANDARD",
        restore: str = "",
        headers: dict[str, str] | None = None,
        checksum: str | None = None,
        sse_customer_key: bytes | None = None,
    ) -> StoredObject:
        """Store an object without a request.

        Args:
            bucket: Name of the bucket.
            key: Key of the object; any text.
            body: Its bytes; text is encoded as UTF-8.
            last_modified: Seconds since the epoch; default: now.
            etag: Default: the MD5 of the body.
            storage_class: ``GLACIER`` and ``DEEP_ARCHIVE`` cannot be read unless restored.
            restore: The ``x-amz-restore`` header, such as ``ongoing-request="true"``.
            headers: Headers of every answer, such as ``Content-Encoding`` or ``x-amz-meta-...``.
            checksum: Also keep this checksum: crc32, crc32c, crc64nvme, sha1 or sha256.
            sse_customer_key: Readers must give this key (SSE-C).
        """
        data = body.encode() if isinstance(body, str) else bytes(body)
        stored = StoredObject(
            BytesContent(data),
            etag=etag,
            last_modified=last_modified,
            storage_class=storage_class,
            restore=restore,
            headers=headers,
            checksums={checksum: compute_checksum(checksum, data)} if checksum else None,
            sse_key_md5=b64encode(md5(sse_customer_key).digest()).decode() if sse_customer_key else "",
        )
        return self.bucket(bucket).put(key, stored)

    def get(self, bucket: str, key: str) -> bytes:
        """The bytes of an object, without a request; raises ``KeyError`` if there is none."""
        stored = self.bucket(bucket).find(key)
        if stored is None:
            raise KeyError(key)
        return whole_content(stored)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object without a request; one that is not there is fine."""
        self.bucket(bucket).delete(key)

    def bucket(self, name: str) -> Bucket:
        """The bucket *name*; raises ``KeyError`` if there is none."""
        return self._service.buckets[name]

    def _add_directories(self, directory: str) -> None:
        with _real.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        for name in names:
            self.create_bucket(name, public=True)

    # ------------------------------------------------------------------------------- access

    def add_credentials(self, credentials: Credentials) -> None:
        """Accept one more key pair, or replace the one with the same access key."""
        self._service.credentials[credentials.access_key] = credentials

    def remove_credentials(self, access_key: str) -> None:
        """Refuse a key pair from now on (InvalidAccessKeyId)."""
        self._service.credentials.pop(access_key, None)

    # --------------------------------------------------------------------------- behaviour

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong, and when."""
        return self._service.faults

    @property
    def latency(self) -> float:
        """Seconds before each answer begins."""
        return self._service.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._service.latency = seconds

    @property
    def bandwidth(self) -> float:
        """Bytes a second of each answer; 0 is no limit."""
        return self._service.bandwidth

    @bandwidth.setter
    def bandwidth(self, rate: float) -> None:
        self._service.bandwidth = rate

    @property
    def clock_offset(self) -> float:
        """Seconds that the server's clock is ahead of this machine's."""
        return self._service.clock_offset

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        self._service.clock_offset = seconds

    # ------------------------------------------------------------------------------ clients

    @property
    def url(self) -> str:
        """Where it listens: the ``endpoint_url`` of clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._ssl_context else 'http'}://{host}:{self.port}"

    def mount_options(self, *, anon: bool = True) -> dict[str, Any]:
        """Options for ``vfsoverlay.mount(source, path, **options)``."""
        options: dict[str, Any] = {"endpoint_url": self.url, "region": self.region, "anon": anon}
        if not anon:
            options["storage_options"] = self._keys()
        return options

    def storage_options(self, *, anon: bool = True) -> dict[str, Any]:
        """Arguments for ``s3fs.S3FileSystem(**options)`` and for ``storage_options`` of pandas and others."""
        options: dict[str, Any] = {"client_kwargs": {"endpoint_url": self.url, "region_name": self.region}}
        return {**options, "anon": True} if anon else {**options, **self._keys()}

    def environment(self) -> dict[str, str]:
        """Variables that point the AWS tools and SDKs, also of child processes, at this server."""
        found = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_SESSION_TOKEN": self.credentials.session_token,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return {name: value for name, value in found.items() if value}

    def _keys(self) -> dict[str, str]:
        keys = {"key": self.credentials.access_key, "secret": self.credentials.secret_key}
        return {**keys, "token": self.credentials.session_token} if self.credentials.session_token else keys


_LIVE: weakref.WeakSet[S3Server] = weakref.WeakSet()


def _forget_all_in_child() -> None:
    for server in list(_LIVE):
        server._forget_in_child()
    _LIVE.clear()


os.register_at_fork(after_in_child=_forget_all_in_child)


def main(arguments: list[str] | None = None) -> None:
    """Serve directories as buckets until interrupted."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m vfsoverlay.testing.s3server", description=main.__doc__)
    parser.add_argument("directory", metavar="DIR", help="each directory below it is a bucket")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="before each answer begins")
    parser.add_argument("--bandwidth", type=float, default=0.0, metavar="BYTES", help="a second, of each answer")
    options = parser.parse_args(arguments)
    server = S3Server(
        options.host,
        options.port,
        directory=options.directory,
        latency=options.latency,
        bandwidth=options.bandwidth,
        keep_requests=1000,
    )
    with contextlib.suppress(KeyboardInterrupt), server:
        print(server.url, flush=True)  # noqa: T201 - whoever started it reads the port here
        threading.Event().wait()


if __name__ == "__main__":
    main()
