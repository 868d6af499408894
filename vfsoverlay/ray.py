"""Mounts in every worker process of a Ray cluster.

    import ray, vfsoverlay, vfsoverlay.ray

    vfsoverlay.mount("s3://bucket/prefix/", "/content/data")
    ray.init(runtime_env=vfsoverlay.ray.runtime_env())

The listing travels with the environment, the cache is one for each node, and credentials are those
that the node has. See docs/processes.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfsoverlay._parcel import Parcel, pack_all

if TYPE_CHECKING:
    from vfsoverlay._spec import Mount
    from vfsoverlay._vfs.mount_point import MountPoint

__all__ = ["runtime_env"]


def runtime_env(*mounts: MountPoint | Mount, **others: Any) -> dict[str, Any]:
    """A ``runtime_env`` whose workers have mounts before they run anything.

    Args:
        *mounts: Mount points of this process; default: all in force. A ``Mount`` that is not mounted
            here is listed by each node.
        **others: Further entries; a ``worker_process_setup_hook`` among them is called after ours.

    Raises:
        TypeError: The further hook is the name of a module, which only Ray itself can call.
    """
    further = others.pop("worker_process_setup_hook", None)
    if further is not None and not callable(further):
        msg = "give worker_process_setup_hook as a function: one that is a name cannot be called after ours"
        raise TypeError(msg)
    return {**others, "worker_process_setup_hook": _Hook(pack_all(mounts), further)}


class _Hook:
    """What a worker process calls at its start; Ray pickles it."""

    # Ray shows these in its messages.
    __name__ = __qualname__ = "vfsoverlay_mounts"

    def __init__(self, parcels: list[Parcel], further: Any) -> None:
        self._parcels = parcels
        self._further = further

    def __call__(self) -> None:
        for parcel in self._parcels:
            parcel.unpack()
        if self._further is not None:
            self._further()
