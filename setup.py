"""What is written in C is built where that is possible; without a compiler the package is pure Python."""

import sysconfig
import tempfile

from setuptools import Extension, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler
from setuptools.errors import BaseError, CompileError

SOURCES = {
    "vfsoverlay._cache._pinned": "vfsoverlay/_cache/_pinned.c",
    "vfsoverlay._cache._small": "vfsoverlay/_cache/_small.c",
    "vfsoverlay._namespace._groups": "vfsoverlay/_namespace/_groups.c",
    "vfsoverlay._patch._dispatch": "vfsoverlay/_patch/_dispatch.c",
    "vfsoverlay._store._entries": "vfsoverlay/_store/_entries.c",
    "vfsoverlay._untracked": "vfsoverlay/_untracked.c",
    "vfsoverlay._vfs._statuses": "vfsoverlay/_vfs/_statuses.c",
}


def compiles() -> bool:
    """Whether there is a compiler, and the headers of Python; only then does the wheel belong to a platform."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False  # they rely on the lock
    compiler = new_compiler()
    customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            compiler.compile([*SOURCES.values()], scratch, include_dirs=[sysconfig.get_path("include")])
        except (CompileError, BaseError, OSError):
            return False
    return True


setup(ext_modules=[Extension(name, [source], optional=True) for name, source in SOURCES.items()] if compiles() else [])
