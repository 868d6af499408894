"""Threads and event loops: reads wait without the GIL, deadlock never, and end quietly with the interpreter."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import vfsoverlay
from tests.cache_source import content
from tests.processes.conftest import FILES, ROOT, run
from tests.processes.test_fork import busy, check_all
from vfsoverlay.testing import S3Server

LARGE = content("large", 3 * 1024**2)


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("transport", ["auto", "s3fs"])
def test_reading_on_a_loop(kind: str, transport: str, server: S3Server) -> None:
    """A read in a coroutine, on the loop's own thread or in another, ends on every kind of loop."""
    if kind == "uvloop":
        new_loop = pytest.importorskip("uvloop", reason="uvloop is not installed").new_event_loop
    else:
        new_loop = asyncio.new_event_loop

    async def work() -> None:
        check_all()  # blocks the loop, as a read of a local file would
        await asyncio.gather(*(asyncio.to_thread(check_all) for _ in range(4)))

    def run_loop() -> None:
        loop = new_loop()
        try:
            loop.run_until_complete(work())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    with vfsoverlay.mount("s3://data/", ROOT, transport=transport, **server.mount_options()):
        with ThreadPoolExecutor(3) as threads:
            for future in [threads.submit(run_loop) for _ in range(3)]:
                future.result(timeout=50)


def test_others_run_while_a_read_waits(server: S3Server) -> None:
    """A thread that waits for the store does not hold the GIL."""
    server.latency = 0.3
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()):
        steps = 0
        reader = threading.Thread(target=lambda: open(f"{ROOT}/day/1.txt").close())
        reader.start()
        while reader.is_alive():
            steps += 1
            time.sleep(0)
        assert steps > 100


def test_unmount_while_others_read(server: S3Server) -> None:
    """``unmount()`` while threads read: open files go on, and new calls see the real file system."""
    server.put("data", "large", LARGE)
    begun, failures = threading.Barrier(4), []

    def read() -> None:
        try:
            with open(f"{ROOT}/large", "rb", buffering=0) as stream:
                found = bytearray(stream.read(1000))
                begun.wait()
                while piece := stream.read(64 * 1024):
                    found += piece
            assert bytes(found) == LARGE
        except BaseException as error:
            failures.append(error)

    point = vfsoverlay.mount("s3://data/", ROOT, **server.mount_options())
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    point.unmount()
    assert not os.path.exists(ROOT)
    for thread in threads:
        thread.join()
    assert not failures


def test_mounts_come_and_go_while_threads_read_others(point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """Mounting and unmounting one source leaves reads of another alone."""
    with busy(check_all, check_all):
        for _ in range(5):
            with vfsoverlay.mount("s3://data/day/", "/content/other", **server.mount_options()):
                assert len(os.listdir("/content/other")) == len(FILES)


END = """
import sys, threading, os
import vfsoverlay
point = vfsoverlay.mount("s3://data/", "/content/data", anon=True, endpoint_url=%r, region="us-east-1")
started = threading.Event()
def read():
    while True:
        try:
            stream = open("/content/data/large", "rb", buffering=0)
        except FileNotFoundError:
            return  # unmounted
        with stream:
            stream.read(100)
            started.set()
            while stream.read(10000): pass
for _ in range(3):
    threading.Thread(target=read, daemon=True).start()
started.wait()
%s
"""


@pytest.mark.parametrize(
    ("ending", "status"),
    [("", 0), ("sys.exit(3)", 3), ("point.unmount()", 0), ("os._exit(4)", 4), ("os.kill(os.getpid(), 15)", -15)],
    ids=["end", "exit", "unmounted", "_exit", "signal"],
)
def test_the_interpreter_ends_quietly(ending: str, status: int, server: S3Server) -> None:
    """An interpreter that ends while daemon threads read ends with its own status and prints nothing."""
    server.put("data", "large", LARGE)
    child = run(END % (server.url, ending))
    assert (child.status, child.out, child.err) == (status, "", "")
