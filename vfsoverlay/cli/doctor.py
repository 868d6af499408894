"""The command ``doctor``: what this machine offers, and what would stop a mount from working here."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from vfsoverlay.cli.common import as_json, source_options
from vfsoverlay.cli.exit_codes import EXIT_FAILED
from vfsoverlay.cli.output import counted, print_json, print_line, shown_size


class Finding(NamedTuple):
    """One line of the report."""

    subject: str
    is_fine: bool
    what: str


@click.command()
@click.argument("source", required=False, metavar="[s3://BUCKET/PREFIX/]")
@as_json
@source_options
@click.pass_context
def doctor(
    context: click.Context, source: str | None, json: bool, mounts: tuple[str, ...], options: dict[str, Any]
) -> None:
    """Say what works here, and what does not.

    Looks at Python, the cache directory, the credentials, which programs see a mount and, if a source is
    given, whether it can be mounted. Exits with 1 if something is wrong. With --json: a list of objects with "subject",
    "is_fine" and "what".
    """
    examinations: dict[str, Callable[[], str]] = {
        "python": _python,
        "cache": lambda: _cache(options.get("cache_dir")),
        "credentials": lambda: _credentials(options),
        "reach": _reach,
    }
    for text in [*([source] if source else []), *mounts]:
        examinations[text] = lambda text=text: _source(text, options)  # type: ignore[misc]  # bound per turn
    findings = [_examine(subject, call) for subject, call in examinations.items()]
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            print_line(f"{'ok   ' if finding.is_fine else 'WRONG'}  {finding.subject:<{width}}  {finding.what}")
    if not all(finding.is_fine for finding in findings):
        context.exit(EXIT_FAILED)


def _examine(subject: str, call: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, call())
    except (OSError, ValueError, TypeError) as error:
        where = getattr(error, "filename", None)
        what = getattr(error, "strerror", None) or str(error)
        return Finding(subject, False, f"{what}: {where}" if where else what)


def _python() -> str:
    if sys.implementation.name != "cpython" or sys.platform != "linux":
        msg = f"only CPython on Linux is supported, this is {platform.python_implementation()} on {sys.platform}"
        raise OSError(msg)
    return f"CPython {platform.python_version()} on Linux {platform.release()}"


def _cache(given: str | None) -> str:
    from vfsoverlay._cache import locks
    from vfsoverlay._vfs import cache_directory

    directory = cache_directory.choose(given)
    free = shown_size(shutil.disk_usage(directory).free, human=True)
    shared = "locks of one block" if isinstance(locks.probe(directory), locks.OfdLocks) else "locks of whole objects"
    os.unlink(f"{directory}/probe")
    return f"{directory}, {free} free, {shared}"


def _credentials(options: dict[str, Any]) -> str:
    from vfsoverlay._spec import Mount
    from vfsoverlay._store.credentials import CredentialChain
    from vfsoverlay._store.errno_map import Failure
    from vfsoverlay._store.s3_settings import settings_from

    settings = settings_from(Mount("s3://any/", **options).option)
    if settings.anon:
        return "not looked for; requests are unsigned, as asked"
    try:
        found = CredentialChain(settings).found_by()
    except Failure as error:
        raise OSError(error.detail) from error
    if not found:
        return "none; requests are unsigned, which is enough for public buckets"
    return f"found by {found}; requests are signed"


def _reach() -> str:
    from vfsoverlay._children import STARTUP

    if os.pathsep in STARTUP:
        msg = f"programs that are started have no mounts: {STARTUP} cannot be an entry of PYTHONPATH"
        raise OSError(msg)
    return "this process and Python programs it starts; other programs get copies of the files they are given"


def _source(text: str, options: dict[str, Any]) -> str:
    from vfsoverlay import _api
    from vfsoverlay._mount_text import parse_mount

    with _api.mount(parse_mount(text, options)) as point:
        total, objects = point.size()
        if not objects:
            msg = "can be mounted, but no object has a key below it; check the spelling"
            raise OSError(msg)
        return f"can be mounted at {point.root_dir}: {counted(objects, 'object')}, {shown_size(total, human=True)}"
