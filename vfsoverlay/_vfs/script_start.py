"""The start of a Python script below a mount: a local file that runs it under its own path, beside its neighbours."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from vfsoverlay import _real

if TYPE_CHECKING:
    from collections.abc import Sequence

_PYTHON = re.compile(r"python(?:\d+(?:\.\d+)?)?")

#: Options of the interpreter that take the next word, where they are not followed by their value at once.
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")

# The interpreter opens a script by C code, so it is given a copy. Beside the copy are no modules and
# no data; where the child has the mounts, the script runs as `python /content/data/script.py` would.
_TEXT = """\
# Made by vfsoverlay for a Python interpreter that was told to run the script PATH.
import sys

PATH, COPY = {path!r}, {copy!r}
try:
    import vfsoverlay
    from vfsoverlay.cli.program import Program, run_program
    served = any(PATH.startswith(point.root_dir + "/") for point in vfsoverlay.mounts())
except ImportError:
    served = False
if served and not getattr(sys.flags, "safe_path", False):
    run_program(Program("script", PATH, tuple(sys.argv[1:])))
else:
    sys.argv[0] = __file__ = COPY
    with open(COPY, "rb") as file:
        source = file.read()
    exec(compile(source, COPY, "exec", dont_inherit=True))
"""


def position(argv: Sequence[Any]) -> int | None:
    """Where in *argv* the script of a Python interpreter stands; None if another program is run, or a module."""
    words = [os.fsdecode(word) for word in argv if isinstance(word, (str, bytes, os.PathLike))]
    if len(words) != len(argv) or not words or not _PYTHON.fullmatch(words[0].rpartition("/")[2]):
        return None
    at = 1
    while at < len(words) and words[at].startswith("-"):
        if words[at] in _WITH_VALUE:
            at += 1
        elif words[at] == "-" or (words[at][1] != "-" and re.search("[cm]", re.split("[WX]", words[at])[0])):
            return None
        at += 1
    return at if at < len(words) else None


def starter(path: str, copy: str) -> str:
    """A file that runs the script at *path*, of which *copy* is a local copy, under the same name."""
    text = _TEXT.format(path=path, copy=copy).encode()
    above, _, name = copy.rpartition("/")
    folder = f"{above}/start-{blake2b(text, digest_size=8).hexdigest()}"
    target = f"{folder}/{name}"
    if _real.exists(target):
        return target
    _real.makedirs(folder, 0o700)
    temporary = f"{folder}/.{_real.getpid()}-{id(text):x}"
    with _real.io_open(temporary, "wb") as file:
        file.write(text)
    _real.rename(temporary, target)
    return target
