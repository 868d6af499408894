"""What the words of a command line mean: mounts, mount options, and the URL or path that is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import click

from vfsoverlay._options import OPTIONS
from vfsoverlay._spec import Mount

#: Where the source of a URL on the command line is mounted while the command runs.
_PRIVATE_ROOT = "/vfsoverlay-command-line"


class Target(NamedTuple):
    """One URL or path of the command line, reachable as *path* while the command runs."""

    path: str
    shown: str
    """As the user spelled it."""


def parse_mount(text: str, options: Mapping[str, Any]) -> Mount:
    """The mount that ``SRC:PATH`` asks for; without ``:PATH`` at the default place.

    A source ends in a slash, so the path begins after the last ``:/``.
    """
    source, separator, path = text.rpartition(":/")
    if not separator or "://" not in source:
        return Mount(text, **options)
    return Mount(source, f"/{path}", **options)


def parse_options(texts: Sequence[str], shorthands: Mapping[str, Any]) -> dict[str, Any]:
    """Mount options from ``NAME=VALUE`` texts and from options that have a spelling of their own.

    A value is read as JSON where it is JSON and the option's default is no text: ``anon=true``,
    ``deadline=30``, ``storage_options={"key": "..."}``; anything else is a text, such as ``cache_size=20GiB``.
    """
    options = {name: value for name, value in shorthands.items() if value is not None}
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


@contextmanager
def usage_errors() -> Iterator[None]:
    """What ``Mount`` and ``mount()`` say about wrong arguments is a usage error of the command line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def opened(words: Sequence[str], mounts: Sequence[str], options: Mapping[str, Any]) -> Iterator[list[Target]]:
    """Mount what *words* and *mounts* name for the time of a command, and say where each word is.

    A word is a URL, whose folder is mounted, or a path below one of the *mounts*. An OSError of the
    command names the URL, not the place where it was mounted.
    """
    from vfsoverlay import _api

    sources: dict[str, str] = {}
    with ExitStack() as stack:
        with usage_errors():
            for text in mounts:
                stack.enter_context(_api.mount(parse_mount(text, options)))
            for source in dict.fromkeys(_split_url(word)[0] for word in words if "://" in word):
                root = f"{_PRIVATE_ROOT}/{len(sources)}"
                stack.enter_context(_api.mount(Mount(source, root, **options)))
                sources[source] = root
        try:
            yield [_find(word, sources) for word in words]
        except OSError as error:
            error.filename = _as_url(error.filename, sources)
            raise


def _find(word: str, sources: Mapping[str, str]) -> Target:
    if "://" not in word:
        return Target(word, word)
    source, name = _split_url(word)
    return Target(f"{sources[source]}/{name}" if name else sources[source], word)


def _as_url(filename: Any, sources: Mapping[str, str]) -> Any:
    for source, root in sources.items():
        if isinstance(filename, str) and (filename + "/").startswith(root + "/"):
            return source + filename[len(root) + 1 :]
    return filename


def _split_url(url: str) -> tuple[str, str]:
    """The folder of *url*, with its slash, and the name in it (empty for a folder)."""
    protocol, _, rest = url.partition("://")
    folder, slash, name = rest.rpartition("/")
    return (f"{protocol}://{folder}/", name) if slash else (f"{url}/", "")
