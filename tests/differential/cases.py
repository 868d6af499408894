"""One compared call each: which call, on which spelling of which path, from where."""

# ruff: noqa: E501 - tables read better in long lines

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.differential.calls import CHANGES, PAIRS, READS, WITH_DIR_FD
from tests.differential.worlds import LONG, NFC, NFD, World

BASE = "{base}"
ROOT = "{base}/top/data"

#: Paths that every call meets.
PATHS = [
    ROOT,
    *(f"{ROOT}/{tail}" for tail in (
        "a.txt", "sub", "sub/b.bin", "sub/inner", "missing", "missing/x", "a.txt/x", "a.txt/", "sub/", "missing/", "", ".", "..",
        "sub/.", "sub/..", "sub/../a.txt", "a.txt/..", "a.txt/.", "a.txt/../sub", "missing/../a.txt", "sub//b.bin", "./sub/./b.bin",
        "empty", f"names/{NFC}", f"names/{NFD}", f"names/{LONG}", f"names/{LONG}x", f"names/{LONG}x/y", "names/a.txt", "names/...",
        "sub/deep/sp ace\nline", "names/\udce9", "nul\0byte", "names/.hidden", "../data/a.txt", "../../top/data/sub", "sub/missing",
        "../missing", "missing/..", "a.txt//", "names/back\\slash", "\U0001f600",
    )),
    BASE, f"{BASE}/top", f"{BASE}/top/", f"{BASE}/top/datax", f"{BASE}/top/dat", f"{BASE}/side", f"{BASE}/plain.txt", f"{BASE}/nowhere",
    *(f"{BASE}/{link}" for link in (
        "link_root", "link_root/", "link_root/a.txt", "link_root/missing", "link_root/sub/", "link_top", "link_top/data",
        "link_top/data/sub/b.bin", "link_top/missing", "link_sub", "link_sub/", "link_sub/..", "link_sub/../a.txt", "link_sub/b.bin",
        "link_file", "link_file/", "link_file/x", "link_dangling", "link_dangling/", "link_dangling/x", "link_out", "loop", "loop/x",
        "chain", "chain/sub", "chain/../plain.txt", "chain/../../plain.txt", "side/rel_link", "side/rel_link/a.txt", "link_up", "link_up/plain.txt",
        "side/../top/data/a.txt", "side/second", "side/second/s.txt", "side/second/more", "side/second/missing",
    )),
    "/{base}/top/data/a.txt",
    "", ".", "..", "/", "\0",
]  # fmt: skip

#: Relative paths, and the directories they begin in: as working directory or as ``dir_fd``.
RELATIVE = ["", ".", "..", "a.txt", "sub", "b.bin", "missing", "data", "top/data", "top/data/a.txt", "../a.txt", "../..", "a.txt/",
            "deep/c.txt", "./a.txt", "../data/a.txt", "data/sub", "rel_link", "../side/note.txt", "../../top/data/sub/"]  # fmt: skip
STARTS = ["", "top", "top/data", "top/data/sub", "side", "link_root", "top/data/sub/inner"]

KINDS = ["str", "str", "str", "str", "bytes", "PathLike", "PathLike bytes", "bytearray", "memoryview", "str subclass"]

_PIECES = ["sub", "sub", "a.txt", "missing", "..", ".", "", "b.bin", "deep", "inner", "names", NFC, LONG, LONG + "x", "s.txt", "top",
           "data", "side", "link_root", "rel_link", "second", "plain.txt", "c.txt", "more"]  # fmt: skip


class _Path:
    def __init__(self, path: Any) -> None:
        self.path = path

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"_Path({self.path!r})"


class _Text(str):
    __slots__ = ()


