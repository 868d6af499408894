"""Mounts in the Python workers of Spark executors.

    import vfsoverlay, vfsoverlay.spark

    vfsoverlay.mount("s3://bucket/prefix/", "/content/data")
    conf = SparkConf().setAll(vfsoverlay.spark.executor_environment().items())

Executors run the same environment (the same path of Python and of this package) as the driver. A
listing does not fit into an environment: executors on this machine read the driver's, others list
once a node, or load the file that ``index=`` names on a shared disk. See docs/processes.md.
"""

from __future__ import annotations

from vfsoverlay import _api, _children

__all__ = ["executor_environment"]


def executor_environment() -> dict[str, str]:
    """Spark properties that give executors the mounts in force, for ``SparkConf`` or ``--conf``.

    Secret options stay here, unless a mount says ``children="secrets"``: give executors a role or a
    profile instead.
    """
    found = _children.environment(_api.mounts())
    return {f"spark.executorEnv.{name}": value for name, value in found.items()}
