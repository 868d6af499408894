"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

import click

from vfsoverlay._mount_text import parse_options
from vfsoverlay.cli.targets import usage_errors

_Command = Callable[..., Any]

_MOUNT = click.option(
    "-m",
    "--mount",
    "mounts",
    multiple=True,
    metavar="SRC:PATH",
    help="Mount the source SRC (with its trailing slash) at PATH. Without :PATH at /data/<last folder>. Repeatable.",
)
_SHORTHANDS = (
    click.option("--anon/--signed", "anon", default=None, help="Send unsigned or signed requests. Default: find out."),
    click.option("--endpoint-url", metavar="URL", help="An S3-compatible server."),
    click.option("--profile", metavar="NAME", help="Profile of the AWS configuration files."),
    click.option("--region", metavar="NAME", help="Region of the bucket."),
)
_OPTION = click.option(
    "-o",
    "--option",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other option of mount(), such as cache_size=20GiB; see docs/configuration.md. Repeatable.",
)
as_json = click.option("--json", is_flag=True, help="Print one JSON document instead of text.")
human_sizes = click.option("-h", "--human", is_flag=True, help="Show sizes in KiB, MiB ... instead of bytes.")


class Settings:
    """What the options before the command ask for."""

    def __init__(self, cleanup: ExitStack) -> None:
        self.debug = False
        #: Closed when everything is over, the program of ``run`` included.
        self.cleanup = cleanup


def source_options(command: _Command) -> _Command:
    """Give *command* the options that say what is mounted; it receives ``mounts`` and ``options``."""

    @wraps(command)
    def call(
        *args: Any,
        assignments: tuple[str, ...],
        anon: bool | None,
        endpoint_url: str | None,
        profile: str | None,
        region: str | None,
        **rest: Any,
    ) -> Any:
        shorthands = {"anon": anon, "endpoint_url": endpoint_url, "profile": profile, "region": region}
        with usage_errors():
            options = {name: value for name, value in shorthands.items() if value is not None}
            options |= parse_options(assignments)
        return command(*args, options=options, **rest)

    for option in (_OPTION, *reversed(_SHORTHANDS), _MOUNT):
        call = option(call)
    return call
