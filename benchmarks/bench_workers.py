"""What processes cost: the start of a child that touches no mount, and of one that does, beside a bare interpreter.

    python benchmarks/bench_workers.py [runs]

Runs take turns, and medians are compared, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import vfsoverlay
from vfsoverlay.testing import S3Server

ROOT = "/content/data"
NAMES = ("VFSOVERLAY_MOUNTS", "VFSOVERLAY_CHILD", "PYTHONPATH")


def seconds(code: str, env: dict[str, str]) -> float:
    """Wall time of one Python process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    return time.perf_counter() - begun


def main(runs: int) -> None:
    """Print medians and their ratios."""
    with S3Server() as server:
        server.create_bucket("data", public=True)
        server.put("data", "file", b"content")
        with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
            bare = {"PATH": os.environ["PATH"]}
            child = {**bare, **{name: os.environ[name] for name in NAMES}}
            cases = {
                "bare": ("pass", bare),
                "child": ("pass", child),
                "child that reads a file": (f"open('{ROOT}/file').read()", child),
                "import botocore.session": ("import botocore.session", bare),
            }
            times: dict[str, list[float]] = {name: [] for name in cases}
            for _ in range(runs):
                for name, case in cases.items():
                    times[name].append(seconds(*case))
    base = statistics.median(times["bare"])
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:26} {median * 1000:8.1f} ms  {median / base:6.2f} x bare")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
