"""Mounts on every worker of a Dask cluster, present and future.

    import vfsoverlay, vfsoverlay.dask

    vfsoverlay.mount("s3://bucket/prefix/", "/content/data")
    client.register_plugin(vfsoverlay.dask.MountPlugin())
    client.map(work, glob.glob("/content/data/**/*.csv", recursive=True))

The listing travels with the plugin, so that a hundred nodes do not list a million keys each; the
cache is one for each node, and credentials are those that the node has. See docs/processes.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from vfsoverlay._parcel import pack_all

if TYPE_CHECKING:
    from vfsoverlay._spec import Mount
    from vfsoverlay._vfs.mount_point import MountPoint

__all__ = ["MountPlugin"]


class MountPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask is optional, and not looked at
    """Mounts on the worker that it is set up on, and unmounts with it.

    Args:
        *mounts: Mount points of this process; default: all in force. A ``Mount`` that is not mounted
            here is listed by each node.
    """

    name = "vfsoverlay"
    idempotent = False

    def __init__(self, *mounts: MountPoint | Mount) -> None:
        self._parcels = pack_all(mounts)
        self._points: list[MountPoint] = []

    def setup(self, worker: Any) -> None:  # noqa: ARG002 - dask's interface
        """Mount; an error is the worker's answer to the registration.

        Raises:
            OSError: As ``vfsoverlay.mount()``.
        """
        self._points = [parcel.unpack() for parcel in self._parcels]

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - dask's interface
        """Unmount, unless the worker's own code has mounted the same."""
        for point in self._points:
            point.__exit__(None, None, None)

    def __getstate__(self) -> dict[str, Any]:
        return {"_parcels": self._parcels, "_points": []}
