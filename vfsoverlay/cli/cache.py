"""The command ``cache``: what the cache holds, whether it is sound, and making it smaller."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from vfsoverlay._options import parse_size
from vfsoverlay.cli.common import as_json, human_sizes
from vfsoverlay.cli.exit_codes import EXIT_FAILED
from vfsoverlay.cli.output import counted, print_json, print_line, shown_name, shown_size
from vfsoverlay.cli.targets import usage_errors

if TYPE_CHECKING:
    from vfsoverlay._cache.block_cache import BlockCache
    from vfsoverlay._cache.check import Problem
    from vfsoverlay._namespace.kept_listings import Damage


@click.group()
@click.option(
    "--cache-dir", metavar="DIR", help="The cache directory. Default: $VFSOVERLAY_CACHE_DIR, or where mounts have it."
)
@click.pass_context
def cache(context: click.Context, cache_dir: str | None) -> None:
    """Look after the cache on local disk."""
    context.obj = cache_dir


def _open(context: click.Context) -> tuple[str, BlockCache | None]:
    """The directory, and the cache in it; None, and nothing is made, where there never was one."""
    from vfsoverlay._cache.block_cache import BlockCache
    from vfsoverlay._cache.layout import Layout
    from vfsoverlay._vfs import cache_directory

    directory = cache_directory.look(context.obj)
    try:
        os.stat(Layout(directory).objects)
    except FileNotFoundError:
        if context.obj and not os.path.isdir(directory):
            msg = f"there is no directory {shown_name(directory)}; name one that mounts use, or leave --cache-dir out"
            raise click.UsageError(msg) from None
        click.echo(f"vfsoverlay: no object was ever cached in {shown_name(directory)}", err=True)
        return directory, None
    except OSError:
        pass  # it cannot be used: opening it says why
    opened = BlockCache(cache_directory.choose(directory))
    context.call_on_close(opened.close)
    return directory, opened


@cache.command()
@human_sizes
@as_json
@click.pass_context
def info(context: click.Context, human: bool, json: bool) -> None:
    """Show where the cache lies and how much it holds.

    With --json: an object with "directory", "objects" (versions of objects) and "bytes" (on disk).
    """
    from vfsoverlay._cache.block_cache import Usage

    directory, opened = _open(context)
    usage = opened.usage() if opened else Usage(0, 0)
    if json:
        print_json({"directory": directory, "objects": usage.objects, "bytes": usage.allocated})
        return
    print_line(f"directory  {directory}")
    print_line(f"objects    {usage.objects}")
    print_line(f"bytes      {shown_size(usage.allocated, human=human)}")


@cache.command()
@as_json
@click.pass_context
def check(context: click.Context, json: bool) -> None:
    """Compare objects and listings with their checksums.

    What is wrong is dropped unless a program has it open, and the exit code is 1. With --json: an object
    with "objects", "bytes", "listings" and "problems", a list of objects with "name" and "what".
    """
    from vfsoverlay._cache.block_cache import Report
    from vfsoverlay._namespace.kept_listings import check_listings
    from vfsoverlay._vfs.naming import index_path

    directory, opened = _open(context)
    report = opened.check() if opened else Report(0, 0, [])
    listings = check_listings(index_path(directory))
    problems: list[Problem | Damage] = [*report.problems, *listings.damaged]
    if json:
        document = {"objects": report.objects, "bytes": report.allocated, "listings": listings.checked}
        print_json({**document, "problems": [problem._asdict() for problem in problems]})
    else:
        for problem in problems:
            print_line(f"{problem.name}: {problem.what}")
        checked = f"{counted(report.objects, 'object')} and {counted(listings.checked, 'listing')} checked"
        print_line(f"{checked}, {len(problems)} wrong")
    if problems:
        context.exit(EXIT_FAILED)


@cache.command()
@click.argument("size")
@as_json
@click.pass_context
def evict(context: click.Context, size: str, json: bool) -> None:
    """Free about SIZE, oldest use first.

    SIZE is bytes on the disk, or a text such as 500MB or 2GiB. With --json: an object with "freed", in bytes.
    """
    with usage_errors():
        wanted = parse_size(size)
    _, opened = _open(context)
    _report_freed(opened.evict(wanted) if opened else 0, json=json)


@cache.command()
@as_json
@click.pass_context
def clear(context: click.Context, json: bool) -> None:
    """Remove all objects that no program has open; listings stay.

    With --json: an object with "freed", in bytes.
    """
    _, opened = _open(context)
    _report_freed(opened.clear() if opened else 0, json=json)


def _report_freed(freed: int, *, json: bool) -> None:
    document: dict[str, Any] = {"freed": freed}
    if json:
        print_json(document)
    else:
        print_line(f"{shown_size(freed, human=True)} freed")
