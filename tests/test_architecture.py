"""The house rules of docs/architecture.md, checked on the source with the standard library's ``ast``."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from vfsoverlay import errors

PACKAGE = "vfsoverlay"
ROOT = Path(errors.__file__).parent

#: From the ground up. A room imports itself and lower floors; rooms of one floor do not know each other.
FLOORS = (
    ("errors", "_compiled", "_fork_gate", "_real"),
    ("_model", "_metrics"),
    ("_options",),
    ("_spec",),
    ("_store", "_namespace", "_cache"),
    ("_vfs",),
    ("_patch", "_native"),
    ("_children", "_mount_text", "_warming"),
    ("_api", "testing"),
    ("_parcel", "lightning"),
    ("_child", "cli", "dask", "pytest_plugin", "ray", "spark"),
    ("__init__", "__main__", "_startup"),
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}

#: Modules that only some rooms may know, whatever their floor.
PRIVATE_TO = {f"{PACKAGE}._store.protocol": ("_store", "_vfs", "testing")}

#: Rooms that must not call what the shim replaces: everything below it, but ``_real``.
BELOW_THE_SHIM = tuple(room for room, floor in FLOOR_OF.items() if floor < FLOOR_OF["_patch"] and room != "_real")

#: Modules that open or look at files by themselves, through names that the shim replaces.
DISK_MODULES = {"posix", "_io", "pathlib", "shutil", "glob", "tempfile", "fileinput", "linecache"}

#: What rooms below the shim may take from these modules: names that never touch a path on disk.
HARMLESS = {
    "os": re.compile(
        r"(?:O_|SEEK_|ST_|SCHED_|F_|[FRWX]_OK$)\w*"
        r"|PathLike|DirEntry|devnull|stat_result|statvfs_result|error|strerror|path|sep|fspath|fsencode|fsdecode"
        r"|environ|environb|getenv|getpid|getppid|getuid|geteuid|getgid|getegid|getgroups|makedev|major|minor|cpu_count|sched_getaffinity"
        r"|sched_yield|urandom|register_at_fork|sysconf|uname"
    ),
    "os.path": re.compile(
        r"join|split|expanduser|splitext|basename|dirname|isabs|normpath|commonprefix|commonpath|sep"
    ),
    "io": re.compile(
        r"(?:DEFAULT_BUFFER_SIZE|SEEK_\w+|IOBase|RawIOBase|BufferedIOBase|TextIOBase|BytesIO|StringIO"
        r"|BufferedReader|TextIOWrapper|UnsupportedOperation|text_encoding)"
    ),
}

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 40

#: A bare interpreter loads none of these, and neither does ``import vfsoverlay``.
HEAVY = [
    "wrapt",
    "fsspec",
    "s3fs",
    "aiobotocore",
    "botocore",
    "boto3",
    "urllib3",
    "diskcache",
    "asyncio",
    "dataclasses",
    "logging",
    "pathlib",
    "json",
    "sqlite3",
    "click",
    "rich",
    "ssl",
    "http",
    "email",
    "socket",
    "multiprocessing",
]


class Module(NamedTuple):
    """One source file of the package."""

    name: str
    file: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The first name below the package: a file at the top, or a directory."""
        return self.name.split(".")[1] if "." in self.name else "__init__"


def read_package(root: Path) -> dict[str, Module]:
    """All modules below *root*, the package's directory, by dotted name."""
    modules = {}
    for file in sorted(root.rglob("*.py")):
        parts = (root.name, *file.relative_to(root).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name, file, ast.parse(file.read_text("utf-8"), str(file)))
    return modules


