"""What the first process of a container owes the others: it passes signals on and lets no dead process lie about.

The kernel spares process 1 every signal that it has no handler for, so that ``docker stop`` would
wait for ten seconds and kill; and orphans become its children, who stay as zombies until it asks for
them. Programs are not written for that.
"""

from __future__ import annotations

import os
import signal
import sys

#: Not to be waited for: the kernel's business, or about us and not the program.
_KEPT = frozenset({signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGBUS})


def step_aside() -> None:
    """If this is process 1, go on in a child, and let this process be nothing but the first one until the child ends.

    It then ends with the child's status: 128 and the signal's number if a signal ended it, as a shell says it.
    """
    if os.getpid() != 1:
        return
    awaited = signal.valid_signals() - _KEPT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if child:
        os._exit(_attend(child, awaited))
    # A group of its own: what a terminal sends to all of the foreground comes once, by the first process or directly.
    os.setpgid(0, 0)
    if sys.__stdin__ is not None and os.isatty(0):
        os.tcsetpgrp(0, os.getpgrp())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _attend(program: int, awaited: set[signal.Signals]) -> int:
    while True:
        came = signal.sigwaitinfo(awaited).si_signo
        if came == signal.SIGCHLD:
            status = _bury(program)
            if status is not None:
                return status
            continue
        try:
            os.kill(program, came)
        except ProcessLookupError:
            # It has just ended; the next signal says so.
            continue


def _bury(program: int) -> int | None:
    """Ask for every process that has ended; the exit status if the program is among them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not ended:
            return found
        if ended == program:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code
