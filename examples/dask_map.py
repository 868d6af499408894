"""Map over mounted files on a Dask cluster: paths travel, bytes come from the bucket to the worker that needs them.

pip install distributed
python examples/dask_map.py              # two processes on this machine, a bundled server, no network
"""

from __future__ import annotations

import os

from distributed import Client, LocalCluster

import vfsoverlay
from vfsoverlay.dask import MountPlugin
from vfsoverlay.testing import S3Server

ROOT = "/content/data"


def count_lines(path: str) -> int:
    """What a worker does with a file: it is a file like any other."""
    with open(path, encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def main() -> None:
    """Run a server with a bucket, a cluster of two processes, and a map over the files."""
    with S3Server() as server:
        server.create_bucket("logs", public=True)
        for day in range(20):
            server.put("logs", f"2024/{day:02}.log", "a line\n" * (day + 1))
        with (
            vfsoverlay.mount("s3://logs/2024/", ROOT, **server.mount_options()),
            LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            client.register_plugin(MountPlugin())
            paths = [os.path.join(ROOT, name) for name in sorted(os.listdir(ROOT))]
            print("lines:", sum(client.gather(client.map(count_lines, paths))))
        print("listings:", server.requests.count("list"), "downloads:", server.requests.count("get"))


if __name__ == "__main__":
    main()
