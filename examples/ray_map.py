"""Map over mounted files on a Ray cluster: every worker process has the mount before it runs anything.

pip install ray
python examples/ray_map.py               # Ray on this machine, a bundled server, no network
"""

from __future__ import annotations

import os

import ray

import vfsoverlay
import vfsoverlay.ray
from vfsoverlay.testing import S3Server

ROOT = "/content/data"


@ray.remote  # type: ignore[untyped-decorator]  # Ray is not looked at
def count_lines(path: str) -> int:
    """What a worker does with a file: it is a file like any other."""
    with open(path, encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def main() -> None:
    """Run a server with a bucket, Ray on this machine, and a map over the files."""
    with S3Server() as server:
        server.create_bucket("logs", public=True)
        for day in range(20):
            server.put("logs", f"2024/{day:02}.log", "a line\n" * (day + 1))
        with vfsoverlay.mount("s3://logs/2024/", ROOT, **server.mount_options()):
            ray.init(num_cpus=2, include_dashboard=False, runtime_env=vfsoverlay.ray.runtime_env())
            paths = [os.path.join(ROOT, name) for name in sorted(os.listdir(ROOT))]
            print("lines:", sum(ray.get([count_lines.remote(path) for path in paths])))
            ray.shutdown()
        print("listings:", server.requests.count("list"), "downloads:", server.requests.count("get"))


if __name__ == "__main__":
    main()
