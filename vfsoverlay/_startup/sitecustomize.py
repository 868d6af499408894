"""Run by a Python process at its start if a process above it has mounts; mount() puts this directory on PYTHONPATH.

Any interpreter may come by, of any environment: this must leave no trace there. It removes itself,
prepares the mounts where it is the same Python with the same packages, and hands over to the
sitecustomize that it hides. Nothing heavy may be imported: every child pays for it.
"""

import os
import sys

_HERE = os.path.dirname(__file__)


def _prepare() -> None:
    marker = os.environ.get("VFSOVERLAY_CHILD", "")
    identity = "%s %s" % (getattr(sys.implementation, "cache_tag", ""), sys.prefix)  # noqa: UP031 - any Python 3
    if marker.partition("\n")[0] != identity and (marker or "VFSOVERLAY_MOUNTS" not in os.environ):
        return
    root = os.path.dirname(os.path.dirname(_HERE))
    sys.path.insert(0, root)
    try:
        from vfsoverlay import _child
    finally:
        sys.path.remove(root)
    _child.start(marker)


def _hand_over() -> None:
    """Import the sitecustomize that stands behind us in sys.path; if there is none, we stay in its place."""
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found,unused-ignore]  # noqa: F401 - not this one: we have left sys.path
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = ours  # the import system looks for what it has just imported


sys.path[:] = [entry for entry in sys.path if entry != _HERE]
sys.path_importer_cache.pop(_HERE, None)
try:
    if sys.version_info >= (3, 10) and sys.implementation.name == "cpython":
        _prepare()
finally:
    _hand_over()
