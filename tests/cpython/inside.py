"""CPython's own tests of files and paths, with their fixtures on a mount, fail only where a mount must differ.

    python tests/cpython/inside.py [MODULE...]

Each module of ``test`` runs in a process of its own, whose working and temporary directories lie
below a mount of a directory on disk. What the tests write goes to that directory, past the mount
(see ``write_through.py``); what they read by a path is read through the mount. Tests that cannot
pass there are listed in ``expected.py`` with the reason. Exits with 1 if another test fails, and
also if one of those passes, so that the list can only become shorter.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
import time
import unittest
import unittest.mock  # some of the tests use it without importing it
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# The package under test comes from where it is installed; this directory's siblings from here.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import vfsoverlay
from tests.cpython.expected import EXPECTED, UNDECIDED, short
from tests.cpython.outcomes import Outcomes, run_apart, write_answer
from tests.cpython.write_through import Way, install

#: The parts of test_os that are about reading files and directories; others start processes or ask about users.
_OF_OS = (
    "FileTests", "StatAttributeTests", "UtimeTests", "WalkTests", "FwalkTests", "BytesWalkTests", "BytesFwalkTests",
    "MakedirTests", "RemoveDirsTests", "TestInvalidFD", "LinkTests", "ReadlinkTests", "TestSendfile",
    "OSErrorTests", "PathTConverterTests", "ExportsTests", "TestDirEntry", "TestScandir", "TestPEP519",
    "ExtendedAttributeTests", "NonLocalSymlinkTests",
)  # fmt: skip

#: The modules, those that take longest first.
MODULES = (
    "test_tarfile", "test_io", "test_zipfile", "test_pathlib", "test_importlib.source", "test_shutil", "test_os",
    "test_lzma", "test_gzip", "test_runpy", "test_bz2", "test_tempfile", "test_glob", "test_zipimport", "test_fileio",
    "test_fileinput", "test_posixpath", "test_linecache", "test_pkgutil", "test_filecmp", "test_mmap",
    "test_genericpath",
)  # fmt: skip

#: The interpreters whose own tests the list of expected failures is about.
KEPT_FOR = ((3, 11), (3, 13))

#: Appearance of the mount, for tests that want one: that of files just made, and of programs.
_OPTIONS: dict[str, dict[str, Any]] = {
    "test_tarfile": {"file_mode": 0o644},
    "test_pathlib": {"file_mode": 0o666},
    "test_shutil": {"file_mode": 0o755},
}

#: Attributes of test classes that are ``io.FileIO``, which does not see mounts: the documented way takes its place.
_FILE_IO = {
    "test_fileio": (("CAutoFileTests", "FileIO"), ("COtherFileTests", "FileIO")),
    "test_tarfile": (("TarTest", "open"),),
}


def _unbuffered(name: Any, mode: str = "r", closefd: Any = True, opener: Any = None) -> Any:
    return open(name, mode if "b" in mode else f"{mode}b", buffering=0, closefd=closefd, opener=opener)


def run_here(module: str) -> dict[str, str]:
    """The outcomes of the tests of *module* in this process, inside a mount."""
    outcomes = Outcomes()
    # Both below the working directory, which goes with the process: the mount point as well, since children of the
    # tests, who have no mount, write there.
    source, root = f"{os.getcwd()}/source", f"{os.getcwd()}/mount"
    os.makedirs(f"{source}/tmp")
    # Times are counted in changes: what was listed is good until something is written.
    point = vfsoverlay.mount(f"file://{source}/", root, listing="lazy", ttl=0.5, **_OPTIONS.get(module, {}))
    way = Way(root, source)
    names: Any = point.namespace
    names._clock = way.clock
    os.chdir(root)
    install(way)
    tempfile.tempdir = f"{root}/tmp"
    _tests_of(module).run(outcomes)
    os.chdir("/")
    tempfile.tempdir = None
    return outcomes.words


def _tests_of(module: str) -> unittest.TestSuite:
    support: Any = importlib.import_module("test.support")
    os_helper: Any = importlib.import_module("test.support.os_helper")
    # A mount has neither, but the directory that is written to would offer them.
    os_helper._can_symlink = os_helper._can_xattr = False
    # Nor is it the place for files of many gigabytes.
    support.use_resources = []
    tests = importlib.import_module(f"test.{module}")
    for owner, name in _FILE_IO.get(module, ()):
        setattr(getattr(tests, owner), name, staticmethod(_unbuffered))
    names = [f"test.{module}.{name}" for name in _OF_OS] if module == "test_os" else [f"test.{module}"]
    return unittest.defaultTestLoader.loadTestsFromNames(names)


def judge(module: str) -> tuple[str, list[str]]:
    """Run *module* apart; what to say about it, and what is wrong with it."""
    began = time.monotonic()
    words = run_apart([sys.executable, __file__], [module])
    wrong = []
    failed = 0
    for identity, word in sorted(words.items()):
        name = short(identity)
        if name in UNDECIDED or word == "skipped":
            continue
        failed += word != "ok"
        if word != "ok" and name not in EXPECTED:
            wrong.append(f"  {identity}: {word}")
        if word == "ok" and name in EXPECTED:
            wrong.append(f"  {identity}: passed; take it off the list")
    skipped = sum(word == "skipped" for word in words.values())
    took = f"{time.monotonic() - began:.0f} s"
    line = f"{module}: {len(words)} tests, {skipped} skipped, {failed} failed, {len(wrong)} unexpected, {took}"
    return line, wrong


def judge_all(modules: list[str]) -> int:
    """Judge *modules*, two at a time; the exit code."""
    code = 0
    with ThreadPoolExecutor(2) as pool:
        for line, wrong in pool.map(judge, modules):
            print(line, *wrong, sep="\n", flush=True)
            code = code or bool(wrong)
    return int(code)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"default: {' '.join(MODULES)}")
    parser.add_argument("--answer", help=argparse.SUPPRESS)  # a child: where to write the outcomes
    options = parser.parse_args()
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_os") is None:
        print("skipped: this Python was installed without its own tests")
        return 0
    if sys.version_info[:2] not in KEPT_FOR:
        kept = " and ".join(".".join(map(str, version)) for version in KEPT_FOR)
        print(f"skipped: the list of expected failures is kept for Python {kept}")
        return 0
    if options.answer is None:
        return judge_all(options.modules or list(MODULES))
    (module,) = options.modules
    write_answer(options.answer, run_here(module))
    return 0


if __name__ == "__main__":
    sys.exit(main())
