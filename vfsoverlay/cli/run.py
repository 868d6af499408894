"""The command ``run``: mounts, then becomes another program."""

from __future__ import annotations

import logging
import os
from typing import Any

import click

from vfsoverlay._mount_text import VARIABLE, parse_mount, parse_mounts
from vfsoverlay._spec import Mount
from vfsoverlay.cli.common import source_options
from vfsoverlay.cli.first_process import step_aside
from vfsoverlay.cli.program import Command, Program, UnusableProgramError, parse_program
from vfsoverlay.cli.targets import mounting, usage_errors

_LOGGER = logging.getLogger("vfsoverlay")

#: For the check of options; nothing is mounted.
_ANY_SOURCE = "s3://any/"

_NOTE = "it finds files of the mounts only if they are its arguments; Python programs that it starts see all"


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="-- PROGRAM [ARG]...")
@click.option(
    "--lightning/--no-lightning",
    default=None,
    help="Make the mounts that Lightning works declare. Default: if Lightning is installed.",
)
@source_options
def run(
    words: tuple[str, ...], lightning: bool | None, mounts: tuple[str, ...], options: dict[str, Any]
) -> Program | Command:
    """Run a program that sees the mounts.

    PROGRAM is a script, a module (-m NAME), code (-c TEXT), any of them behind "python", or a command
    that is a Python script of this environment, such as pytest. It runs in this process: arguments,
    exit status and tracebacks are those that python itself would give.

    Any other command takes the place of this process. The Python programs that it starts see the
    mounts. The command itself, such as ls or ffmpeg, does not: it gets a local copy of each file that
    is named in full among its arguments, and finds nothing else.

    $VFSOVERLAY_MOUNTS may name further mounts, as a JSON list.

    As the first process of a container, it passes signals on to the program, reaps orphans, and ends
    with the program's exit status.
    """
    step_aside()
    with mounting():
        # Also where no --mount follows: a slip in an option must not pass unnoticed.
        Mount(_ANY_SOURCE, **options)
        specs = [*_from_environment(), *(parse_mount(text, options) for text in mounts)]
        if specs:
            from vfsoverlay import _api

            for point in _api.mount(specs):
                _LOGGER.info("%s is mounted at %s", point.source, point.root_dir)
    try:
        # Not before the mounts are there: the program may lie below one of them.
        program = parse_program(words)
    except UnusableProgramError as error:
        raise click.UsageError(str(error)) from error
    if isinstance(program, Command):
        _LOGGER.info("%s is no Python program: %s", program.path, _NOTE)
    else:
        _prepare_lightning(options, wanted=lightning)
    return program


def _from_environment() -> list[Mount]:
    """What $VFSOVERLAY_MOUNTS names; nothing where a parent process wrote it, whose mounts are here already."""
    text = os.environ.get(VARIABLE)
    return parse_mounts(text) if text and "VFSOVERLAY_CHILD" not in os.environ else []


def _prepare_lightning(options: dict[str, Any], *, wanted: bool | None) -> None:
    """Let works make their mounts; costs a look at ``sys.path`` where there is no Lightning."""
    from vfsoverlay import lightning

    if lightning.is_installed() if wanted is None else wanted:
        with usage_errors():
            lightning.install(compat=True, **options)
