"""CPython's own tests of files and paths give the same results outside a mount as without one.

    python tests/cpython/compare.py [MODULE...]

Runs each module of ``test`` twice in a process of its own, plain and with a mount active, and
compares the outcome of every single test. Tests that differ are run a second time, since some of
them depend on the machine's mood. Exits with 1 if a difference remains.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest
from contextlib import ExitStack
from typing import Any

import vfsoverlay
from vfsoverlay.testing.sample import SAMPLE_BUCKET, sample_server

SOURCE = f"s3://{SAMPLE_BUCKET}/esRedditJson/"
ROOT = "/content/esRedditJson"

MODULES = ("test_genericpath", "test_posixpath", "test_glob", "test_shutil", "test_os", "test_pathlib")

#: Seconds for one module; test_os takes the longest, about a minute.
PATIENCE = 900


class Outcomes(unittest.TestResult):
    """Keeps one word for each test."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, str] = {}

    def _note(self, test: unittest.TestCase, word: str) -> None:
        # A failing subtest counts for its test, whatever comes after.
        if self.words.get(test.id(), "ok") in ("ok", "running"):
            self.words[test.id()] = word

    def startTest(self, test: unittest.TestCase) -> None:
        self.words[test.id()] = "running"
        super().startTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._note(test, "ok")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, f"failure: {self._first_line(err)}")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, f"error: {self._first_line(err)}")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._note(test, "skipped")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._note(test, f"failure: {self._first_line(err)}")

    @staticmethod
    def _first_line(err: Any) -> str:
        return f"{err[0].__name__}: {str(err[1]).partition(chr(10))[0]}"


def run_here(module: str, only: list[str], endpoint: str | None) -> dict[str, str]:
    """The outcomes of *module* (or of its tests *only*) in this process, with a mount if there is an *endpoint*."""
    outcomes = Outcomes()
    with ExitStack() as stack:
        if endpoint:
            stack.enter_context(vfsoverlay.mount(SOURCE, ROOT, endpoint_url=endpoint, anon=True))
            assert os.path.exists(f"{ROOT}/esRedditJson1")
            close_gaps()
        unittest.defaultTestLoader.loadTestsFromNames(only or [f"test.{module}"]).run(outcomes)
    return outcomes.words


def close_gaps() -> None:
    """Occupy the free descriptors below the highest open one: some tests want free numbers in a row, or skip."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    while os.open(os.devnull, os.O_RDONLY) < highest:
        pass


def run_apart(module: str, only: list[str], endpoint: str | None) -> dict[str, str]:
    """As ``run_here``, in a new process and an empty working directory."""
    with tempfile.TemporaryDirectory() as directory:
        answer = os.path.join(directory, "outcomes.json")
        work = os.path.join(directory, "work")
        os.mkdir(work)
        words = [sys.executable, __file__, "--answer", answer, *(["--endpoint", endpoint] if endpoint else [])]
        done = subprocess.run(
            [*words, module, *only], cwd=work, capture_output=True, text=True, check=False, timeout=PATIENCE,
            env={**os.environ, "VFSOVERLAY_CACHE_DIR": os.path.join(directory, "cache")},
        )  # fmt: skip
        if not os.path.exists(answer):
            raise ChildProcessError(done.returncode, f"{module} did not end:\n{done.stderr[-4000:]}")
        with open(answer, encoding="utf-8") as file:
            outcomes: dict[str, str] = json.load(file)
        return outcomes


def differences(module: str, only: list[str], endpoint: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """How many tests ran, and those whose outcome depends on the mount."""
    plain = run_apart(module, only, None)
    mounted = run_apart(module, only, endpoint)
    names = plain.keys() | mounted.keys()
    found = {name: (plain.get(name, "absent"), mounted.get(name, "absent")) for name in names}
    return len(names), {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def compare(modules: list[str]) -> int:
    """Compare *modules* and tell about each; the exit code."""
    code = 0
    # Served from this process: the tests are to meet the descriptors and threads of a mount, not of a server.
    with sample_server() as server:
        for module in modules:
            number, differing = differences(module, [], server.url)
            if differing:
                _, differing = differences(module, sorted(differing), server.url)
            print(f"{module}: {number} tests, {len(differing)} differ", flush=True)
            for name, (plain, mounted) in sorted(differing.items()):
                print(f"  {name}\n    without a mount: {plain}\n    with a mount:    {mounted}", flush=True)
            code = code or bool(differing)
    return int(code)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="MODULE", help=f"default: {' '.join(MODULES)}")
    parser.add_argument("--answer", help=argparse.SUPPRESS)  # a child: where to write the outcomes
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_os") is None:
        print("skipped: this Python was installed without its own tests")
        return 0
    if options.answer is None:
        return compare(options.words or list(MODULES))
    module, *only = options.words
    outcomes = run_here(module, only, options.endpoint)
    with open(options.answer, "w", encoding="utf-8") as file:
        json.dump(outcomes, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
