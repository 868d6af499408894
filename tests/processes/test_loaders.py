"""Downstream: loops of other people's libraries whose workers read mounted files by path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vfsoverlay
from tests.cache_source import content
from tests.processes.conftest import ROOT, Child
from vfsoverlay.testing import S3Server

# A process of its own for each: these libraries load for seconds and leave processes behind.
pytestmark = pytest.mark.timeout(240)

FILES = {f"{number:03}.bin": content(str(number), 700) for number in range(60)}

#: Two epochs in shuffled order; prints for each worker process what it has loaded, and for each file its bytes.
TORCH = """
import json, os, sys
import torch
from torch.utils.data import DataLoader, Dataset

import vfsoverlay

class Files(Dataset):
    def __init__(self, root):
        self.paths = [os.path.join(root, name) for name in sorted(os.listdir(root))]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, number):
        with open(self.paths[number], "rb") as file:
            return os.path.basename(self.paths[number]), file.read(), os.getpid()

def as_it_is(batch):
    return batch

if __name__ == "__main__":
    method, options = sys.argv[1], json.loads(sys.argv[2])
    point = vfsoverlay.mount("s3://many/", "/content/data", **options)
    files = Files("/content/data")
    torch.manual_seed(1)
    loader = DataLoader(
        files, batch_size=8, shuffle=True, num_workers=2, collate_fn=as_it_is,
        multiprocessing_context=method, persistent_workers=True,
    )
    epochs = [[[name, body.hex(), pid] for batch in loader for name, body, pid in batch] for _ in range(2)]
    del loader
    print(json.dumps(epochs))
"""


@pytest.fixture
def many(server: S3Server) -> S3Server:
    """The server with some small files in the bucket ``many``."""
    server.create_bucket("many", public=True)
    for key, body in FILES.items():
        server.put("many", key, body)
    return server


def run_script(script: Path, text: str, *arguments: str) -> Child:
    """Run *text* as a script, which spawned processes import again."""
    script.write_text(text)
    command = [sys.executable, "-W", "ignore", str(script), *arguments]
    return Child(subprocess.run(command, capture_output=True, text=True, check=False, timeout=200))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_data_loader(method: str, many: S3Server, tmp_path: Path) -> None:
    """Workers of PyTorch's ``DataLoader`` read every file in each epoch, fetch each once in all, and list nothing."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    options = {**many.mount_options(), "readahead": False}
    child = run_script(tmp_path / "main.py", TORCH, method, json.dumps(options))
    assert child.status == 0, child
    epochs = json.loads(child.out)
    for epoch in epochs:
        assert {name: bytes.fromhex(body) for name, body, _ in epoch} == FILES
        assert len(epoch) == len(FILES)
        assert len({pid for _, _, pid in epoch}) == 2
    assert [name for name, _, _ in epochs[0]] != [name for name, _, _ in epochs[1]]
    assert many.requests.count("list", bucket="many") == 1
    assert many.requests.count("get", bucket="many") == len(FILES)


JOBLIB = """
import json, os, sys
from joblib import Parallel, delayed

import vfsoverlay

def read(path):
    with open(path, "rb") as file:
        return os.path.basename(path), file.read().hex(), os.getpid()

if __name__ == "__main__":
    vfsoverlay.mount("s3://many/", "/content/data", **json.loads(sys.argv[1]))
    paths = [os.path.join("/content/data", name) for name in os.listdir("/content/data")]
    print(json.dumps(Parallel(n_jobs=2)(delayed(read)(path) for path in paths)))
"""


def test_joblib(many: S3Server, tmp_path: Path) -> None:
    """Workers of joblib's loky read the files of a mount: each is fetched once, and nothing is listed again."""
    pytest.importorskip("joblib", reason="joblib is not installed")
    options = {**many.mount_options(), "readahead": False}
    child = run_script(tmp_path / "main.py", JOBLIB, json.dumps(options))
    assert child.status == 0, child
    found = json.loads(child.out)
    assert {name: bytes.fromhex(body) for name, body, _ in found} == FILES
    assert many.requests.count("list", bucket="many") == 1
    assert many.requests.count("get", bucket="many") == len(FILES)


XDIST = """
import os
import pathlib

import pytest

@pytest.mark.parametrize("number", range(6))
def test_read(number):
    names = sorted(os.listdir("/content/data"))
    assert len(names) == 60
    for name in names[number::6]:
        assert len(pathlib.Path("/content/data", name).read_bytes()) == 700
    assert os.environ["PYTEST_XDIST_WORKER"]
"""


def test_xdist(many: S3Server, tmp_path: Path) -> None:
    """Workers of pytest-xdist have the mounts of the process that started pytest, without another listing."""
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    test = tmp_path / "test_many.py"
    test.write_text(XDIST)
    with vfsoverlay.mount("s3://many/", ROOT, readahead=False, **many.mount_options()):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", "2", "-p", "no:cacheprovider"]
        command += ["--rootdir", str(tmp_path), str(test)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what else is installed takes seconds to load, three times
        done = Child(
            subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
        )
    assert done.status == 0, done
    assert "6 passed" in done.out
    assert many.requests.count("list", bucket="many") == 1
    assert many.requests.count("get", bucket="many") == len(FILES)
