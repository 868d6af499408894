"""The command ``cache``: what the cache holds, whether it is sound, and making it smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vfsoverlay._options import parse_size
from vfsoverlay.cli.common import as_json, human_sizes
from vfsoverlay.cli.exit_codes import EXIT_FAILED
from vfsoverlay.cli.output import counted, print_json, print_line, shown_size
from vfsoverlay.cli.targets import usage_errors

if TYPE_CHECKING:
    from vfsoverlay._cache.block_cache import BlockCache


@click.group()
@click.option(
    "--cache-dir", metavar="DIR", help="The cache directory. Default: $VFSOVERLAY_CACHE_DIR, or where mounts have it."
)
@click.pass_context
def cache(context: click.Context, cache_dir: str | None) -> None:
    """Look after the cache on local disk."""
    context.obj = cache_dir


def _open(context: click.Context) -> BlockCache:
    from vfsoverlay._cache.block_cache import BlockCache
    from vfsoverlay._vfs import cache_directory

    opened = BlockCache(cache_directory.choose(context.obj))
    context.call_on_close(opened.close)
    return opened


@cache.command()
@human_sizes
@as_json
@click.pass_context
def info(context: click.Context, human: bool, json: bool) -> None:
    """Show where the cache lies and how much it holds.

    With --json: an object with "directory", "objects" (versions of objects) and "bytes" (on disk).
    """
    opened = _open(context)
    usage = opened.usage()
    if json:
        print_json({"directory": opened.directory, "objects": usage.objects, "bytes": usage.allocated})
        return
    print_line(f"directory  {opened.directory}")
    print_line(f"objects    {usage.objects}")
    print_line(f"bytes      {shown_size(usage.allocated, human=human)}")


@cache.command()
@as_json
@click.pass_context
def check(context: click.Context, json: bool) -> None:
    """Compare everything with its checksum.

    What is wrong is dropped, and the exit code is 1. With --json: an object with "objects", "bytes" and
    "problems", a list of objects with "name" and "what".
    """
    report = _open(context).check()
    if json:
        problems = [problem._asdict() for problem in report.problems]
        print_json({"objects": report.objects, "bytes": report.allocated, "problems": problems})
    else:
        for problem in report.problems:
            print_line(f"{problem.name}: {problem.what}")
        print_line(f"{counted(report.objects, 'object')} checked, {len(report.problems)} wrong")
    if not report.is_clean:
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
    _report_freed(_open(context).evict(wanted), json=json)


@cache.command()
@as_json
@click.pass_context
def clear(context: click.Context, json: bool) -> None:
    """Remove all that no program has open.

    With --json: an object with "freed", in bytes.
    """
    _report_freed(_open(context).clear(), json=json)


def _report_freed(freed: int, *, json: bool) -> None:
    document: dict[str, Any] = {"freed": freed}
    if json:
        print_json(document)
    else:
        print_line(f"{shown_size(freed, human=True)} freed")
