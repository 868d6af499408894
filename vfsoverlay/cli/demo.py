"""The commands ``demo`` and ``serve``: a first look without any set-up, and the test server."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import Any

import click

from vfsoverlay.cli.common import source_options
from vfsoverlay.cli.output import print_line, shown_name, shown_size

_ROOT = "/content/esRedditJson"
_SHOWN_NAMES = 10
_SHOWN_CHARACTERS = 300


@click.command()
@click.argument("source", required=False, metavar="[s3://BUCKET/PREFIX/]")
@source_options
def demo(source: str | None, mounts: tuple[str, ...], options: dict[str, Any]) -> None:
    """Mount a sample, list it and read a file.

    Without SOURCE an S3 server in this process serves the sample: nothing is needed, not even a network.
    """
    from vfsoverlay import _api
    from vfsoverlay._mount_text import parse_mount
    from vfsoverlay.cli.targets import mounting

    with ExitStack() as stack:
        if source is None:
            from vfsoverlay.testing.sample import SAMPLE_BUCKET, sample_server

            server = stack.enter_context(sample_server())
            source, options = f"s3://{SAMPLE_BUCKET}/esRedditJson/", {**server.mount_options(), **options}
        with mounting():
            for text in mounts:
                stack.enter_context(_api.mount(parse_mount(text, options)))
            point = stack.enter_context(_api.mount(source, _ROOT, **options))
        print_line(f"{source} is mounted at {_ROOT}\n")
        names = os.listdir(_ROOT)
        print_line(f"os.listdir({_ROOT!r})  ->  {len(names)} names")
        for name in names[:_SHOWN_NAMES]:
            print_line(f"    {shown_name(name)}")
        _read_one([f"{_ROOT}/{name}" for name in names])
        counts = point.metrics()
        requests = sum(count for name, count in counts.items() if name.startswith("requests."))
        print_line(f"\nfetched: {requests:.0f} requests, {shown_size(int(counts.get('bytes.read', 0)), human=True)}")


def _read_one(paths: list[str]) -> None:
    for path in paths:
        if os.path.isfile(path):
            print_line(f"\nopen({path!r}).read({_SHOWN_CHARACTERS})")
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(_SHOWN_CHARACTERS)
            for line in text.splitlines():
                print_line(f"    {shown_name(line)}")
            return


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False), metavar="DIR")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9000, show_default=True, help="Port to listen on; 0 takes a free one.")
def serve(directory: str, host: str, port: int) -> None:
    """Serve a directory by the S3 protocol.

    Each directory in DIR is a bucket that all may read. Prints its URL and serves until interrupted.
    """
    from vfsoverlay.testing.s3server import S3Server

    with S3Server(host, port, directory=directory, keep_requests=1) as server:
        print_line(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
