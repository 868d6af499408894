"""vfsoverlay.cli.program: what runs behind ``vfsoverlay run --`` cannot tell it from ``python``."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vfsoverlay.cli.program import Program, UnusableProgramError, parse_program

REPORT = """
import os, sys
import __main__ as main
print(sys.argv, sys.path[0], __name__, main.__dict__ is globals())
print(__file__ if "__file__" in globals() else "no file", __package__, __doc__)
print(__spec__.name if __spec__ else "no spec", sorted(set(globals()) - {"__annotations__"}))
"""

PROGRAMS = {
    "report": REPORT,
    "exit status": "import sys; sys.exit(7)",
    "exit message": "import sys; sys.exit('gone wrong')",
    "exit by signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "interrupted": "raise KeyboardInterrupt",
    "traceback": "def f():\n    raise ValueError('broken')\n\n\nf()",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "syntax error": "x = (1,\ny =",
    "missing import": "import no_such_module_at_all",
    "at exit": "import atexit\nname = 'still here'\natexit.register(lambda: print(name, __name__))",
    "thread": "import threading, time\nthreading.Thread(target=lambda: print('from a thread', __name__)).start()",
    "spawn": (
        "import multiprocessing as mp\n"
        "def double(x):\n    return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(double, [1, 2]))\n"
    ),
    "own hook": "import sys\nsys.excepthook = lambda *a: print('mine', a[0])\nraise ValueError",
}


def outcome(words: list[str], directory: Path) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, *words], cwd=directory, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def both(words: list[str], directory: Path) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """What python says, and what we say, to the same program."""
    return outcome(words, directory), outcome(["-m", "vfsoverlay", "run", "--", *words], directory)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_behaves_as_under_python(name: str, tmp_path: Path) -> None:
    """A script has the arguments, globals, output, traceback and exit status that python gives it."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "script.py").write_text(PROGRAMS[name])
    python, ours = both(["below/script.py", "one", "--mount", "two"], tmp_path)
    assert ours == python


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "pack.tool", "x"],
        ["-m", "pack", "-v"],
        ["archive.pyz", "a"],
        ["pack"],
        ["-m", "bad"],
        ["-m", "absent"],
        ["-m", "pack.absent"],
    ],
)
def test_modules_and_archives_behave_as_under_python(words: list[str], tmp_path: Path) -> None:
    """Modules, packages, directories and archives report what they report under python, failures included."""
    (tmp_path / "pack").mkdir()
    for name in ("__init__", "tool", "__main__"):
        (tmp_path / "pack" / f"{name}.py").write_text("" if name == "__init__" else REPORT)
    (tmp_path / "bad.py").write_text("raise ValueError('broken')")
    with zipfile.ZipFile(tmp_path / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", REPORT)
    python, ours = both(words, tmp_path)
    assert ours == python


@pytest.mark.parametrize("code", [REPORT, "raise ValueError('in code')", "import sys; sys.exit(3)"])
def test_code_behaves_as_under_python(code: str, tmp_path: Path) -> None:
    """``-c`` has the arguments, globals, traceback and exit status that python gives it."""
    python, ours = both(["-c", code, "one", "two"], tmp_path)
    assert ours == python


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "-m", "json.tool", "-h"], Program("module", "json.tool", ("-h",))),
        (["/usr/bin/python3.11", "-c", "pass"], Program("code", "pass", ())),
        (["-c", "pass", "-c"], Program("code", "pass", ("-c",))),
    ],
)
def test_the_word_python_may_stand_in_front(words: list[str], expected: Program) -> None:
    """A command line that begins with python runs in this process as well."""
    assert parse_program(words) == expected


def test_a_command_of_this_environment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python script on PATH, such as pytest, is run by its name."""
    for name, interpreter in (("here", sys.executable), ("by-env", "/usr/bin/env python3")):
        (tmp_path / name).write_text(f"#!{interpreter}\nprint(1)\n")
        (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert parse_program([name, "-q"]) == Program("script", str(tmp_path / name), ("-q",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no program is named"),
        (["python"], "no program is named"),
        (["-m"], "must follow -m"),
        (["python", "-u", "x.py"], "python -u -m vfsoverlay run"),
        (["no-such-command"], "no command of this name"),
        (["python", "missing.py"], "can't open file"),
        (["./missing.py"], "can't open file"),
        (["/etc/passwd"], "is no Python program and cannot be executed"),
        (["./foreign"], "belongs to /opt/other/bin/python3"),
    ],
)
def test_what_cannot_run_here_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that would not see the mounts is refused with the reason, instead of finding nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign").write_text("#!/opt/other/bin/python3\n")
    with pytest.raises(UnusableProgramError, match=message):
        parse_program(words)
