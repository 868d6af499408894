"""The command ``index``: listings as files, which can be kept, copied, and mounted without listing again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from vfsoverlay.cli.common import as_json, human_sizes, source_options
from vfsoverlay.cli.output import print_json, print_line, shown_name, shown_size, shown_time
from vfsoverlay.cli.targets import invalid_file, log_counts, mounting

#: Where the source is mounted while it is listed.
_ROOT = "/vfsoverlay-command-line/index"


@click.group()
def index() -> None:
    """Keep listings as files.

    A mount with the option index=FILE takes its names from there and lists nothing.
    """


@index.command()
@click.argument("source")
@click.argument("file", type=click.Path(dir_okay=False))
@human_sizes
@as_json
@source_options
def save(source: str, file: str, human: bool, json: bool, mounts: tuple[str, ...], options: dict[str, Any]) -> None:
    """List SOURCE and write what was found to FILE.

    FILE is replaced as a whole or not at all. With --json: as 'index info'.
    """
    from vfsoverlay import _api
    from vfsoverlay._namespace.export import save_snapshot, snapshot_info
    from vfsoverlay._namespace.snapshot import Snapshot
    from vfsoverlay._spec import Mount

    if mounts:
        msg = "'index save' takes one source and no --mount"
        raise click.UsageError(msg)
    with ExitStack() as stack:
        with mounting():
            point = stack.enter_context(_api.mount(Mount(source, _ROOT, **options)))
        names = point.namespace
        if not isinstance(names, Snapshot):
            msg = "only a whole listing can be saved; leave listing=lazy out"
            raise click.UsageError(msg)
        try:
            save_snapshot(names, file)
        except OSError as error:
            error.filename = file  # not that of the temporary one beside it
            raise
        log_counts()
    _show(file, snapshot_info(file), human=human, json=json)


@index.command()
@click.argument("file", type=click.Path(dir_okay=False))
@human_sizes
@as_json
def info(file: str, human: bool, json: bool) -> None:
    """Show what a saved listing is of.

    With --json: an object with "file", "origin" (endpoint and bucket), "prefix", "version_at" (or null),
    "objects", "bytes", "hidden" (objects that no path leads to) and "listed" (when, in UTC).
    """
    from vfsoverlay._namespace.export import snapshot_info

    with _checked():
        found = snapshot_info(file)
    _show(file, found, human=human, json=json)


@index.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--cache-dir", metavar="DIR", help="Default: $VFSOVERLAY_CACHE_DIR, or where mounts have it.")
@human_sizes
@as_json
def load(file: str, cache_dir: str | None, human: bool, json: bool) -> None:
    """Put a saved listing into the cache.

    Mounts of its source then find it with reuse_listing=SECONDS, counted from when it was listed, or with
    offline=true, and need no option that names FILE. With --json: as 'index info'.
    """
    from vfsoverlay._namespace.export import load_snapshot, snapshot_info
    from vfsoverlay._vfs import cache_directory
    from vfsoverlay._vfs.naming import index_directory

    with _checked():
        found = snapshot_info(file)
        directory = index_directory(cache_directory.choose(cache_dir))
        load_snapshot(file, directory, identity=found["identity"]).close()
    _show(file, found, human=human, json=json)


@contextmanager
def _checked() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise invalid_file(error) from error


def _show(file: str, found: Mapping[str, str], *, human: bool, json: bool) -> None:
    origin, prefix, version_at = found["identity"].split("\0")
    document = {
        "file": file,
        "origin": origin,
        "prefix": prefix,
        "version_at": version_at or None,
        "objects": int(found["object_count"]),
        "bytes": int(found["total_size"]),
        "hidden": int(found["hidden_count"]),
        "listed": shown_time(int(found["listed_at_ns"]) / 1e9),
    }
    if json:
        print_json(document)
        return
    document["bytes"] = shown_size(int(found["total_size"]), human=human)
    for name, value in document.items():
        if value is not None:
            print_line(f"{name:<10}  {shown_name(str(value))}")
