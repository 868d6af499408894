"""What ``run`` runs: a Python program inside this process, exactly as ``python`` would, or any other in its place."""

from __future__ import annotations

import builtins
import importlib.machinery
import io
import linecache
import os
import re
import runpy
import shutil
import sys
import types
import zipfile
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, NoReturn

_PYTHON = re.compile(r"python(?:3(?:\.\d+)?)?")
#: What tracebacks call the code behind -c.
_CODE = "<string>"
_SOURCE_SUFFIXES = (".py", ".pyw")


class UnusableProgramError(ValueError):
    """The words after ``--`` are nothing that can be run with mounts; the message says why."""


class Program(NamedTuple):
    """What to run: the three ways that ``python`` knows."""

    kind: Literal["script", "module", "code"]
    target: str
    """A path, a module's name, or source code."""
    arguments: tuple[str, ...]


class Command(NamedTuple):
    """Another program than Python, which gets the mounts in its environment, for the Python programs it starts."""

    path: str
    words: tuple[str, ...]
    """Its name as it was written, and its arguments."""

    def execute(self) -> NoReturn:
        """Become this program; raises OSError where the system cannot run it."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(self.path, self.words)  # noqa: S606 - the task


def parse_program(words: Sequence[str]) -> Program | Command:
    """The program that *words* ask for.

    They may be ``script.py ...``, ``-m module ...``, ``-c code ...``, each also behind ``python``,
    or a command on ``PATH``, which runs in this process if it is a Python script of this environment,
    such as ``pytest``.

    Raises:
        UnusableProgramError: There is no such program, or it is a Python script of another environment.
    """
    behind_python = bool(words) and _PYTHON.fullmatch(os.path.basename(words[0])) is not None
    if behind_python:
        words = words[1:]
    if not words:
        msg = "no program is named; write it after '--', such as: -- script.py arguments"
        raise UnusableProgramError(msg)
    first, rest = words[0], tuple(words[1:])
    if first in ("-m", "-c"):
        if not rest:
            msg = f"something must follow {first}"
            raise UnusableProgramError(msg)
        return Program("module" if first == "-m" else "code", rest[0], rest[1:])
    if first.startswith("-"):
        msg = f"options of the interpreter go to the one that runs vfsoverlay: python {first} -m vfsoverlay run ..."
        raise UnusableProgramError(msg)
    path = _find(first, as_python=behind_python)
    if behind_python or _is_python(first, path):
        return Program("script", path, rest)
    if not os.access(path, os.X_OK):
        msg = f"{path} is no Python program and cannot be executed"
        raise UnusableProgramError(msg)
    return Command(path, (first, *rest))


def run_program(program: Program) -> None:
    """Run *program* as ``__main__`` of this process; what it raises passes through.

    ``sys.argv``, ``sys.path[0]``, ``__main__`` and, where nothing catches an exception, the
    traceback are those of ``python``: the frames above the program are left out of it.
    """
    _hide_our_frames()
    run: dict[str, Callable[[Program], None]] = {"script": _run_script, "module": _run_module, "code": _run_code}
    run[program.kind](program)


def _find(name: str, *, as_python: bool) -> str:
    path = name if as_python or "/" in name or os.path.exists(name) else shutil.which(name)
    if path is None or not os.path.exists(path):
        msg = f"can't open file {os.path.abspath(name)!r}: no such file, and no command of this name on PATH"
        raise UnusableProgramError(msg)
    return path


def _is_python(name: str, path: str) -> bool:
    if path.endswith(_SOURCE_SUFFIXES) or _is_importable(path):
        return True
    with io.open_code(path) as file:
        shebang = file.readline(256).decode("utf-8", "replace")
    if not shebang.startswith("#!") or "python" not in shebang:
        return False
    _check_environment(name, shebang[2:].split()[0])
    return True


def _check_environment(name: str, interpreter: str) -> None:
    """Refuse a script of another environment: it would import that one's packages from here."""
    if os.path.basename(interpreter) != "env" and os.path.dirname(interpreter) != os.path.dirname(sys.executable):
        msg = f"{name} belongs to {interpreter}, not to {sys.executable}; install vfsoverlay there, or use -m"
        raise UnusableProgramError(msg)


def _is_importable(path: str) -> bool:
    return os.path.isdir(path) or zipfile.is_zipfile(path)


def _run_script(program: Program) -> None:
    path = program.target
    sys.argv[:] = [path, *program.arguments]
    if _is_importable(path):
        sys.path[0] = os.path.abspath(path)
        _run_as_main("__main__", alter_argv=False)
        return
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    with io.open_code(path) as file:
        source = file.read()
    _run_source(source, os.path.abspath(path), importlib.machinery.SourceFileLoader("__main__", path))


def _run_module(program: Program) -> None:
    sys.path[0] = os.getcwd()
    sys.argv[:] = ["-m", *program.arguments]
    _run_as_main(program.target, alter_argv=True)


def _run_as_main(name: str, *, alter_argv: bool) -> None:
    """Run a module the way the interpreter does for ``-m``: by this function of runpy, which it calls by name."""
    _new_main()
    run = runpy._run_module_as_main  # type: ignore[attr-defined]
    _execute(lambda: run(name, alter_argv))


def _run_code(program: Program) -> None:
    sys.path[0] = ""
    sys.argv[:] = ["-c", *program.arguments]
    _run_source(program.target.encode("utf-8", "surrogateescape"), _CODE, None)


def _run_source(source: bytes, filename: str, loader: importlib.machinery.SourceFileLoader | None) -> None:
    """Execute *source* in a new ``__main__``; multiprocessing finds the script again by its ``__file__``."""
    main = _new_main()
    main.__dict__["__loader__"] = loader
    if loader is not None:
        main.__dict__.update(__file__=filename, __cached__=None)
    if filename == _CODE and sys.version_info >= (3, 13):
        # From 3.13 on, tracebacks show the lines of -c as well.
        text = source.decode("utf-8", "replace")
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    _execute(lambda: exec(compile(source, filename, "exec", dont_inherit=True), main.__dict__))  # noqa: S102 - the task


def _new_main() -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main


def _execute(call: Callable[[], object]) -> None:
    """The last frame of ours; the traceback that is shown begins below it."""
    call()


def _hide_our_frames() -> None:
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        trace = _below_us(trace)
        show(kind, error.with_traceback(trace), trace)

    sys.excepthook = hook


def _below_us(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The part of *trace* that belongs to the program; all of it where the program was not reached."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code is not _execute.__code__:
        inner = inner.tb_next
    if inner is None:
        return trace
    lambda_frame = inner.tb_next
    return None if lambda_frame is None else lambda_frame.tb_next
