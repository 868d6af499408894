"""A mount and the kernel's own read-only mount of the same content answer every call alike."""

# ruff: noqa: E501 - tables read better in long lines

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.calls import CHANGES, PAIRS, READS
from tests.differential.cases import Case, every_call, random_calls, relative_calls
from tests.differential.worlds import LAYOUTS, MTIME, World, can_bind, kernel_world, overlay_world

#: Random calls in each layout.
RANDOM_CALLS = int(os.environ.get("DIFFERENTIAL_CALLS", "400"))
#: Of the tables of calls and paths, one in so many; each run takes others. DIFFERENTIAL_CALLS runs all of them.
SAMPLE = 1 if "DIFFERENTIAL_CALLS" in os.environ else 60
#: Fixed, so that a change is judged by its own differences; other seeds are for those who look for some.
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "20221019"))

#: A bytearray as path is deprecated; we take it as long as CPython does, without a warning of our own.
pytestmark = pytest.mark.filterwarnings("ignore:.*should be string, bytes:DeprecationWarning")

#: Of an object in a message.
_ADDRESS = re.compile("0x[0-9a-f]{6,}")

ALL_CALLS = {**READS, **CHANGES, **PAIRS}


def plain(value: Any, world: World) -> Any:
    """*value* without what may differ: the directory of the world, numbers of inodes and devices, times of directories."""
    if isinstance(value, os.stat_result):
        kind = stat.S_IFMT(value.st_mode)
        if kind == stat.S_IFREG:
            times = (value.st_mtime_ns, value.st_mtime, value[8]) if value.st_mtime < MTIME + 10 else "just now"
            owner = (value.st_uid, value.st_gid)
            return ("stat", oct(value.st_mode), value.st_nlink, owner, value.st_size, times, len(value))
        return (
            "stat",
            oct(value.st_mode) if kind == stat.S_IFDIR and _ours(value) else oct(kind),
            value.st_uid,
            value.st_gid,
        )
    if isinstance(value, str):
        return value.replace(world.base, "{base}")
    if isinstance(value, (bytes, bytearray)):
        return type(value)(bytes(value).replace(os.fsencode(world.base), b"{base}"))
    if isinstance(value, memoryview):
        return ("memoryview", plain(bytes(value), world))
    if isinstance(value, (list, tuple)):
        return [plain(item, world) for item in value]
    if isinstance(value, os.PathLike):
        return (type(value).__name__, plain(os.fspath(value), world))
    if isinstance(value, OSError):
        filename = "a descriptor" if isinstance(value.filename, int) else plain(value.filename, world)
        return (
            type(value).__name__,
            value.errno,
            value.strerror,
            filename,
            plain(value.filename2, world),
            plain(value.args, world),
        )
    if isinstance(value, RecursionError):
        return "RecursionError"  # its message depends on where the recursion ended
    if isinstance(value, BaseException):
        return (type(value).__name__, plain(_ADDRESS.sub("0x...", str(value)), world))
    return value


def _ours(value: os.stat_result) -> bool:
    return stat.S_IMODE(value.st_mode) == 0o555


def run(case: Case, world: World) -> Any:
    """The answer to *case*, whatever it is."""
    here = os.getcwd()
    wanted = None if case.call in READS else world.signature()
    directory = None
    try:
        if case.cwd is not None:
            os.chdir(f"{world.base}/{case.cwd}")
        kwargs = {}
        if case.dir_fd is not None:
            directory = kwargs["dir_fd"] = os.open(f"{world.base}/{case.dir_fd}", os.O_RDONLY | os.O_DIRECTORY)
        try:
            answer = ALL_CALLS[case.call](*case.arguments(world), **kwargs)
        except (Exception, shutil.Error) as error:
            answer = error
        return plain(answer, world)
    except OSError as error:
        return ("cannot begin there", error.errno)
    finally:
        if directory is not None:
            os.close(directory)
        os.chdir(here)
        if wanted is not None:
            world.repair(wanted)
            if world.leak():
                return ("LEAKED onto the disk",)  # noqa: B012 - whatever else happened, this is worse


def differences(cases: Iterable[Case], scratch: Path, layout: str) -> Iterator[str]:
    """Runs *cases* in both worlds; the reference runs without any mount of ours."""
    with kernel_world(scratch, layout) as kernel:
        guard = kernel._replace(layout=layout)
        chosen = [case for case in cases if case.is_safe(guard) and not case.exception(guard)]
        expected = [run(case, kernel) for case in chosen]
        with overlay_world(scratch, layout) as ours:
            yield from _compare(chosen, expected, ours, kernel)


def _compare(cases: list[Case], expected: list[Any], ours: World, kernel: World) -> Iterator[str]:
    for case, reference in zip(cases, expected, strict=True):
        answer = run(case, ours)
        if answer != reference:
            yield f"{case}\n    kernel: {reference}\n    mount:  {answer}"
    for case, reference in list(zip(cases, expected, strict=True))[:: max(1, len(cases) // 500)]:
        answer = run(case, kernel)
        if answer != reference:
            yield f"on the real directory, while a mount is active: {case}\n    before: {reference}\n    now:    {answer}"


def report(found: list[str]) -> str:
    calls = Counter(text.split("call='")[1].split("'")[0] for text in found)
    return f"seed {SEED}, {len(found)} differences, {calls.most_common(200)}\n" + "\n".join(found[:60])


def sampled(cases: Iterable[Case]) -> list[Case]:
    dice = random.Random(SEED)
    return [case for case in cases if dice.random() < 1 / SAMPLE]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    if not sys.platform.startswith("linux") or not can_bind(tmp_path):
        pytest.skip("kernel mounts need root; in a container, CAP_SYS_ADMIN")
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_on_every_kind_of_path(layout: str, scratch: Path) -> None:
    """Each call gives the same value, or the same class, errno, message and filenames, as on a kernel's read-only mount."""
    found = list(differences(sampled(every_call()), scratch, layout))
    assert not found, report(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_from_every_directory(layout: str, scratch: Path) -> None:
    """Relative paths mean the same from working directories and directory descriptors in, above and beside a mount."""
    found = list(differences(sampled(relative_calls()), scratch, layout))
    assert not found, report(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_spellings(layout: str, scratch: Path) -> None:
    """Random spellings in all types a path may have, made of links, dots, slashes and odd names, mean the same."""
    cases = itertools.islice(random_calls(SEED), RANDOM_CALLS)
    found = list(differences(cases, scratch, layout))
    assert not found, report(found)