def imports(module: Module, modules: dict[str, Module]) -> Iterator[tuple[str, int]]:
    """Every module that *module* names in an import, wherever it stands; inside the package the deepest one."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                yield (deeper if deeper in modules else base), node.lineno


def check_floors(modules: dict[str, Module]) -> Iterator[str]:
    """Imports go down only, are written in full, and never name the top package."""
    for module in modules.values():
        if module.room not in FLOOR_OF:
            yield f"{module.name}: has no floor; give it one in FLOORS and in docs/architecture.md"
            continue
        for target, line in imports(module, modules):
            place = f"{module.name}:{line}"
            if target.startswith("."):
                yield f"{place}: relative import of {target}"
            elif target == PACKAGE and module.room != "__init__":
                yield f"{place}: imports the top package"
            elif target.startswith(f"{PACKAGE}."):
                yield from _check_step(place, module.room, target)


def _check_step(place: str, room: str, target: str) -> Iterator[str]:
    target_room = target.split(".")[1]
    if target in PRIVATE_TO and room not in PRIVATE_TO[target]:
        yield f"{place}: {target} is private to {', '.join(PRIVATE_TO[target])}"
    if target_room != room and FLOOR_OF.get(target_room, 99) >= FLOOR_OF[room]:
        yield f"{place}: {room} must not know {target_room}"


def check_cycles(modules: dict[str, Module]) -> Iterator[str]:
    """No module imports itself through others."""
    edges = {name: {t for t, _ in imports(module, modules) if t in modules} for name, module in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Iterator[str]:
        if name in trail:
            yield "circle: " + " -> ".join((*trail[trail.index(name) :], name))
        elif name not in done:
            for target in sorted(edges[name]):
                yield from visit(target, (*trail, name))
            done.add(name)

    for name in sorted(edges):
        yield from visit(name, ())


def check_sentences(modules: dict[str, Module]) -> Iterator[str]:
    """The first line of every module is one sentence."""
    for module in modules.values():
        first = (ast.get_docstring(module.tree) or "").partition("\n")[0]
        if not re.fullmatch(r"[A-Z][^.]*(?:\.\w[^.]*|\.\.\.[^.]*)*\.", first) or len(first.split()) < 4:
            yield f"{module.name}: its first line is not one sentence: {first!r}"


def check_disk(modules: dict[str, Module]) -> Iterator[str]:
    """Below the shim, files are reached through ``_real`` only."""
    for module in modules.values():
        if module.room in BELOW_THE_SHIM:
            imported = {
                alias.asname or alias.name
                for node in ast.walk(module.tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            for node in ast.walk(module.tree):
                yield from (f"{module.name}:{line}: {text}" for line, text in _disk_uses(node, imported))


def _disk_uses(node: ast.AST, imported: set[str]) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        bad = [alias.name for alias in node.names if alias.name in DISK_MODULES]
        yield from ((node.lineno, f"imports {name}; use _real") for name in bad)
    elif isinstance(node, ast.ImportFrom):
        allowed = HARMLESS.get(node.module or "")
        for alias in node.names:
            if node.module in DISK_MODULES or (allowed and not allowed.fullmatch(alias.name)):
                yield node.lineno, f"imports {node.module}.{alias.name}; use _real"
    elif isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value)
        if owner in HARMLESS and not HARMLESS[owner].fullmatch(node.attr):
            yield node.lineno, f"uses {owner}.{node.attr}; use _real"
    elif isinstance(node, ast.Name) and node.id == "open" and "open" not in imported:
        yield node.lineno, "uses the builtin open; use _real.io_open"


def check_sizes(modules: dict[str, Module]) -> Iterator[str]:
    """A file fits into a few screens and a function into one; docstrings are free."""
    for module in modules.values():
        lines = len(module.file.read_text("utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            yield f"{module.name}: {lines} lines, more than {MAX_FILE_LINES}; which two nouns are in it?"
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = _body_lines(node)
                if length > MAX_FUNCTION_LINES:
                    yield f"{module.name}:{node.lineno}: {node.name}() has {length} lines"


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def check_light(root: Path) -> Iterator[str]:
    """``import vfsoverlay`` loads nothing heavy that a bare interpreter has not loaded already."""
    # Only PYTHONPATH: coverage and other start-up hooks of this environment load half of the list themselves.
    bare, loaded = (
        subprocess.run(
            [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
            env={"PYTHONPATH": str(root.parent), "PATH": os.environ["PATH"]},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for statement in ("", f"import {PACKAGE}")
    )
    yield from (f"import {PACKAGE} loads {name}" for name in HEAVY if name in loaded and name not in bare)


Check = Callable[[dict[str, Module]], Iterator[str]]
CHECKS: tuple[Check, ...] = (check_floors, check_cycles, check_sentences, check_disk, check_sizes)


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    return read_package(ROOT)


@pytest.mark.parametrize("check", CHECKS)
def test_the_house_keeps_its_rules(check: Check, modules: dict[str, Module]) -> None:
    """Imports go down without circles, modules say what they are, only _real touches the disk, files stay small."""
    assert len(modules) > 10
    assert not list(check(modules))


def test_importing_the_package_is_light() -> None:
    """``import vfsoverlay`` loads none of the heavy libraries, so that children and plugins start at once."""
    assert not list(check_light(ROOT))


SENTENCE = '"""What this module is about, in one sentence."""\n'

PLANTED: dict[str, tuple[Check, str, str, str]] = {
    "up": (check_floors, "_cache/evil.py", "import vfsoverlay._vfs.good", "_cache must not know _vfs"),
    "neighbour": (check_floors, "_cache/evil.py", "from vfsoverlay._store import good", "must not know _store"),
    "late": (check_floors, "_model.py", "def f():\n    from vfsoverlay import _spec", "_model must not know _spec"),
    "top": (check_floors, "_vfs/evil.py", "from vfsoverlay import mount", "imports the top package"),
    "relative": (check_floors, "_vfs/evil.py", "from . import good", "relative import"),
    "protocol": (check_floors, "_patch/evil.py", "import vfsoverlay._store.protocol", "is private to"),
    "homeless": (check_floors, "_misc.py", "", "has no floor"),
    "circle": (check_cycles, "_vfs/good.py", "from vfsoverlay._vfs import other", "circle: vfsoverlay._vfs.good -> "),
    "two sentences": (check_sentences, "_vfs/evil.py", '"""One thing here. And another."""', "not one sentence"),
    "no sentence": (check_sentences, "_vfs/evil.py", '"""file helpers"""', "not one sentence"),
    "no docstring": (check_sentences, "_vfs/evil.py", "x = 1", "not one sentence"),
    "open": (check_disk, "_vfs/evil.py", "def f():\n    return open('x')", "evil:3: uses the builtin open"),
    "os.stat": (check_disk, "_cache/evil.py", "import os\nos.stat('x')", "uses os.stat"),
    "from os": (check_disk, "_cache/evil.py", "from os import listdir", "imports os.listdir"),
    "os.path": (check_disk, "_namespace/evil.py", "import os\nos.path.exists('x')", "uses os.path.exists"),
    "FileIO": (check_disk, "_store/evil.py", "import io\nio.FileIO('x')", "uses io.FileIO"),
    "pathlib": (check_disk, "_spec.py", "from pathlib import Path", "imports pathlib.Path"),
    "shutil": (check_disk, "_spec.py", "import shutil", "imports shutil"),
    "long function": (check_sizes, "_spec.py", "def f():\n" + "    x = 1\n" * 41, "f() has 41 lines"),
    "long file": (check_sizes, "_spec.py", "x = 1\n" * 500, "501 lines"),
}


def plant(directory: Path, file: str = "", source: str = "") -> Path:
    """A small package without a fault, plus *source* as *file*."""
    root = directory / PACKAGE
    good = {
        "__init__.py": "",
        "_real.py": "",
        "_model.py": "",
        "_spec.py": "import os\nos.fspath('x')",
        "_store/good.py": "from vfsoverlay import _model",
        "_store/protocol.py": "import vfsoverlay._model",
        "_vfs/good.py": "import vfsoverlay._store.protocol\nfrom vfsoverlay._real import open\nopen('x')",
        "_vfs/other.py": "from vfsoverlay._vfs.good import open",
    }
    for name, text in {**good, file or "_spec.py": source}.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text if text.startswith('"""') or text == "x = 1" else SENTENCE + text)
    return root


def test_a_clean_house_has_no_faults(tmp_path: Path) -> None:
    """The checks have nothing to say about a package that keeps the rules."""
    modules = read_package(plant(tmp_path))
    assert [fault for check in CHECKS for fault in check(modules)] == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_broken_house_is_noticed(name: str, tmp_path: Path) -> None:
    """Each rule fails when it is broken, and names the place."""
    check, file, source, message = PLANTED[name]
    faults = list(check(read_package(plant(tmp_path, file, source))))
    assert len(faults) == 1
    assert message in faults[0]


def test_a_heavy_import_is_noticed(tmp_path: Path) -> None:
    """The check of light imports fails when the package loads a heavy library."""
    root = plant(tmp_path, "__init__.py", "import json")
    assert list(check_light(root)) == ["import vfsoverlay loads json"]
