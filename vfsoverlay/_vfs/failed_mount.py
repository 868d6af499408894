"""A mount that this process was to have from its start and could not make: whoever touches it is told why."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, NoReturn

from vfsoverlay._metrics import Metrics
from vfsoverlay._vfs.mount_point import MountPoint, roots_of
from vfsoverlay.errors import MountError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from vfsoverlay._namespace.nodes import Hidden, Node
    from vfsoverlay._vfs.inheritance import Inheritance


class FailedMount(MountPoint):
    """Takes the place of a mount, so that no path below it is believed to be absent."""

    def __init__(self, inheritance: Inheritance, error: BaseException) -> None:
        # Deliberately not the parent's: there is no store, no listing and no cache.
        self.inheritance = inheritance
        self.spec = inheritance.spec
        self.counters = Metrics()
        self.error = error
        self.mounted_ns = time.time_ns()
        self.roots = roots_of(inheritance.spec.root_dir)
        self.names_stay = False
        self._look_up_by(self._lookup)

    def _lookup(self, path: str) -> Node | None:  # noqa: ARG002 - the same for all paths
        self._fail()

    def _fail(self) -> NoReturn:
        code = getattr(self.error, "errno", None) or errno.EIO
        reason = getattr(self.error, "strerror", None) or str(self.error)
        message = (
            f"{self.source} could not be mounted at {self.root_dir} in this process: {reason}; "
            "call vfsoverlay.mount() here to try again"
        )
        raise MountError(code, message) from self.error

    def hidden(self) -> Iterator[Hidden]:
        """Raises: nothing is known about the source."""
        self._fail()

    def size(self) -> tuple[int, int]:
        """Raises: nothing is known about the source."""
        self._fail()

    def refresh(self, path: str | os.PathLike[str] | None = None) -> None:  # noqa: ARG002 - the interface
        """Raises: only ``mount()`` can help."""
        self._fail()

    def after_fork(self) -> None:
        """In a forked child: take a new lock."""
        self.counters.after_fork()

    def close(self) -> None:
        """Nothing to give back."""

    def __repr__(self) -> str:
        return f"<MountPoint {self.source} at {self.root_dir}, failed: {self.error}>"
