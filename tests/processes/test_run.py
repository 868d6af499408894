"""``vfsoverlay run``: exit status and signals of the program are those of the command, also as process 1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.processes.conftest import FILES, ROOT
from vfsoverlay.testing import S3Server

#: Says that it runs, and waits.
WAITS = "import signal, sys\n{}\nprint(open('/content/data/day/1.txt').readline(), end='', flush=True)\nsignal.pause()"
HANDLES = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
SHELL = ("sh", "-c", "echo line of 1; exec sleep 1000")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: S3Server) -> Iterator[Start]:
    """Starts ``vfsoverlay run`` on a program; whatever of it is left is killed in the end."""
    started = []

    def start(*words: str, above: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        options = ["--anon", "--endpoint-url", server.url, "--mount", f"s3://data/:{ROOT}"]
        command = [*above, sys.executable, "-W", "ignore", "-m", "vfsoverlay", "run", *options, "--", *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("words", "sent", "status"),
    [
        (("-c", WAITS.format("")), signal.SIGTERM, -signal.SIGTERM),
        (("-c", WAITS.format("")), signal.SIGINT, -signal.SIGINT),
        (("-c", WAITS.format("")), signal.SIGKILL, -signal.SIGKILL),
        (("-c", WAITS.format(HANDLES)), signal.SIGTERM, 7),
        (SHELL, signal.SIGTERM, -signal.SIGTERM),
        (SHELL, signal.SIGKILL, -signal.SIGKILL),
        (("sh", "-c", "echo line of 1; exit 5"), None, 5),
    ],
    ids=["terminated", "interrupted", "killed", "handled", "other terminated", "other killed", "other"],
)
def test_signals_and_status(words: tuple[str, ...], sent: signal.Signals | None, status: int, start: Start) -> None:
    """A signal to the command is one to the program, and the command ends as the program does."""
    process = start(*words)
    assert process.stdout is not None
    assert process.stdout.readline() == "line of 1\n"
    if sent is not None:
        process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status
    # What Python itself says of Ctrl-C, and nothing of ours.
    assert err == "" or (sent == signal.SIGINT and err.endswith("KeyboardInterrupt\n") and "vfsoverlay" not in err)


# --- as the first process of a container

FIRST = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def first() -> tuple[str, ...]:
    """What starts a command as the first process of its namespace; skips where this machine makes none."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    if subprocess.run([*FIRST, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("this user may not make a namespace of processes")
    return FIRST


ORPHAN = """
import os, sys
reader, writer = os.pipe()
if not os.fork():
    orphan = os.fork()
    if orphan:
        os.write(writer, str(orphan).encode())
    os._exit(0)
os.wait()
orphan = os.read(reader, 20).decode()
while os.path.exists(f"/proc/{orphan}"):
    os.sched_yield()
print(os.getppid(), open("/content/data/day/1.txt").read(), end="")
sys.exit(5)
"""


def test_the_first_process_buries_orphans(first: tuple[str, ...], start: Start) -> None:
    """As process 1, the command asks for orphans that have ended, and ends with the status of the program."""
    process = start("-c", ORPHAN, above=first)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (5, f"1 {FILES['day/1.txt'].decode()}", "")


@pytest.mark.parametrize(
    ("words", "sent", "status"),
    [
        (("-c", WAITS.format("")), signal.SIGTERM, 128 + signal.SIGTERM),
        (("-c", WAITS.format(HANDLES)), signal.SIGTERM, 7),
        (SHELL, signal.SIGTERM, 128 + signal.SIGTERM),
        (("sh", "-c", "echo line of 1; kill -9 $$"), None, 128 + signal.SIGKILL),
    ],
    ids=["terminated", "handled", "other terminated", "other killed"],
)
def test_the_first_process_passes_signals_on(
    words: tuple[str, ...], sent: signal.Signals | None, status: int, first: tuple[str, ...], start: Start
) -> None:
    """As process 1, which the kernel spares signals, the command passes them on to the program and ends with it."""
    process = start(*words, above=first)
    assert process.stdout is not None
    assert process.stdout.readline() == "line of 1\n"
    if sent is not None:
        (command,) = _children(process.pid)
        os.kill(command, sent)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (status, "")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as stream:
        return [int(word) for word in stream.read().split()]
