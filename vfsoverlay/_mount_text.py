"""Mounts and their options as text, the way command lines and configuration files write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vfsoverlay._options import OPTIONS
from vfsoverlay._spec import Mount

#: Mounts as a JSON list: written by ``_children`` for the processes that this one starts, or by hand.
VARIABLE = "VFSOVERLAY_MOUNTS"

_EXAMPLE = '[{"source": "s3://bucket/data/", "root_dir": "/content/data"}]'


def parse_mounts(text: str) -> list[Mount]:
    """The mounts that ``$VFSOVERLAY_MOUNTS`` asks for, as it is written by hand.

    Raises:
        ValueError: It is no list of mounts; the message names the variable, and the entry that is wrong.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        msg = f"${VARIABLE} is no JSON ({error}); write a list such as {_EXAMPLE}"
        raise ValueError(msg) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        msg = f"${VARIABLE} is no JSON list of mounts; write a list such as {_EXAMPLE}"
        raise ValueError(msg)
    return [_parse_entry(number, entry) for number, entry in enumerate(entries, 1)]


def _parse_entry(number: int, entry: dict[str, Any]) -> Mount:
    try:
        return Mount.from_dict(entry)
    except (ValueError, TypeError) as error:
        msg = f"${VARIABLE}, entry {number}: {error}"
        raise ValueError(msg) from error


def parse_mount(text: str, options: Mapping[str, Any]) -> Mount:
    """The mount that ``SRC:PATH`` asks for; without ``:PATH`` at the default place.

    A source ends in a slash, so the path begins after the last ``:/``.
    """
    source, separator, path = text.rpartition(":/")
    if not separator or "://" not in source:
        head, _, tail = text.rpartition("/:")
        if head:
            msg = f"SRC:PATH needs an absolute path: write {head}/:/{tail}"
            raise ValueError(msg)
        return Mount(text, **options)
    return Mount(source, f"/{path}", **options)


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Mount options from ``NAME=VALUE`` texts.

    A value is read as JSON where it is JSON and the option's default is no text: ``anon=true``,
    ``deadline=30``, ``storage_options={"key": "..."}``; anything else is a text, such as ``cache_size=20GiB``.
    """
    options = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            msg = f"an option is written NAME=VALUE, not {text!r}"
            raise ValueError(msg)
        options[name] = _parse_value(name, value)
    return options


def _parse_value(name: str, text: str) -> Any:
    if name in OPTIONS and name.endswith("_mode"):
        return int(text, 8)
    try:
        return json.loads(text)
    except ValueError:
        return text
