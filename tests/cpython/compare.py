"""CPython's own tests of files and paths give the same results outside a mount as without one.

    python tests/cpython/compare.py [MODULE...]

Runs each module of ``test`` twice in a process of its own, plain and with a mount active, and
compares the outcome of every single test. Tests that differ are run a second time, since some of
them depend on the machine's mood. Exits with 1 if a difference remains.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import unittest
from contextlib import ExitStack

# The package under test comes from where it is installed; this directory's siblings from here.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import vfsoverlay
from tests.cpython.outcomes import Outcomes, run_apart, write_answer
from vfsoverlay.testing.sample import SAMPLE_BUCKET, sample_server

SOURCE = f"s3://{SAMPLE_BUCKET}/esRedditJson/"
ROOT = "/content/esRedditJson"

MODULES = ("test_genericpath", "test_posixpath", "test_glob", "test_shutil", "test_os", "test_pathlib")


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


def differences(module: str, only: list[str], endpoint: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """How many tests ran, and those whose outcome depends on the mount."""
    command = [sys.executable, __file__]
    plain = run_apart(command, [module, *only])
    mounted = run_apart([*command, "--endpoint", endpoint], [module, *only])
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
    write_answer(options.answer, run_here(module, only, options.endpoint))
    return 0


if __name__ == "__main__":
    sys.exit(main())
