"""How many threads do the same thing at once."""

from __future__ import annotations

import threading


class Crowd:
    """Counts the threads in its ``with`` blocks."""

    __slots__ = ("_count", "_mutex")

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """In the child: the other threads are not here."""
        self._mutex = threading.Lock()
        self._count = 0

    @property
    def is_one(self) -> bool:
        """Whether no other thread is in such a block, for one that is."""
        return self._count <= 1

    def __enter__(self) -> Crowd:
        with self._mutex:
            self._count += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            # A child begins with nobody, be it forked from within a block.
            self._count = max(0, self._count - 1)
