"""The mount that was not made because a real directory takes its place (``if_exists="local"``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfsoverlay._metrics import Metrics
from vfsoverlay._vfs.mount_point import MountPoint

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from vfsoverlay._namespace.nodes import Hidden
    from vfsoverlay._spec import Mount


class LocalDirectory(MountPoint):
    """What ``mount()`` returns where the directory on disk is used instead: nothing is patched for it."""

    is_local = True

    def __init__(self, spec: Mount) -> None:
        # Deliberately not the parent's: there is no store, no listing and no cache.
        self.spec = spec
        self.counters = Metrics()

    def hidden(self) -> Iterator[Hidden]:
        """Nothing: no keys are listed."""
        return iter(())

    def refresh(self, path: str | os.PathLike[str] | None = None) -> None:
        """Nothing to do: the disk is always as it is."""

    def close(self) -> None:
        """Nothing to give back."""

    def __repr__(self) -> str:
        return f"<MountPoint {self.root_dir}, a directory on disk, instead of {self.source}>"