class Case(NamedTuple):
    """One call; ``{base}`` stands for the directory of the world."""

    call: str
    paths: tuple[str, ...]
    kind: str = "str"
    cwd: str | None = None
    dir_fd: str | None = None

    def arguments(self, world: World) -> list[Any]:
        return [_convert(path.replace(BASE, world.base), self.kind) for path in self.paths]

    def is_safe(self, world: World) -> bool:
        """Whether it cannot harm anything but the world, which must be the reference and not be mounted over."""
        if self.call in READS:
            return self._stays_below(world, world.base)
        if self.call in PAIRS:
            return self._stays_below(world, world.base) and not self._touches_parents(world)
        inner = self.call in _RECURSIVE or world.layout in {"no parents", "two"}
        return self._stays_below(world, world.root if inner else world.base) and not self._touches_parents(world)

    def exception(self, world: World) -> str:
        """Why this one is not compared: the documented differences, all others are errors."""
        if self.call in {"path.ismount", "Path.is_mount"}:
            return "a bind mount shares its device number with the disk; a mount has one of its own"
        parent = os.path.realpath(f"{world.base}/top")
        if world.layout == "no parents" and any(
            path == parent
            or (path.startswith(parent + "/") and (self.call not in READS) and not _below(path, world.root))
            for path in self._resolved(world)
        ):
            return "a parent of the mount point that is not on disk is shown with mode 0555, and nothing is made in it"
        if self.call in _LISTING and not self._stays_below(world, world.root):
            links = {os.path.realpath(f"{world.base}/{name}") for name in ("", "side")}
            if links & set(self._resolved(world)):
                return "the kernel's own entries of symbolic links on disk do not know what a mount holds"
            if "link_" in f"{self.paths}{self.cwd}{self.dir_fd}" or "chain" in self.paths[0]:
                return "a link to the parent of a mount point lists what is on disk"
        return ""

    def _resolved(self, world: World) -> Iterator[str]:
        start = f"{world.base}/{self.cwd if self.dir_fd is None else self.dir_fd}"
        for path in self.paths:
            try:
                yield os.path.realpath(os.path.join(start, path.replace(BASE, world.base)))
            except (OSError, ValueError):  # noqa: PERF203 - each spelling fails by itself
                yield os.path.realpath(world.root) + "/."

    def _stays_below(self, world: World, directory: str) -> bool:
        top = os.path.realpath(directory)
        return all(path == top or path.startswith(top + "/") for path in self._resolved(world))

    def _touches_parents(self, world: World) -> bool:
        """Parents of the mount point are real and writable there, but need not exist here."""
        root = os.path.realpath(world.root)
        return any((root + "/").startswith(path + "/") and path != root for path in self._resolved(world))


_LISTING = {"walk", "walk bottom up", "walk onerror", "fwalk", "glob **", "glob *", "Path.glob", "Path.rglob", "scandir", "listdir",
            "Path.iterdir", "shutil.copytree", "listdir of fd", "scandir of fd", "chdir", "fchdir of fd"}  # fmt: skip
_RECURSIVE = {"shutil.rmtree", "removedirs"}


def _below(path: str, directory: str) -> bool:
    return path.startswith(os.path.realpath(directory) + "/")


def _convert(path: str, kind: str) -> Any:
    if kind == "str":
        return path
    if kind == "PathLike":
        return _Path(path)
    if kind == "str subclass":
        return _Text(path)
    raw = os.fsencode(path)
    return {"bytes": raw, "PathLike bytes": _Path(raw), "bytearray": bytearray(raw), "memoryview": memoryview(raw)}[
        kind
    ]


def every_call() -> Iterator[Case]:
    """Each call on each of ``PATHS``."""
    for call in (*READS, *CHANGES):
        for path in PATHS:
            yield Case(call, (path,), cwd="side")
    for call in PAIRS:
        for path in PATHS:
            for other in (
                f"{ROOT}/sub/new",
                f"{BASE}/side/new",
                f"{ROOT}/a.txt",
                f"{ROOT}/sub",
                f"{BASE}/side/note.txt",
            ):
                yield Case(call, (path, other), cwd="side")
                yield Case(call, (other, path), cwd="side")


def relative_calls() -> Iterator[Case]:
    """Each call on relative paths, from working directories and directory descriptors in and around the mount."""
    for call in (*READS, *CHANGES):
        for start in STARTS:
            for path in RELATIVE:
                yield Case(call, (path,), cwd=start)
                if call in WITH_DIR_FD:
                    yield Case(call, (path,), cwd="side", dir_fd=start)


def random_calls(seed: int) -> Iterator[Case]:
    """Endless calls on random spellings."""
    dice = random.Random(seed)
    while True:
        call = dice.choice([*READS, *CHANGES, *PAIRS])
        paths = tuple(_random_path(dice) for _ in range(2 if call in PAIRS else 1))
        dir_fd = dice.choice(STARTS) if call in WITH_DIR_FD and dice.random() < 0.3 else None
        yield Case(call, paths, dice.choice(KINDS), dice.choice(STARTS), dir_fd)


def _random_path(dice: random.Random) -> str:
    start = dice.choice(
        [
            ROOT,
            ROOT,
            ROOT,
            BASE,
            f"{BASE}/link_root",
            f"{BASE}/side/..",
            f"/{BASE}/top",
            f"{ROOT}/sub",
            "",
            "",
            "..",
            ".",
        ]
    )
    path = (
        "/".join([start, *dice.choices(_PIECES, k=dice.choice([0, 1, 1, 2, 2, 3, 4]))])
        if start
        else "/".join(dice.choices(_PIECES, k=dice.choice([1, 1, 2, 3])))
    )
    if dice.random() < 0.1:
        path += "/"
    if dice.random() < 0.02:
        path = path.replace("/", "/./", 1) + "/." * dice.choice([10, 2000, 2100])
    return path.lstrip("/") if not path.startswith(("/", "{")) else path
