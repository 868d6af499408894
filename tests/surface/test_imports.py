"""Modules, packages, archives and libraries are imported from a mount as from a disk, and nothing is written there."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import inspect
import io
import linecache
import os
import pkgutil
import py_compile
import runpy
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.surface.conftest import ROOT, Mounted
from vfsoverlay.testing import S3Server

FILES = {
    "onmount_module.py": b"def answer():\n    return 42\n",
    "onmount_broken.py": b"def f(:\n",
    "onmount_package/__init__.py": b"NAME = __name__\n",
    "onmount_package/part.py": b"from . import NAME\n",
    "onmount_package/__main__.py": b"RESULT = __package__\n",
    "onmount_package/text.txt": b"a resource",
    "onmount_space/part.py": b"HERE = __file__\n",
    "onmount-1.5.dist-info/METADATA": b"Metadata-Version: 2.1\nName: onmount\nVersion: 1.5\n",
    "onmount-1.5.dist-info/entry_points.txt": b"[onmount.plugins]\nfirst = onmount_module:answer\n",
    "program.py": b"RESULT = (__name__, __file__)\n",
}


def archive(members: dict[str, bytes]) -> bytes:
    """A zip file with *members*."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _own_import_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules and finders of a test are gone after it; what it imports would be compiled into ``__pycache__``."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("onmount"):
            del sys.modules[name]
    importlib.invalidate_caches()
    for path in [path for path in sys.path_importer_cache if path.startswith(ROOT)]:
        del sys.path_importer_cache[path]


def imported(name: str, entry: str = ROOT) -> Any:
    sys.path.insert(0, entry)
    return importlib.import_module(name)


def test_a_module(mounted: Mounted) -> None:
    """A module is imported, knows its own path, and nothing is written beside it."""
    mounted(FILES)
    module = imported("onmount_module")
    assert module.answer() == 42
    assert {module.__file__, module.__spec__.origin} == {f"{ROOT}/onmount_module.py"}
    assert "__pycache__" not in os.listdir(ROOT)


def test_packages(mounted: Mounted) -> None:
    """Packages, their parts and namespace packages are found."""
    mounted(FILES)
    assert imported("onmount_package.part").NAME == "onmount_package"
    assert importlib.import_module("onmount_space.part").HERE == f"{ROOT}/onmount_space/part.py"  # noqa: SIM300 - a variable of the module
    assert list(importlib.import_module("onmount_space").__path__) == [f"{ROOT}/onmount_space"]


def test_a_namespace_package_on_disk_and_mount(mounted: Mounted, tmp_path: Path) -> None:
    """A namespace package has parts on disk and on a mount."""
    mounted(FILES)
    (tmp_path / "onmount_space").mkdir()
    (tmp_path / "onmount_space" / "other.py").write_text("HERE = 'disk'\n")
    sys.path.insert(0, str(tmp_path))
    assert imported("onmount_space.part").HERE == f"{ROOT}/onmount_space/part.py"  # noqa: SIM300 - a variable of the module
    assert importlib.import_module("onmount_space.other").HERE == "disk"


def test_a_path_that_was_there_before_the_mount(mounted: Mounted) -> None:
    """A mount point that imports passed by when nothing was there is looked at again."""
    with pytest.raises(ModuleNotFoundError):
        imported("onmount_module")
    point = mounted(FILES)
    assert importlib.import_module("onmount_module").answer() == 42
    point.unmount()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("onmount_package")


def test_syntax_errors_name_the_file(mounted: Mounted) -> None:
    """A syntax error names the path below the mount and shows the line."""
    mounted(FILES)
    with pytest.raises(SyntaxError) as caught:
        imported("onmount_broken")
    assert (caught.value.filename, caught.value.text) == (f"{ROOT}/onmount_broken.py", "def f(:\n")


def test_modules_without_source(mounted: Mounted, tmp_path: Path) -> None:
    """A compiled module without its source is imported, although its loader opens it by ``io.FileIO``."""
    (tmp_path / "onmount_compiled.py").write_text("VALUE = 7\n")
    compiled = py_compile.compile(str(tmp_path / "onmount_compiled.py"), cfile=str(tmp_path / "compiled"))
    assert compiled is not None
    mounted({"onmount_compiled.pyc": Path(compiled).read_bytes()})
    module = imported("onmount_compiled")
    assert (module.VALUE, module.__file__) == (7, f"{ROOT}/onmount_compiled.pyc")


def test_zip_archives(mounted: Mounted) -> None:
    """Modules and packages are imported from a zip file on a mount, and such a file is run."""
    members = {"onmount_zipped.py": b"Z = 1\n", "onmount_zippack/__init__.py": b"P = 2\n", "__main__.py": b"R = 3\n"}
    mounted({"lib.zip": archive(members)})
    assert runpy.run_path(f"{ROOT}/lib.zip")["R"] == 3
    assert imported("onmount_zipped", f"{ROOT}/lib.zip").Z == 1
    assert importlib.import_module("onmount_zippack").P == 2


