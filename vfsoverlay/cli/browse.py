"""The commands that look at files: ls, stat, cat and tree."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from typing import Any

import click

from vfsoverlay.cli.common import as_json, human_sizes, source_options
from vfsoverlay.cli.output import counted, print_json, print_line, shown_name, shown_size, shown_time
from vfsoverlay.cli.targets import Target, opened

_COPY_BYTES = 1024**2


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="URL|PATH...")
@click.option("-l", "--long", "is_long", is_flag=True, help="Also show size and time of modification.")
@click.option("-R", "--recursive", is_flag=True, help="Also what is below directories.")
@human_sizes
@as_json
@source_options
def ls(targets: tuple[str, ...], is_long: bool, recursive: bool, human: bool, json: bool, **where: Any) -> None:
    r"""List files.

    A name with a trailing slash is a directory. Control characters in names are printed as \xNN.
    Behind more than one target, each is named above its list.

    With --json: a list of objects with "target", "path" (of what lies below a directory: from there),
    "type" ("file" or "directory"), "size" in bytes (0 for directories) and "modified".
    """
    with opened(targets, lazily=not recursive, **where) as places:
        found = [(place.shown, list(_list(place, recursive=recursive))) for place in places]
    if json:
        print_json([{"target": shown, **row} for shown, rows in found for row in rows])
        return
    for number, (shown, rows) in enumerate(found):
        is_file = [row["path"] for row in rows] == [shown]
        if len(found) > 1 and not is_file:
            print_line(f"{'' if number == 0 else chr(10)}{shown_name(shown)}:")
        _print_rows(rows, is_long=is_long, human=human)


def _print_rows(rows: list[dict[str, Any]], *, is_long: bool, human: bool) -> None:
    sizes = [shown_size(row["size"], human=human) if row["type"] == "file" else "-" for row in rows]
    width = max(map(len, sizes), default=0)
    for row, size in zip(rows, sizes, strict=True):
        name = shown_name(row["path"]) + ("/" if row["type"] == "directory" else "")
        print_line(f"{size:>{width}}  {row['modified']}  {name}" if is_long else name)


def _list(place: Target, *, recursive: bool) -> Iterator[dict[str, Any]]:
    status = os.stat(place.path)
    if not stat.S_ISDIR(status.st_mode):
        yield _row(place.shown, status)
        return
    pending = [("", place.path)]
    while pending:
        below, directory = pending.pop()
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            yield _row(below + entry.name, entry.stat())
        if recursive:
            pending += [(f"{below}{e.name}/", e.path) for e in reversed(found) if e.is_dir()]


def _row(path: str, status: os.stat_result) -> dict[str, Any]:
    is_directory = stat.S_ISDIR(status.st_mode)
    return {
        "path": path,
        "type": "directory" if is_directory else "file",
        "size": 0 if is_directory else status.st_size,
        "modified": shown_time(status.st_mtime),
    }


@click.command("stat")
@click.argument("targets", nargs=-1, required=True, metavar="URL|PATH...")
@as_json
@source_options
def stat_command(targets: tuple[str, ...], json: bool, **where: Any) -> None:
    """Show what os.stat() says about files.

    With --json: a list of objects with "path", "type", "size", "modified", "mode", "inode",
    "device", "uid" and "gid".
    """
    with opened(targets, lazily=True, **where) as places:
        rows = [_stat_row(place) for place in places]
    if json:
        print_json(rows)
        return
    for row in rows:
        print_line(shown_name(row.pop("path")))
        for name, value in row.items():
            print_line(f"  {name:<9} {value}")


def _stat_row(place: Target) -> dict[str, Any]:
    status = os.stat(place.path)
    return _row(place.shown, status) | {
        "mode": stat.filemode(status.st_mode),
        "inode": status.st_ino,
        "device": status.st_dev,
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="URL|PATH...")
@source_options
def cat(targets: tuple[str, ...], **where: Any) -> None:
    """Write the content of files to stdout."""
    with opened(targets, lazily=True, **where) as places:
        for place in places:
            with open(place.path, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, _COPY_BYTES)
        sys.stdout.buffer.flush()


@click.command()
@click.argument("target", metavar="URL|PATH")
@click.option("-L", "--level", type=click.IntRange(min=1), help="Go down this many directories only.")
@as_json
@source_options
def tree(target: str, level: int | None, json: bool, **where: Any) -> None:
    """Draw a directory and what is below it.

    With --json: nested objects with "name", "type", "size" (files) and "entries" (directories).
    """
    with opened([target], lazily=level is not None, **where) as (place,):
        root = {"name": place.shown, "type": "directory", "entries": _entries(place.path, level)}
    if json:
        print_json(root)
        return
    print_line(shown_name(place.shown))
    counts = {"directory": 0, "file": 0}
    for line in _branches(root["entries"], "", counts):
        print_line(line)
    print_line("\n" + ", ".join(counted(count, kind) for kind, count in counts.items()))


def _entries(directory: str, level: int | None) -> list[dict[str, Any]]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        if entry.is_dir():
            below = _entries(entry.path, level and level - 1) if level != 1 else []
            rows.append({"name": entry.name, "type": "directory", "entries": below})
        else:
            rows.append({"name": entry.name, "type": "file", "size": entry.stat().st_size})
    return rows


def _branches(entries: Any, indent: str, counts: dict[str, int]) -> Iterator[str]:
    for number, entry in enumerate(entries, 1):
        is_last = number == len(entries)
        counts[entry["type"]] += 1
        yield f"{indent}{'└── ' if is_last else '├── '}{shown_name(entry['name'])}"
        yield from _branches(entry.get("entries", ()), indent + ("    " if is_last else "│   "), counts)
