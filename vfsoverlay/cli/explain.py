"""The command ``explain``: what a path or URL is, and why it is not what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vfsoverlay.cli.common import as_json, source_options
from vfsoverlay.cli.output import print_json, print_line, shown_name
from vfsoverlay.cli.targets import Target, opened

if TYPE_CHECKING:
    from vfsoverlay._vfs.explanation import Explanation


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="URL|PATH...")
@as_json
@source_options
def explain(targets: tuple[str, ...], json: bool, **where: Any) -> None:
    """Say how paths resolve.

    Shows the mount, the object's key, size and ETag, how much of it is in the cache, or why there
    is nothing. With --json: a list of objects with "path", "kind" ("file", "directory", "parent",
    "missing" or "foreign"), "source", "root_dir", "key", "size", "etag", "storage_class", "cached"
    and "reason"; what does not apply is null.
    """
    with opened(targets, lazily=True, **where) as places:
        found = [_explained(place) for place in places]
    if json:
        print_json([explanation._asdict() for explanation in found])
        return
    for number, explanation in enumerate(found):
        if number:
            print_line("")
        for line in str(explanation).splitlines():
            print_line(shown_name(line))


def _explained(place: Target) -> Explanation:
    from vfsoverlay import _api

    found = _api.explain(place.path)._replace(path=place.shown)
    # Where a URL is mounted for the time of the command is nobody's business.
    return found if place.shown == place.path else found._replace(root_dir=None)
