"""The command ``run``: mounts, then becomes a Python program."""

from __future__ import annotations

from typing import Any

import click

from vfsoverlay.cli.common import source_options
from vfsoverlay.cli.program import Program, UnusableProgramError, parse_program
from vfsoverlay.cli.targets import parse_mount, usage_errors


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- PROGRAM [ARG]...")
@source_options
def run(words: tuple[str, ...], mounts: tuple[str, ...], options: dict[str, Any]) -> Program:
    """Run a Python program that sees the mounts.

    PROGRAM is a script, a module (-m NAME), code (-c TEXT), any of them behind "python", or a command
    that is a Python script of this environment, such as pytest. It runs in this process: arguments,
    exit status and tracebacks are those that python itself would give.
    """
    if mounts:
        from vfsoverlay import _api

        with usage_errors():
            _api.mount([parse_mount(text, options) for text in mounts])
    try:
        # Not before the mounts are there: the program may lie below one of them.
        return parse_program(words)
    except UnusableProgramError as error:
        raise click.UsageError(str(error)) from error
