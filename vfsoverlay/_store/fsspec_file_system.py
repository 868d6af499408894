"""A file system of fsspec with retries, a deadline, and errors told as ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vfsoverlay._metrics import Metrics, Purpose
from vfsoverlay._store.attempts import Attempts, Clock
from vfsoverlay._store.errno_map import Failure, to_error, to_mount_error
from vfsoverlay._store.fsspec_failures import failure_of
from vfsoverlay._store.fsspec_open import Opener
from vfsoverlay._store.protocol import Sink


class FileSystem:
    """A file system of fsspec, made when first used and again in a forked child; every call is retried."""

    def __init__(self, make: Opener, metrics: Metrics, *, deadline: float, clock: Clock | None = None) -> None:
        self.metrics = metrics
        self.proved = False
        """Whether a listing has worked."""
        self._make = make
        self._deadline = deadline
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._made: Any = None

    def get(self) -> Any:
        """The file system."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def attempts(self, *, listing: bool, sink: Sink | None = None) -> Attempts:
        """A new count for one operation, for *sink*; the first *listing* makes or breaks the mount."""
        mounting = listing and not self.proved
        return Attempts(self._deadline, self._clock, self.metrics, mounting=mounting, sink=sink)

    @contextmanager
    def telling(self, action: str, name: str, attempts: Attempts) -> Iterator[None]:
        """Turn a ``Failure`` in the block into the exception that the caller gets."""
        try:
            yield
        except Failure as failure:
            told = to_mount_error if attempts.mounting else to_error
            raise told(failure, action, name, attempts.count) from failure

    def call(self, attempts: Attempts, purpose: Purpose, function: Callable[[Any], Any]) -> Any:
        """What *function* makes of the file system; raises ``Failure`` when no further attempt makes sense."""
        while True:
            attempts.count += 1
            self.metrics.add(f"requests.{purpose}")
            try:
                return function(self.get())
            except (RecursionError, MemoryError):
                # The caller's own trouble, not the store's.
                raise
            # Any library may be below fsspec, with exceptions of any kind.
            except Exception as error:  # noqa: BLE001
                failure = failure_of(error)
                if failure is not error:
                    failure.__cause__ = error
                attempts.again(failure)

    def after_fork(self) -> None:
        """Give up the parent's file system: its loop and connections are not here."""
        self._lock = threading.Lock()
        self._made = None
