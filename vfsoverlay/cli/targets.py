"""The URLs and paths of a command line, reachable as files while a command runs."""

from __future__ import annotations

import errno
import glob
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import click

from vfsoverlay._mount_text import parse_mount
from vfsoverlay._spec import Mount
from vfsoverlay.cli.exit_codes import EXIT_NOT_MOUNTED

_LOGGER = logging.getLogger("vfsoverlay")

#: Where the source of a URL on the command line is mounted while the command runs.
_PRIVATE_ROOT = "/vfsoverlay-command-line"

#: Options that need all names at once; a URL is then not listed directory by directory.
_EAGER = ("listing", "index", "reuse_listing")

#: Gives the folder of a URL, with its slash, and the name in it (empty for a folder).
Split = Callable[[str], tuple[str, str]]


class Target(NamedTuple):
    """One URL or path of the command line, reachable as *path* while the command runs."""

    path: str
    shown: str
    """As the user spelled it."""


class NotMountedError(click.ClickException):
    """A mount cannot be made, whatever stands in its way: the source, the cache directory or the place."""

    exit_code = EXIT_NOT_MOUNTED

    def show(self, file: Any = None) -> None:
        """Print it like any other failure of a command."""
        click.echo(f"vfsoverlay: {self.format_message()}", file=file, err=file is None)


@contextmanager
def mounting() -> Iterator[None]:
    """What ``Mount`` and ``mount()`` raise, as the usage errors and failures of a command line."""
    try:
        with usage_errors():
            yield
    except OSError as error:
        raise NotMountedError(told(error)) from error


def told(error: OSError) -> str:
    """*error* in one line, without its number."""
    what = error.strerror or str(error)
    return what if error.filename is None or str(error.filename) in what else f"{what}: {error.filename}"


@contextmanager
def usage_errors() -> Iterator[None]:
    """What ``Mount`` and ``mount()`` say about wrong arguments is a usage error of the command line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error


def split_url(url: str) -> tuple[str, str]:
    """The folder of *url*, with its slash, and the name in it (empty for a folder)."""
    protocol, _, rest = url.partition("://")
    folder, slash, name = rest.rpartition("/")
    return (f"{protocol}://{folder}/", name) if slash else (f"{url}/", "")


def split_pattern(url: str) -> tuple[str, str]:
    """As ``split_url``; where *url* is a pattern, the last folder above all that is not spelled out, and the rest."""
    protocol, _, rest = url.partition("://")
    bucket, *parts = rest.split("/")
    plain = next((number for number, part in enumerate(parts) if glob.has_magic(part)), None)
    if plain is None:
        return split_url(url)
    return "/".join((f"{protocol}://{bucket}", *parts[:plain], "")), "/".join(parts[plain:])


@contextmanager
def opened(
    words: Sequence[str],
    mounts: Sequence[str],
    options: Mapping[str, Any],
    *,
    lazily: bool = False,
    split: Split = split_url,
) -> Iterator[list[Target]]:
    """Mount what *words* and *mounts* name for the time of a command, and say where each word is.

    A word is a URL, whose folder is mounted, or a path below one of the *mounts*. An OSError of the
    command names the URL, not the place where it was mounted.

    Args:
        words: The URLs and paths.
        mounts: Further mounts, as ``SRC:PATH``.
        options: Options of all of them.
        lazily: List of the URLs only the directories that the command looks at.
        split: What of a URL is mounted.
    """
    from vfsoverlay import _api

    lazy = {"listing": "lazy"} if lazily and not any(name in options for name in _EAGER) else {}
    sources: dict[str, str] = {}
    with ExitStack() as stack:
        with mounting():
            for text in mounts:
                stack.enter_context(_api.mount(parse_mount(text, options)))
            for source in dict.fromkeys(split(word)[0] for word in words if "://" in word):
                root = f"{_PRIVATE_ROOT}/{len(sources)}"
                stack.enter_context(_api.mount(Mount(source, root, **{**options, **lazy})))
                sources[source] = root
        stack.callback(log_counts)
        try:
            yield [_find(word, sources, split) for word in words]
        except OSError as error:
            error.filename = _as_url(error.filename, sources)
            if error.errno == errno.ENOENT and error.filename in words and "://" not in error.filename:
                error.strerror = f"{error.strerror} (a source is a URL, such as s3://bucket/prefix/)"
            raise


def log_counts() -> None:
    """Log what the mounts in force have asked for and got, for ``--verbose``."""
    from vfsoverlay import _api

    if _LOGGER.isEnabledFor(logging.INFO):
        counts = sorted(_api.metrics().items())
        _LOGGER.info("%s", " ".join(f"{name}={count:.6g}" for name, count in counts) or "nothing was asked for")


def _find(word: str, sources: Mapping[str, str], split: Split) -> Target:
    if "://" not in word:
        return Target(word, word)
    source, name = split(word)
    return Target(f"{sources[source]}/{name}" if name else sources[source], word)


def _as_url(filename: Any, sources: Mapping[str, str]) -> Any:
    for source, root in sources.items():
        if isinstance(filename, str) and (filename + "/").startswith(root + "/"):
            return source + filename[len(root) + 1 :]
    return filename


def invalid_file(error: ValueError) -> OSError:
    """What is wrong with the content of a file, as an error that exits like one of reading it."""
    return OSError(errno.EINVAL, str(error))
