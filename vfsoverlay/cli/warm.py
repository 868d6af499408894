"""The command ``warm``: fetches files into the cache before they are used."""

from __future__ import annotations

from typing import Any

import click

from vfsoverlay._options import parse_size
from vfsoverlay.cli.common import as_json, source_options
from vfsoverlay.cli.output import counted, print_json, print_line, shown_size
from vfsoverlay.cli.targets import opened, split_pattern, usage_errors


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="URL|PATH|PATTERN...")
@click.option("--max-bytes", metavar="SIZE", help="Stop before the file that would exceed this much, such as 20GiB.")
@as_json
@source_options
def warm(targets: tuple[str, ...], max_bytes: str | None, json: bool, **where: Any) -> None:
    """Fetch files into the cache.

    A directory means all files below it; in a pattern, ** means any directories. Progress is shown on a
    terminal once it takes longer than a second. The listing is kept as well, so what was fetched
    can be mounted with offline=true afterwards.

    With --json: an object with "files" and "bytes", which are complete on local disk now, and "fetched",
    the bytes that were not there before.
    """
    from vfsoverlay import _api

    with usage_errors():
        limit = None if max_bytes is None else parse_size(max_bytes)
    with opened(targets, split=split_pattern, **where) as places, usage_errors():
        done = _api.warm([place.path for place in places], max_bytes=limit)
        fetched = int(_api.metrics().get("bytes.warm", 0))
    if json:
        print_json({**done._asdict(), "fetched": fetched})
    else:
        size, new = shown_size(done.bytes, human=True), shown_size(fetched, human=True)
        print_line(f"{counted(done.files, 'file')}, {size} ({new} fetched now)")
