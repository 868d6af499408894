"""A server that answers like S3: first byte after some milliseconds, a limited rate for each response.

    python benchmarks/s3_like_server.py DIRECTORY --latency 0.02 --rate 50

nginx with its Lua module (Debian: ``nginx-light libnginx-mod-http-lua``) sends the objects, which are
the files below ``DIRECTORY/<bucket>/``; listings come from ``vfsoverlay.testing.S3Server`` in another
process behind it. Where nginx is missing, that server sends the objects as well: slower, so that
figures from it say more about the server; ``S3LikeServer.engine`` tells which it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from socket import create_server
from types import TracebackType
from typing import IO, Any, NamedTuple

MODULES = Path("/usr/lib/nginx/modules")
LUA = ("ndk_http_module.so", "ngx_http_lua_module.so")

#: tcp_nopush must stay off: with it, ranges at odd offsets take 58 ms instead of 21 (cork and delayed ACK).
CONFIGURATION = """
{modules}
user root; daemon off; worker_processes 1; worker_rlimit_nofile 65536; pid {scratch}/pid; error_log {scratch}/errors;
events {{ worker_connections 4096; }}
http {{
    log_format counted '$request_method\\t$status\\t$body_bytes_sent\\t$http_range\\t$request_uri';
    access_log {scratch}/requests counted;
    client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy; fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
    sendfile on; sendfile_max_chunk 1m; tcp_nopush off; tcp_nodelay on;
    keepalive_requests 1000000; keepalive_timeout 120s;
    open_file_cache off; log_not_found off; etag on; merge_slashes off; default_type binary/octet-stream;
    upstream listings {{ server {listings}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {directory};
        {rate}
        access_by_lua_block {{ if not ngx.req.is_internal() then ngx.sleep({latency}) end }}
        location = /-/connections {{
            access_by_lua_block {{ }}
            access_log off; stub_status;
        }}
        location ~ ^/[^/]*/?$ {{
            proxy_pass http://listings; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffers 64 64k; proxy_busy_buffers_size 128k;
        }}
        location / {{ try_files $uri @missing; error_page 412 = @changed; }}
        location @missing {{ default_type application/xml; return 404 '{missing}'; }}
        location @changed {{ default_type application/xml; return 412 '{changed}'; }}
    }}
}}
"""


class Counts(NamedTuple):
    """Requests that were answered, and bytes of their bodies."""

    requests: int
    sent: int


class S3LikeServer:
    """Serves each directory below *directory* as a public bucket; a context manager.

    Args:
        directory: Its files must not change while they are served.
        latency: Seconds before the first byte of each answer.
        rate: MiB a second of each response; 0 is no limit.
    """

    def __init__(self, directory: str, *, latency: float = 0.0, rate: int = 0) -> None:
        self.directory = os.path.abspath(directory)
        self.latency = latency
        self.rate = rate
        self.engine = "nginx" if has_nginx() else "vfsoverlay.testing.S3Server"
        self.url = ""
        self._ends = contextlib.ExitStack()
        self._listings: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._counts = Counts(0, 0)

    def __enter__(self) -> S3LikeServer:
        with contextlib.ExitStack() as ends:
            behind = self.engine == "nginx"
            speed = ["0", "0"] if behind else [str(self.latency), str(self.rate * 1024**2)]
            command = [sys.executable, __file__, "--listings", self.directory, *speed]
            self._listings = ends.enter_context(
                subprocess.Popen(tied(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            ends.callback(self._listings.terminate)
            assert self._listings.stdout is not None
            self.url = self._listings.stdout.readline().strip()
            if behind:
                self._start_nginx(ends)
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def counts(self) -> Counts:
        """What was answered since the start; waits until no client is connected, since nginx counts at the end."""
        if self._log is None:
            assert self._listings is not None
            assert self._listings.stdin is not None
            assert self._listings.stdout is not None
            print("counts", file=self._listings.stdin, flush=True)
            return Counts(*json.loads(self._listings.stdout.readline()))
        until = time.monotonic() + 2
        while _connections(self.url) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        requests, sent = self._counts
        for line in self._log:
            requests += 1
            sent += int(line.split("\t")[2])
        self._counts = Counts(requests, sent)
        return self._counts

    def _start_nginx(self, ends: contextlib.ExitStack) -> None:
        scratch = ends.enter_context(tempfile.TemporaryDirectory())
        port = _free_port()
        text = CONFIGURATION.format(
            modules="".join(f"load_module {MODULES / name};" for name in LUA),
            scratch=scratch,
            directory=self.directory,
            listings=self.url.removeprefix("http://"),
            port=port,
            latency=self.latency,
            missing="<Error><Code>NoSuchKey</Code></Error>",
            changed="<Error><Code>PreconditionFailed</Code></Error>",
            rate=f"limit_rate {self.rate}m;" if self.rate else "",
        )
        configuration = Path(scratch, "nginx.conf")
        configuration.write_text(text)
        errors = f"{scratch}/errors"
        command = ["nginx", "-p", scratch, "-e", errors, "-c", str(configuration)]
        process = ends.enter_context(subprocess.Popen(tied(command)))
        ends.callback(process.terminate)
        self.url = f"http://127.0.0.1:{port}"
        _wait_for(self.url, process, errors)
        self._log = ends.enter_context(open(f"{scratch}/requests"))  # noqa: SIM115 - the stack closes it


def has_nginx() -> bool:
    """Whether nginx and its Lua module are installed."""
    return shutil.which("nginx") is not None and all((MODULES / name).exists() for name in LUA)


def tied(command: list[str]) -> list[str]:
    """*command*, ended by the kernel when its parent dies: a daemon left over would hold pipes and mounts."""
    return ["setpriv", "--pdeathsig", "TERM", *command] if shutil.which("setpriv") else command


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _connections(url: str) -> int:
    with urllib.request.urlopen(f"{url}/-/connections") as answer:
        return int(answer.readline().split()[-1])


def _wait_for(url: str, process: subprocess.Popen[Any], errors: str) -> None:
    until = time.monotonic() + 10
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > until:
            msg = f"nginx does not answer: {Path(errors).read_text()}"
            raise RuntimeError(msg)
        time.sleep(0.02)


def _answers(url: str) -> bool:
    try:
        return _connections(url) > 0
    except OSError:
        return False


def serve_listings(directory: str, latency: float, bandwidth: float) -> None:
    """Serve until standard input ends; the first line of output is the URL, each line of input asks for the counts."""
    from vfsoverlay.testing import S3Server

    with S3Server(latency=latency, bandwidth=bandwidth, keep_requests=1_000_000) as server:
        for name in os.listdir(directory):
            bucket = server.create_bucket(name, public=True, directory=f"{directory}/{name}")
            for key in bucket.keys():  # noqa: SIM118 - it is no dict
                stored = bucket.find(key)
                assert stored is not None
                # The listing must name the ETags that nginx sends: whole seconds and size, in hexadecimal.
                stored.etag = f"{int(stored.last_modified):x}-{stored.size:x}"
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps([len(server.requests), server.requests.bytes_sent()]), flush=True)


def main() -> None:
    """Serve until interrupted."""
    if sys.argv[1:2] == ["--listings"]:
        serve_listings(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="each directory below it is a bucket")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=50, help="MiB a second of each response (default: %(default)s)")
    options = parser.parse_args()
    with S3LikeServer(options.directory, latency=options.latency, rate=options.rate) as server:
        print(server.engine, server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
