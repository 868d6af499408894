"""Many processes at once: each object fetched once, and a stress of everything at the same time."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

import vfsoverlay
from tests.cache_source import content
from tests.processes.conftest import ROOT
from tests.processes.test_fork import busy, in_child
from vfsoverlay.testing import S3Server

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

#: ``VFSOVERLAY_TEST_SCALE=10`` asks for the sizes of the issue: a minute of stress, thousands of files.
SCALE = float(os.environ.get("VFSOVERLAY_TEST_SCALE", "1"))

READER = """
import hashlib, os, sys
names = sorted(os.listdir("/content/data"))
start, stop = int(sys.argv[1]), int(sys.argv[2])
digest = hashlib.md5()
for position in range(start, stop):
    with open(f"/content/data/{names[position % len(names)]}", "rb") as stream:
        digest.update(stream.read())
print(digest.hexdigest())
"""


# Sixteen interpreters that trace their lines need a minute and more on two cores.
@pytest.mark.timeout(400)
def test_workers_that_overlap_fetch_each_object_once(server: S3Server) -> None:
    """Sixteen processes that read overlapping thirds of many cold files fetch each object once, with one listing."""
    import hashlib

    files = {f"{number:05}.bin": content(str(number), 2000) for number in range(int(200 * SCALE))}
    server.create_bucket("many", public=True)
    for key, body in files.items():
        server.put("many", key, body)
    names, third = list(files), len(files) // 3
    with vfsoverlay.mount("s3://many/", ROOT, readahead=False, **server.mount_options()):
        # Of more than a thousand objects, a listing is several pages.
        pages = server.requests.count("list", bucket="many")
        starts = [(number * len(names)) // 16 for number in range(16)]
        children = [
            subprocess.Popen(
                [sys.executable, "-c", READER, str(start), str(start + third)], stdout=subprocess.PIPE, text=True
            )
            for start in starts
        ]
        said = [child.communicate(timeout=360)[0].strip() for child in children]
    wanted = [
        hashlib.md5(b"".join(files[names[i % len(names)]] for i in range(start, start + third))).hexdigest()
        for start in starts
    ]
    assert said == wanted
    assert server.requests.count("list", bucket="many") == pages
    fetched = Counter(request.key for request in server.requests.select("get", bucket="many"))
    assert fetched == Counter(dict.fromkeys(files, 1))


THREADED_READER = """
import hashlib, json, os, random, sys
from concurrent.futures import ThreadPoolExecutor

def digest(name):
    with open(f"/content/data/{name}", "rb") as stream:
        return hashlib.md5(stream.read()).hexdigest()

names = os.listdir("/content/data")
random.Random(int(sys.argv[1])).shuffle(names)
with ThreadPoolExecutor(4) as pool:
    print(json.dumps(dict(zip(names, pool.map(digest, names)))))
"""


@pytest.mark.timeout(400)
def test_processes_of_threads_fetch_each_byte_once(server: S3Server) -> None:
    """Eight processes of four threads that read all of many cold files, and a large one, fetch each byte once."""
    import hashlib

    files = {f"{number:05}.bin": content(str(number), 2000) for number in range(int(200 * SCALE))}
    files["large.bin"] = content("large", 9 * 1024**2)
    server.create_bucket("many", public=True)
    for key, body in files.items():
        server.put("many", key, body)
    wanted = {key: hashlib.md5(body).hexdigest() for key, body in files.items()}
    with vfsoverlay.mount("s3://many/", ROOT, **server.mount_options()):
        commands = [[sys.executable, "-c", THREADED_READER, str(seed)] for seed in range(8)]
        children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        for child in children:
            assert json.loads(child.communicate(timeout=360)[0]) == wanted
    sent: Counter[str] = Counter()
    for request in server.requests.select("get", bucket="many"):
        sent[request.key] += request.bytes_sent
    # All bytes were read, so a sum that is right leaves none that came twice.
    assert sent == {key: len(body) for key, body in files.items()}


@pytest.mark.timeout(400)
def test_stress(server: S3Server) -> None:
    """Threads, forks, spawned processes and evictions at once: no wrong byte, no hang, and nothing is left behind."""
    files = {f"f{number}": content(f"f{number}", 37 * 1024 * (number % 7) + number) for number in range(40)}
    server.create_bucket("stress", public=True)
    for key, body in {**files, "large": content("large", 3 * 1024**2)}.items():
        server.put("stress", key, body)
    files["large"] = content("large", 3 * 1024**2)
    options = {**server.mount_options(), "cache_size": 6 * 1024**2}
    # Those of tests before this one may still wait for servers that are gone.
    threads = set(threading.enumerate())
    with vfsoverlay.mount("s3://stress/", ROOT, **options) as point:
        descriptors = _open_files()
        with busy(*(lambda: _read_some(files) for _ in range(3)), lambda: point.cache.evict(1024**2)):
            end = time.monotonic() + 6 * SCALE
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                while time.monotonic() < end:
                    spawned = pool.apply_async(_read_some, (files,))
                    in_child(lambda: _read_some(files))
                    spawned.get(timeout=120)
                pool.close()
                pool.join()
        report = point.cache.check()
        assert report.is_clean, report
    _wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("vfsoverlay") and t not in threads])
    del pool, spawned
    gc.collect()
    # One more: the resource tracker that multiprocessing starts and keeps.
    _wait_until(lambda: len(_open_files() - descriptors) <= 1)
    left = [name for _, _, names in os.walk(os.environ["VFSOVERLAY_CACHE_DIR"]) for name in names]
    assert not [name for name in left if name.endswith((".tmp", ".part"))]


def _read_some(files: dict[str, bytes]) -> None:
    """Read some files whole or in part and compare; runs in threads and processes."""
    for key in random.sample(sorted(files), 12):
        body = files[key]
        with open(f"{ROOT}/{key}", "rb") as stream:
            position = random.randrange(len(body) + 1)
            stream.seek(position)
            assert stream.read(5000) == body[position : position + 5000], key
            if random.random() < 0.5:
                stream.seek(0)
                assert stream.read() == body, key


def _open_files() -> set[str]:
    """The descriptors of this process but for sockets, which the server in it has as well."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone by now.
        if os.path.lexists(f"/proc/self/fd/{name}"):
            found.add(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
    return {text for text in found if "socket:" not in text}


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
