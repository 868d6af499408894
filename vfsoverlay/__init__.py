"""Mount an S3 prefix as normal, read-only files for this Python process, without a kernel mount.

    import vfsoverlay

    vfsoverlay.mount("s3://bucket/prefix/", "/content/data")
    open("/content/data/file.txt").read()

Importing this package loads nothing: each public name brings its own module when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vfsoverlay import errors
    from vfsoverlay._api import explain, local_path, metrics, mount, mounts, unmount, warm, warm_ahead
    from vfsoverlay._spec import Mount
    from vfsoverlay._vfs.mount_point import MountPoint

__version__ = "0.1.0"

__all__ = [
    "Mount",
    "MountPoint",
    "errors",
    "explain",
    "local_path",
    "metrics",
    "mount",
    "mounts",
    "unmount",
    "warm",
    "warm_ahead",
]

_HOMES = {
    "Mount": "vfsoverlay._spec",
    "MountPoint": "vfsoverlay._vfs.mount_point",
    "explain": "vfsoverlay._api",
    "local_path": "vfsoverlay._api",
    "metrics": "vfsoverlay._api",
    "mount": "vfsoverlay._api",
    "mounts": "vfsoverlay._api",
    "unmount": "vfsoverlay._api",
    "warm": "vfsoverlay._api",
    "warm_ahead": "vfsoverlay._api",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name != "errors":
        # Also what "from vfsoverlay import _real" asks first, at the start of every child: nothing is loaded for it.
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    if home is None:
        return import_module("vfsoverlay.errors")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
