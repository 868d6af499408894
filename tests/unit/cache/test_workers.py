"""The threads that fetch ahead: taken at once or refused, and kept for the next task."""

from __future__ import annotations

import threading

from vfsoverlay._cache.workers import Workers


def run_in(workers: Workers) -> threading.Thread:
    """Have a task run; the thread that it ran in, which then has nothing to do."""
    ran: list[threading.Thread] = []
    done = threading.Event()

    def task() -> None:
        ran.append(threading.current_thread())
        done.set()

    assert workers.try_start(task)
    assert done.wait(10)
    wait_until_idle(workers)
    return ran[0]


def wait_until_idle(workers: Workers) -> None:
    """Wait for all threads to wait for a task."""
    while workers.busy or not workers._idle:
        threading.Event().wait(0.001)


def test_no_more_tasks_than_allowed_are_taken() -> None:
    """A task beyond the limit is refused, and so is one that would take a spare thread."""
    workers, end = Workers(lambda: 2), threading.Event()
    assert workers.try_start(end.wait)
    assert not workers.try_start(end.wait, spare=1)
    assert workers.try_start(end.wait)
    assert not workers.try_start(end.wait)
    end.set()


def test_a_thread_outlives_its_task() -> None:
    """The next task runs in the thread of the one before."""
    workers = Workers(lambda: 2)
    assert run_in(workers) is run_in(workers)


def test_a_thread_woken_for_nothing_stays() -> None:
    """A thread whose task another one took while it woke up waits for the next, and need not be started anew."""
    workers = Workers(lambda: 2)
    first = run_in(workers)
    condition = workers._condition
    with condition:
        condition.notify()
    # What the woken thread does next it does under the lock: either it waits again, or it has ended.
    while True:
        with condition:
            if condition._waiters:  # type: ignore[attr-defined]  # missing in typeshed
                break
        assert first.is_alive()
    assert run_in(workers) is first
