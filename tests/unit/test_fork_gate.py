"""A section that no fork cuts in two."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from vfsoverlay._fork_gate import ForkGate

# Forking with threads is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def gate() -> ForkGate:
    """One for all tests: what is registered for forks stays for the life of the process."""
    return ForkGate()


def fork_in_a_thread(then: Callable[[], None] = lambda: None) -> tuple[threading.Thread, list[int]]:
    """A thread that forks, and where it puts its child's status."""
    statuses: list[int] = []

    def fork() -> None:
        child = os.fork()
        if not child:
            status = 1
            try:
                then()
                status = 0
            finally:
                os._exit(status)
        statuses.append(os.waitpid(child, 0)[1])

    thread = threading.Thread(target=fork)
    thread.start()
    return thread, statuses


def test_a_fork_waits_for_the_section(gate: ForkGate) -> None:
    """While a thread is inside no other forks; afterwards it does."""
    with gate, gate:
        thread, statuses = fork_in_a_thread()
        thread.join(0.2)
        assert thread.is_alive()
        assert not statuses
        with gate:  # who is inside may enter again while a fork waits
            pass
    thread.join(20)
    assert statuses == [0]


def test_a_fork_does_not_wait_forever() -> None:
    """A thread that never leaves, as after a Ctrl-C on its way in, delays a fork and does not hang it."""
    gate = ForkGate(patience=0.1)
    gate.__enter__()
    thread, statuses = fork_in_a_thread()
    thread.join(20)
    assert statuses == [0]
    gate.__exit__()  # which comes late, and does no harm
    thread, statuses = fork_in_a_thread()
    thread.join(20)
    assert statuses == [0]


def test_a_thread_may_fork_inside(gate: ForkGate) -> None:
    """A fork by the thread that is inside does not wait for itself."""
    with gate:
        child = os.fork()
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_others_wait_for_the_fork(gate: ForkGate) -> None:
    """Who comes while a fork waits enters after it; the child may enter at once."""
    entered = threading.Event()

    def enter() -> None:
        with gate:
            entered.set()

    with gate:
        forker, statuses = fork_in_a_thread(enter)
        forker.join(0.2)
        late = threading.Thread(target=enter)
        late.start()
        assert not entered.wait(0.2)
    forker.join(20)
    late.join(20)
    assert statuses == [0]
    assert entered.is_set()


def test_as_a_decorator(gate: ForkGate) -> None:
    """A decorated function is such a section, and gives what it gives."""

    @gate
    def inside() -> int:
        thread, _ = fork_in_a_thread()
        thread.join(0.2)
        assert thread.is_alive()
        threads.append(thread)
        return 5

    threads: list[threading.Thread] = []
    assert inside() == 5
    threads[0].join(20)
    assert not threads[0].is_alive()


def test_no_fork_comes_between_threads_that_come_and_go(gate: ForkGate) -> None:
    """While others enter and leave at full speed, no fork finds one of them inside."""
    inside: list[int] = []
    done = threading.Event()

    def enter() -> None:
        while not done.is_set():
            with gate:
                inside.append(1)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            child = os.fork()
            if not child:
                os._exit(len(inside))
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        for thread in threads:
            thread.join(20)
