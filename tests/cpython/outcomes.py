"""The outcome of each test of a module of ``test``, as one line of text."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import unittest
from typing import Any

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

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._note(test, "ok")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._note(test, f"failure: {self._first_line(err)}")

    @staticmethod
    def _first_line(err: Any) -> str:
        return f"{err[0].__name__}: {str(err[1]).partition(chr(10))[0]}"


def run_apart(command: list[str], names: list[str]) -> dict[str, str]:
    """The outcomes that *command*, given ``--answer FILE`` and *names*, writes; in an empty working directory."""
    with tempfile.TemporaryDirectory() as directory:
        answer = os.path.join(directory, "outcomes.json")
        work = os.path.join(directory, "work")
        os.mkdir(work)
        done = subprocess.run(
            [*command, "--answer", answer, *names],
            cwd=work, capture_output=True, text=True, check=False, timeout=PATIENCE,
            env={
                **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
                "VFSOVERLAY_CACHE_DIR": os.path.join(directory, "cache"),
            },
        )  # fmt: skip
        if not os.path.exists(answer):
            raise ChildProcessError(done.returncode, f"{names} did not end:\n{done.stderr[-4000:]}")
        with open(answer, encoding="utf-8") as file:
            outcomes: dict[str, str] = json.load(file)
        return outcomes


def write_answer(path: str, outcomes: dict[str, str]) -> None:
    """Leave *outcomes* where ``run_apart`` looks for them."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(outcomes, file)
