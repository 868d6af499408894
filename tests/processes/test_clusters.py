"""Clusters of other engines: mounts on every worker, one listing in all, each node with its own cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from tests.cache_source import content
from tests.processes.conftest import ROOT
from vfsoverlay.testing import S3Server

pytestmark = [
    pytest.mark.timeout(240),
    # Other people's libraries, and threads of the server.
    pytest.mark.filterwarnings("ignore"),
]

FILES = {f"{number:04}.bin": content(str(number), 500) for number in range(1000)}


@pytest.fixture
def many(server: S3Server) -> S3Server:
    """The server with a thousand small files in the bucket ``many``."""
    server.create_bucket("many", public=True)
    for key, body in FILES.items():
        server.put("many", key, body)
    return server


def read(path: str) -> tuple[str, bytes, str]:
    """What a worker finds at *path*, and in which cache it keeps it; runs in workers."""
    with open(path, "rb") as stream:
        body = stream.read()
    (point,) = vfsoverlay.mounts()
    return path, body, point.cache.directory


def check(found: list[tuple[str, bytes, str]], caches: int, server: S3Server) -> None:
    assert {os.path.basename(path): body for path, body, _ in found} == FILES
    directories = {directory for _, _, directory in found}
    assert len(directories) == caches
    assert server.requests.count("list", bucket="many") == 1
    assert server.requests.count("get", bucket="many") == len(FILES)


def test_dask(many: S3Server, tmp_path: Path) -> None:
    """``MountPlugin`` mounts on every Dask worker, with one listing in all and a cache of each node."""
    distributed: Any = pytest.importorskip("distributed", reason="Dask is not installed")
    from vfsoverlay.dask import MountPlugin

    workers = {
        number: {
            "cls": distributed.Nanny,
            "options": {"nthreads": 2, "env": {"VFSOVERLAY_CACHE_DIR": str(tmp_path / f"node-{number}")}},
        }
        for number in range(2)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": None, "port": 0}}
    # children=False: the workers stand for other machines, which inherit nothing.
    with vfsoverlay.mount("s3://many/", ROOT, children=False, readahead=False, **many.mount_options()):
        with distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=True) as cluster:
            with distributed.Client(cluster) as client:
                client.wait_for_workers(2, timeout=120)
                client.register_plugin(MountPlugin())
                paths = [f"{ROOT}/{name}" for name in FILES]
                found = client.gather(client.map(read, paths, batch_size=100))
    check(found, 2, many)


RAY = """
import json, os, sys
import ray, vfsoverlay, vfsoverlay.ray

endpoint, cache, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
options = dict(anon=True, endpoint_url=endpoint, region="us-east-1", readahead=False)
vfsoverlay.mount("s3://many/", "/content/data", children=False, **options)
env = {"VFSOVERLAY_CACHE_DIR": cache, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=vfsoverlay.ray.runtime_env(env_vars=env))

@ray.remote
def read(names):
    found = {}
    for name in names:
        with open(f"/content/data/{name}", "rb") as stream:
            found[name] = stream.read().hex()
    (point,) = vfsoverlay.mounts()
    return found, point.cache.directory

found = ray.get([read.remote(names[number::4]) for number in range(4)])
print(json.dumps(found))
ray.shutdown()
"""


def test_ray(many: S3Server, tmp_path: Path) -> None:
    """``vfsoverlay.ray.runtime_env`` gives every Ray worker the mounts, with one listing in all."""
    pytest.importorskip("ray", reason="Ray is not installed")
    # A process of its own: Ray leaves a process's children and signal handlers changed.
    command = [sys.executable, "-W", "ignore", "-c", RAY, many.url, str(tmp_path / "node"), json.dumps(list(FILES))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    parts = json.loads(done.stdout.strip().splitlines()[-1])
    check([(name, bytes.fromhex(body), cache) for part, cache in parts for name, body in part.items()], 1, many)


def test_spark_properties(point: vfsoverlay.MountPoint) -> None:
    """``executor_environment`` names the three variables of the mounts as properties of Spark."""
    from tests.processes.conftest import run
    from vfsoverlay.spark import executor_environment

    properties = executor_environment()
    env = {name.removeprefix("spark.executorEnv."): value for name, value in properties.items()}
    assert set(env) == {"VFSOVERLAY_MOUNTS", "VFSOVERLAY_CHILD", "PYTHONPATH"}
    inherited = os.environ["PYTHONPATH"].partition(os.pathsep)[2]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [env["PYTHONPATH"], inherited]))
    child = run(f"import os; print(os.listdir('{ROOT}'))", env={"PATH": os.environ["PATH"], **env})
    assert child.out == "['day']", child
