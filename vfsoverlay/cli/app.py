"""The command ``vfsoverlay``: its sub-commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import click

from vfsoverlay.cli import browse, cache, demo, doctor, explain, index, run, warm
from vfsoverlay.cli.common import Settings
from vfsoverlay.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_MOUNTED
from vfsoverlay.cli.output import logging_to_stderr
from vfsoverlay.cli.program import Command, Program, run_program
from vfsoverlay.cli.targets import told
from vfsoverlay.errors import MountError

_EPILOG = (
    "Exit codes: 0 done; 1 a file cannot be read, or something was found wrong; 2 the command line is wrong; "
    "3 a mount cannot be made; 130 interrupted. 'run' exits as its program does."
)


@click.group(epilog=_EPILOG)
@click.option("-v", "--verbose", count=True, help="Log what is done and what was fetched; -vv also details.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings; errors only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="vfsoverlay")
@click.pass_obj
def app(settings: Settings, verbose: int, quiet: bool, debug: bool) -> None:
    """Objects below an S3 prefix as read-only files: run programs on them, or look at them."""
    settings.debug = debug
    if verbose or quiet:
        settings.cleanup.enter_context(logging_to_stderr(-1 if quiet else verbose))


for _command in (
    run.run,
    browse.ls,
    browse.stat_command,
    browse.cat,
    browse.tree,
    explain.explain,
    warm.warm,
    index.index,
    cache.cache,
    doctor.doctor,
    demo.demo,
    demo.serve,
):
    app.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line *arguments* (default: ``sys.argv[1:]``) and return the exit code.

    ``run`` replaces this program by another one: it does not return where that one raises.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with ExitStack() as cleanup:
        settings = Settings(cleanup)
        try:
            outcome = app.main(words, prog_name="vfsoverlay", standalone_mode=False, obj=settings)
            if isinstance(outcome, Command):
                outcome.execute()
        except (click.ClickException, click.Abort, KeyboardInterrupt, OSError) as error:
            if settings.debug:
                raise
            return _report(error)
        if isinstance(outcome, Program):
            run_program(outcome)
            return 0
    return outcome if isinstance(outcome, int) else 0


def _report(error: BaseException) -> int:
    """Say on standard error what went wrong, in one line where that is enough."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # The reader went away, as `| head` does. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    if not isinstance(error, OSError):
        click.echo("vfsoverlay: interrupted", err=True)
        return EXIT_INTERRUPTED
    click.echo(f"vfsoverlay: {told(error)}", err=True)
    return EXIT_NOT_MOUNTED if isinstance(error, MountError) else EXIT_FAILED
