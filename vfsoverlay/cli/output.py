"""What commands print: lines for people, one JSON document for programs."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import click

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def print_line(text: str) -> None:
    """One line for people; bytes of a name that are no UTF-8 come out as they are."""
    click.echo(os.fsencode(text))


def print_json(value: Any) -> None:
    """*value* as the one document of this command; names that are no UTF-8 keep their escapes."""
    click.echo(json.dumps(value, indent=2))


@contextmanager
def logging_to_stderr(verbosity: int) -> Iterator[None]:
    """Log to standard error: errors only (-1), also what is done (1), also details (2 and more)."""
    logger = logging.getLogger("vfsoverlay")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vfsoverlay: %(message)s"))
    before = logger.level
    logger.setLevel({-1: logging.ERROR, 1: logging.INFO}.get(verbosity, logging.DEBUG))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def shown_name(name: str) -> str:
    r"""*name* on one line: a newline in it is printed as ``\x0a``, so that it cannot forge another line."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", name)


def shown_size(size: int, *, human: bool) -> str:
    """*size* in bytes, or rounded with a unit of 1024 bytes."""
    if not human:
        return str(size)
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{size / 1024**power:.1f} {_UNITS[power]}" if power else f"{size} B"


def counted(count: int, noun: str) -> str:
    """*count* with its noun, in the plural where it must be."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def shown_time(seconds: float) -> str:
    """A time stamp in UTC, to the second, as ISO 8601 has it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
