"""A forked child has everything its parent had, whatever the parent's threads were doing."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import vfsoverlay
from tests.cache_source import content
from tests.processes.conftest import FILES, ROOT
from vfsoverlay.testing import S3Server

# Forking with threads is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

#: Large enough to be fetched as it is read.
LARGE = content("large", 3 * 1024**2)


def in_child(call: Callable[[], object], seconds: float = 30) -> None:
    """Run *call* in a forked child; fails with its traceback, also if it hangs, be that in a lock of a C library."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 0
        try:
            os.close(reader)
            faulthandler.dump_traceback_later(seconds - 1, exit=True, file=writer)
            call()
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
            status = 1
        os._exit(status)
    os.close(writer)
    with open(reader, "rb") as stream:
        if not select.select([stream], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
        said = stream.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"child ended with {status}\n{said}"


def check_all(files: dict[str, bytes] = FILES) -> None:
    """Read every file whole and compare."""
    for key, body in files.items():
        with open(f"{ROOT}/{key}", "rb") as stream:
            assert stream.read() == body


def _is_traced() -> bool:
    coverage = sys.modules.get("coverage")
    return coverage is not None and coverage.Coverage.current() is not None


@contextmanager
def busy(*calls: Callable[[], object]) -> Iterator[None]:
    """Each of *calls* again and again in a thread of its own, until the block ends."""
    done = threading.Event()
    failures: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                call()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures


def test_a_child_reads_what_the_parent_has_mounted(point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """A forked child reads through the mounts of its parent without another listing."""
    in_child(check_all)
    check_all()
    assert server.requests.count("list") == 1
    assert server.requests.count("get") == len(FILES)


def test_open_files_go_on_in_the_child(server: S3Server) -> None:
    """Files that were open at the fork, complete or fetched as they are read, go on reading in parent and child."""
    server.put("data", "large", LARGE)
    server.put("data", "small", b"small")
    with vfsoverlay.mount("s3://data/", ROOT, readahead=False, **server.mount_options()):
        large, small = open(f"{ROOT}/large", "rb", buffering=0), open(f"{ROOT}/small", "rb")
        with large, small:
            assert large.read(10) == LARGE[:10]

            def child() -> None:
                assert large.tell() == 10
                assert large.read(20) == LARGE[10:30]
                assert small.read() == b"small"
                large.seek(-5, os.SEEK_END)
                assert large.read() == LARGE[-5:]
                assert os.pread(large.fileno(), 7, 100) == LARGE[100:107]

            in_child(child)
            # A file that fetches as it is read keeps its position to itself.
            assert large.read(20) == LARGE[10:30]
            assert large.read() == LARGE[30:]


def test_the_working_directory_goes_on_in_the_child(point: vfsoverlay.MountPoint) -> None:
    """A working directory below a mount is the child's working directory as well, and each moves on its own."""
    before = os.getcwd()
    os.chdir(f"{ROOT}/day")
    try:

        def child() -> None:
            assert os.getcwd() == f"{ROOT}/day"
            assert Path("1.txt").read_bytes() == FILES["day/1.txt"]
            os.chdir("..")
            assert os.listdir() == ["day"]
            os.chdir("/")
            assert os.path.exists("etc")

        in_child(child)
        assert os.getcwd() == f"{ROOT}/day"
        assert Path("2.txt").read_bytes() == FILES["day/2.txt"]
    finally:
        os.chdir(before)


def test_counters_go_on_in_the_child(server: S3Server) -> None:
    """Counters begin with the parent's values and are the child's own from then on."""
    # Without threads that count on while the child is compared.
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options(), readahead=False, promotion=False) as point:
        _compare_counters(point)


def _compare_counters(point: vfsoverlay.MountPoint) -> None:
    check_all()
    before = point.metrics()

    def child() -> None:
        assert point.metrics() == before
        check_all()
        assert point.metrics()["hits"] > before.get("hits", 0)

    in_child(child)
    assert point.metrics() == before


@pytest.mark.skipif(_is_traced(), reason="a child inherits coverage's own lock from threads that are being traced")
def test_a_fork_while_threads_do_everything(server: S3Server) -> None:
    """A child forked at any moment of the parent's reads, look-ups, evictions and listings works, and hangs never."""
    files = {f"f{number}": content(f"f{number}", 1000 * number) for number in range(40)}
    for key, body in {**files, "large": LARGE}.items():
        server.put("data", key, body)
    options = {**server.mount_options(), "cache_size": 4 * 1024**2}
    with vfsoverlay.mount("s3://data/", ROOT, **options) as point:

        def read_large() -> None:
            with open(f"{ROOT}/large", "rb", buffering=0) as stream:
                assert stream.read(100) == LARGE[:100]
                stream.seek(2 * 1024**2)
                assert stream.read(1000) == LARGE[2 * 1024**2 :][:1000]

        def child() -> None:
            check_all(files)
            read_large()
            os.listdir(ROOT)
            point.refresh()
            assert vfsoverlay.metrics()

        with busy(
            lambda: check_all(files),
            read_large,
            lambda: [os.stat(entry.path) for entry in os.scandir(ROOT)],
            lambda: point.cache.evict(1024**2),
            point.refresh,
        ):
            for _ in range(6):
                in_child(child)


def test_a_fork_while_threads_query_sqlite(server: S3Server) -> None:
    """A child uses SQLite at once, whatever the parent's threads were doing in it: its locks are never inherited."""
    for key, body in FILES.items():
        server.put("data", key, body)
    with vfsoverlay.mount("s3://data/", ROOT, **server.mount_options()) as point:
        with busy(*[point.refresh] * 3):
            for _ in range(10):
                in_child(point.refresh)


def test_a_child_may_unmount_and_mount(point: vfsoverlay.MountPoint, server: S3Server) -> None:
    """A forked child's mounts are its own: it unmounts and mounts without the parent noticing."""

    def child() -> None:
        point.unmount()
        assert not os.path.exists(ROOT)
        with vfsoverlay.mount("s3://data/day/", "/content/other", **server.mount_options()):
            assert sorted(os.listdir("/content/other")) == sorted(key[4:] for key in FILES)

    in_child(child)
    check_all()


def test_a_child_of_a_fork_during_a_mount(server: S3Server) -> None:
    """A fork while another thread is within ``mount()`` gives a child that can mount."""
    server.latency = 0.5
    options = server.mount_options()
    thread = threading.Thread(target=lambda: vfsoverlay.mount("s3://data/", ROOT, **options))
    thread.start()
    try:
        while not server.requests.count("list"):
            time.sleep(0.001)  # a condition that another thread makes true

        def child() -> None:
            with vfsoverlay.mount("s3://data/day/", "/content/other", **options):
                assert len(os.listdir("/content/other")) == len(FILES)

        in_child(child)
    finally:
        thread.join()
        vfsoverlay.unmount(ROOT)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_forks_leak_no_descriptors(point: vfsoverlay.MountPoint) -> None:
    """After forks and reads in parent and child, no further descriptor or thread is left."""
    check_all()
    in_child(check_all)
    before, watching_before = _descriptors()
    for _ in range(3):
        in_child(check_all)
        check_all()
    after, watching = _descriptors()
    assert after == before
    # One thread of each cache waits for many answers, with two of these, and ends where there were none for a while.
    assert len(watching - watching_before) <= 2


def _descriptors() -> tuple[set[str], set[str]]:
    """The descriptors of this process, and apart from them those that watch others."""
    links = {number: f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")}
    found = {number: os.readlink(link) for number, link in links.items() if os.path.lexists(link)}
    watching = {number for number, target in found.items() if "[event" in target}
    return found.keys() - watching, watching