def test_runpy(mounted: Mounted) -> None:
    """Files, directories and packages on a mount are run by ``runpy``."""
    mounted(FILES)
    sys.path.insert(0, ROOT)
    assert runpy.run_path(f"{ROOT}/program.py", run_name="x")["RESULT"] == ("x", f"{ROOT}/program.py")
    assert runpy.run_module("onmount_package")["RESULT"] == "onmount_package"
    assert runpy.run_path(f"{ROOT}/onmount_package")["RESULT"] == ""


def test_resources(mounted: Mounted) -> None:
    """Resources of a package are read by ``importlib.resources`` and ``pkgutil``, also as a path."""
    mounted(FILES)
    package = imported("onmount_package")
    resource = importlib.resources.files(package) / "text.txt"
    assert resource.read_text() == "a resource"
    with importlib.resources.as_file(resource) as path:
        assert path.read_bytes() == b"a resource"
    assert pkgutil.get_data("onmount_package", "text.txt") == b"a resource"


def test_modules_are_listed(mounted: Mounted) -> None:
    """``pkgutil`` lists what can be imported."""
    mounted(FILES)
    assert {info.name for info in pkgutil.iter_modules([ROOT])} == {
        "onmount_module", "onmount_broken", "onmount_package", "program",
    }  # fmt: skip
    assert imported("onmount_package").NAME
    walked = [info.name for info in pkgutil.walk_packages([f"{ROOT}/onmount_package"], "onmount_package.")]
    assert "onmount_package.part" in walked


def test_source_lines(mounted: Mounted) -> None:
    """``inspect`` and ``linecache`` show the source, and of a changed file the new one."""
    mounted(FILES)
    assert inspect.getsource(imported("onmount_module").answer) == FILES["onmount_module.py"].decode()
    assert linecache.getline(f"{ROOT}/onmount_module.py", 2) == "    return 42\n"


def test_metadata(mounted: Mounted) -> None:
    """A distribution on a mount has its version and entry points."""
    mounted(FILES)
    sys.path.insert(0, ROOT)
    assert importlib.metadata.version("onmount") == "1.5"
    (point,) = importlib.metadata.entry_points(group="onmount.plugins")
    assert point.load()() == 42


def test_refresh_is_seen(mounted: Mounted, server: S3Server) -> None:
    """After ``refresh()`` new modules are found and changed ones reloaded, without a word to the finders."""
    point = mounted(FILES)
    module = imported("onmount_module")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("onmount_late")
    server.put("data", "onmount_late.py", b"N = 1\n")
    server.put("data", "onmount_module.py", b"def answer():\n    return 4200\n")
    point.refresh()
    assert importlib.import_module("onmount_late").N == 1
    assert importlib.reload(module).answer() == 4200
    linecache.checkcache()
    assert linecache.getline(f"{ROOT}/onmount_module.py", 2) == "    return 4200\n"


SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

SOURCE = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL}};
%s
"""
KINDS = {
    "all at once": """
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "onmount_c", NULL, -1, methods};
PyMODINIT_FUNC PyInit_onmount_c(void) { return PyModule_Create(&def); }
""",
    "in phases": """
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "onmount_c", NULL, 0, methods, slots};
PyMODINIT_FUNC PyInit_onmount_c(void) { return PyModuleDef_Init(&def); }
""",
}


def compiled(directory: Path, kind: str) -> bytes:
    """An extension module of *kind*, by the C compiler of this machine."""
    compiler = shutil.which("cc")
    include = sysconfig.get_paths()["include"]
    if compiler is None or not Path(include, "Python.h").exists():
        pytest.skip("no C compiler, or no header files of Python")
    (directory / "module.c").write_text(SOURCE % KINDS[kind])
    command = [compiler, "-shared", "-fPIC", "-w", f"-I{include}", "module.c", "-o", "module.so"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return (directory / "module.so").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_extension_modules(kind: str, mounted: Mounted, tmp_path: Path) -> None:
    """A C extension is loaded from a local copy, and says that it lies on the mount."""
    mounted({f"onmount_c{SUFFIX}": compiled(tmp_path, kind)})
    module = imported("onmount_c")
    assert module.answer() == 42
    assert module.__file__ == module.__spec__.origin == f"{ROOT}/onmount_c{SUFFIX}"
    assert importlib.reload(module).__file__ == module.__file__


def test_a_file_that_is_no_library(mounted: Mounted) -> None:
    """Loading something else as an extension module is an ImportError that names the caller's path."""
    mounted({f"onmount_c{SUFFIX}": b"no library"})
    with pytest.raises(ImportError) as caught:
        imported("onmount_c")
    assert caught.value.path == f"{ROOT}/onmount_c{SUFFIX}"
