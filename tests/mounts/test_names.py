"""Names through mount(): hidden ones are told, limits stop early, lazy mounts ask little, children ask nothing."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import pty
import struct
import subprocess
import sys
import termios
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay import errors
from vfsoverlay._namespace.export import save_snapshot
from vfsoverlay.testing import GeneratedKeys, S3Server

ROOT = "/content/data"


def lists(server: S3Server) -> int:
    """LIST requests so far."""
    return server.requests.count("list")


# ------------------------------------------------------------------------------------ hidden names


@pytest.fixture
def odd_names(server: S3Server) -> dict[str, str]:
    """Keys that no path leads to, and why."""
    hidden = {
        "a//b": "empty component",
        "d": "shadowed by a directory",
        "e/../f": "'..' component",
        "g/": "directory marker with content",
    }
    for key in hidden:
        server.put("data", key, b"x")
    server.put("data", "d/file", b"x")
    return hidden


def test_hidden_objects_are_listed_with_reasons(mount: Any, odd_names: dict[str, str]) -> None:
    """Objects that no path leads to are listed, with the reason, by hidden() of the mount point."""
    assert {hidden.key: hidden.reason for hidden in mount().hidden()} == odd_names


def test_hidden_objects_are_logged_once(
    mount: Any, odd_names: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Hidden objects are logged once a mount: how many, a few of them, and why."""
    caplog.set_level(logging.WARNING, "vfsoverlay")
    mount()
    mount()
    os.listdir(ROOT)
    (record,) = (record for record in caplog.records if "no path leads to" in record.getMessage())
    assert "4 of the objects ('a//b': empty component; 'd': shadowed" in record.getMessage()


def test_explain_says_why_an_object_is_hidden(mount: Any, odd_names: dict[str, str]) -> None:
    """explain() of a path says which object a directory shadows, and why."""
    mount()
    explanation = vfsoverlay.explain(f"{ROOT}/d")
    assert (explanation.kind, explanation.reason) == ("directory", "shadowed by a directory")


# ------------------------------------------------------------------------------------------ limits


@pytest.fixture
def many(server: S3Server) -> str:
    """A bucket of 50,000 generated objects."""
    server.create_bucket("many", public=True, keys=GeneratedKeys(50_000))
    return "s3://many/"


def test_too_many_objects_stop_the_listing(server: S3Server, many: str, tmp_path: Path) -> None:
    """TooManyObjects comes at the first object beyond the limit, says how to go on, and leaves nothing behind."""
    cache = tmp_path / "cache"
    before = os.stat
    with pytest.raises(errors.TooManyObjects) as caught:
        vfsoverlay.mount(many, ROOT, max_objects=2500, cache_dir=str(cache), **server.mount_options())
    for advice in ("2,500", "longer prefix", "raise max_objects", "listing='lazy'"):
        assert advice in str(caught.value)
    # Three pages show it; each of 16 workers may have asked for one more.
    assert lists(server) <= 3 + 16
    assert os.stat is before
    assert os.listdir(cache / "v1" / "index") == []
    assert vfsoverlay.mounts() == ()


def test_no_more_keys_are_asked_for_than_the_limit_needs(server: S3Server, many: str) -> None:
    """Below a page, exactly one key more than the limit is asked for."""
    with pytest.raises(errors.TooManyObjects):
        vfsoverlay.mount(many, ROOT, max_objects=10, **server.mount_options())
    (request,) = server.requests.select("list")
    assert request.query["max-keys"] == "11"


def test_object_too_large_is_named(mount: Any, server: S3Server) -> None:
    """ObjectTooLarge names the key and its size, before any user code runs."""
    server.put("data", "big", b"12345")
    with pytest.raises(errors.ObjectTooLarge, match=r"'big' has 5 bytes.*raise max_object_size") as caught:
        mount(max_object_size=4)
    assert (caught.value.key, caught.value.size) == ("big", 5)


# --------------------------------------------------------------------------------- large directory


def test_one_large_directory(server: S3Server) -> None:
    """One directory of very many entries is scanned without holding them all, listed, and looked up in."""
    count = 100_001
    server.create_bucket("wide", public=True, keys=GeneratedKeys(count, lambda i: f"d/{i:06d}"))
    with vfsoverlay.mount("s3://wide/", ROOT, **server.mount_options()):
        tracemalloc.start()
        try:
            with os.scandir(f"{ROOT}/d") as entries:
                assert sum(1 for _ in entries) == count
            assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
        finally:
            tracemalloc.stop()
        names = os.listdir(f"{ROOT}/d")
        assert (len(names), names[-1]) == (count, f"{count - 1:06d}")
        assert os.stat(f"{ROOT}/d/000777").st_size == 1024
        assert not os.path.exists(f"{ROOT}/d/777")


# ----------------------------------------------------------------------------------- second process

_CHILD = f"import os; print(len(os.listdir({ROOT!r})))"


@pytest.mark.parametrize("how", ["plain", "reuse_listing", "index"])
def test_children_list_nothing(mount: Any, server: S3Server, tmp_path: Path, how: str) -> None:
    """A second process, forked or a new interpreter, issues no LIST request, however the names came."""
    server.put("data", "x", b"1")
    options: dict[str, Any] = {"cache_dir": str(tmp_path / "cache")}
    if how == "reuse_listing":
        mount(**options).unmount()
        options["reuse_listing"] = math.inf
    elif how == "index":
        point = mount(**options)
        save_snapshot(point.namespace, str(tmp_path / "index"))
        point.unmount()
        options["index"] = str(tmp_path / "index")
    mount(**options)
    before = lists(server)
    assert before == 1
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True)
    pid = os.fork()
    if not pid:
        os._exit(0 if os.listdir(ROOT) == ["x"] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert (done.stdout.strip(), lists(server)) == ("1", before)


# -------------------------------------------------------------------------------------- attributes

_NUMBERS = f"import os; print([os.stat(p).st_ino for p in ({ROOT!r}, {ROOT + '/d'!r}, {ROOT + '/d/f'!r})])"


def test_inode_numbers_are_the_same_everywhere(mount: Any, server: S3Server, tmp_path: Path) -> None:
    """``st_ino`` of a file and of a directory is one in os.stat, os.scandir, other processes and later mounts."""
    server.put("data", "d/f", b"1")
    mount(cache_dir=str(tmp_path / "one")).unmount()
    mount(cache_dir=str(tmp_path / "two"))
    numbers = [os.stat(path).st_ino for path in (ROOT, f"{ROOT}/d", f"{ROOT}/d/f")]
    assert len(set(numbers)) == 3
    assert [entry.inode() for top in (ROOT, f"{ROOT}/d") for entry in os.scandir(top)] == numbers[1:]
    done = subprocess.run([sys.executable, "-c", _NUMBERS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(numbers)
    vfsoverlay.unmount(ROOT)
    mount(cache_dir=str(tmp_path / "three"), listing="lazy")
    assert [os.stat(path).st_ino for path in (ROOT, f"{ROOT}/d", f"{ROOT}/d/f")] == numbers


def test_attributes_that_were_asked_for_end_with_their_names(mount: Any, server: S3Server) -> None:
    """What os.stat told before says nothing after refresh() and unmount(): sizes, times and absence are as of now."""
    server.put("data", "d/f", b"1")
    server.put("data", "d/g", b"1")
    point = mount()
    before = [os.stat(f"{ROOT}/{path}") for path in ("d", "d/f", "d/g")]
    assert [os.stat(f"{ROOT}/{path}") for path in ("d", "d/f", "d/g")] == before
    server.put("data", "d/f", b"four")
    server.delete("data", "d/g")
    assert os.stat(f"{ROOT}/d/f").st_size == 1
    point.refresh()
    assert os.stat(f"{ROOT}/d/f").st_size == 4
    assert not os.path.exists(f"{ROOT}/d/g")
    assert os.stat(f"{ROOT}/d").st_mtime_ns != before[0].st_mtime_ns
    point.unmount()
    assert not os.path.exists(f"{ROOT}/d/f")


# --------------------------------------------------------------------------------------- progress

_LIST = """
import sys, vfsoverlay
url, bucket, root, cache = sys.argv[1:]
vfsoverlay.mount(f"s3://{bucket}/", root, endpoint_url=url, region="us-east-1", anon=True, cache_dir=cache)
"""


@pytest.mark.parametrize(("count", "latency", "shown"), [(10, 0.3, False), (3000, 0.6, True)])
def test_a_long_listing_shows_on_a_terminal(tmp_path: Path, count: int, latency: float, *, shown: bool) -> None:
    """Where standard error is a terminal, a listing that takes longer than a second tells how far it is."""
    with S3Server(latency=latency) as server:
        server.create_bucket("many", public=True, keys=GeneratedKeys(count))
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
        command = [sys.executable, "-c", _LIST, server.url, "many", ROOT, str(tmp_path)]
        subprocess.run(command, check=True, stderr=theirs)
        os.write(theirs, b"end")
        told = os.read(ours, 65536)
        os.close(ours)
        os.close(theirs)
    assert (b"3,000 objects" in told, told == b"end") == (shown, not shown)


# ------------------------------------------------------------------------------------------- lazy


def test_lazy_mount_asks_once_for_what_is_touched(mount: Any, server: S3Server) -> None:
    """A lazy mount makes one LIST for an unknown path, and one a page for a directory that is scanned."""
    for i in range(1500):
        server.put("data", f"d/{i:04d}", b"x")
    server.put("data", "e/f", b"hello")
    mount(listing="lazy")
    assert lists(server) == 1, "mount() proves that it may list"
    calls: list[tuple[Callable[[], bool], int]] = [
        (lambda: os.stat(f"{ROOT}/e/f").st_size == 5, 1),
        (lambda: os.stat(f"{ROOT}/e/f").st_size == 5, 0),
        (lambda: not os.path.exists(f"{ROOT}/e/none"), 1),
        (lambda: not os.path.exists(f"{ROOT}/e/none"), 0),
        (lambda: os.listdir(ROOT) == ["d", "e"], 1),
        (lambda: len(os.listdir(f"{ROOT}/d")) == 1500, 2),
        (lambda: os.stat(f"{ROOT}/d/0700").st_size == 1, 0),
        (lambda: not os.path.exists(f"{ROOT}/d/none"), 0),
    ]
    for call, wanted in calls:
        before = lists(server)
        assert call()
        assert lists(server) - before == wanted


def test_lazy_mount_opens_a_cold_file(mount: Any, server: S3Server) -> None:
    """On a lazy mount, a file that nothing is known about is read with one LIST and one GET."""
    server.put("data", "e/f", b"hello")
    mount(listing="lazy")
    mark = len(server.requests)
    assert Path(f"{ROOT}/e/f").read_bytes() == b"hello"
    assert [record.purpose for record in server.requests.since(mark)] == ["list", "get"]


def test_lazy_mount_lists_again_when_its_knowledge_is_old(mount: Any, server: S3Server) -> None:
    """A lazy mount with a ttl of zero sees what is new at once, and asks each time."""
    mount(listing="lazy", ttl=0)
    assert os.listdir(ROOT) == []
    server.put("data", "x", b"1")
    assert os.listdir(ROOT) == ["x"]
    before = lists(server)
    assert (os.path.exists(f"{ROOT}/x"), os.path.exists(f"{ROOT}/x")) == (True, True)
    assert lists(server) - before == 2


def test_refresh_of_a_lazy_mount(mount: Any, server: S3Server) -> None:
    """refresh() of a lazy mount forgets names, all or those below a directory, and asks again when they are needed."""
    server.put("data", "d/a", b"1")
    server.put("data", "e/a", b"1")
    point = mount(listing="lazy", ttl=math.inf)
    assert (os.listdir(f"{ROOT}/d"), os.listdir(f"{ROOT}/e")) == (["a"], ["a"])
    server.put("data", "d/b", b"1")
    server.put("data", "e/b", b"1")
    before = lists(server)
    point.refresh(f"{ROOT}/d")
    assert lists(server) == before
    assert (os.listdir(f"{ROOT}/d"), os.listdir(f"{ROOT}/e")) == (["a", "b"], ["a"])
    point.refresh()
    assert os.listdir(f"{ROOT}/e") == ["a", "b"]


def test_lazy_mount_without_the_right_to_list(
    server: S3Server, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Who may read but not list mounts lazily, reads files of known paths, and hears EACCES where that cannot tell."""
    server.create_bucket("readable", public={"get"}, deny=("list",))
    server.put("readable", "d/a", b"hello")
    server.put("readable", "empty", b"")
    server.put("readable", "archived", b"x", storage_class="GLACIER")
    with vfsoverlay.mount("s3://readable/", ROOT, listing="lazy", cache_dir=str(tmp_path), **server.mount_options()):
        assert "may not be listed" in caplog.text
        assert Path(f"{ROOT}/d/a").read_bytes() == b"hello"
        assert os.stat(f"{ROOT}/d/a").st_size == 5
        assert os.stat(f"{ROOT}/empty").st_size == 0
        with pytest.raises(errors.ObjectArchived, match="restore"):
            os.stat(f"{ROOT}/archived")
        with pytest.raises(PermissionError, match="s3:ListBucket"):
            os.stat(f"{ROOT}/d/none")
        with pytest.raises(PermissionError):
            os.listdir(ROOT)


def test_sources_without_order_are_listed_in_sequence(tmp_path: Path) -> None:
    """A source whose pages have no order is listed once, from beginning to end."""
    for i in range(3000):
        (tmp_path / f"{i:04d}").touch()
    with vfsoverlay.mount(f"file://{tmp_path}/", ROOT) as point:
        assert len(os.listdir(ROOT)) == 3000
        assert point.metrics()["requests.list"] == 1


# --------------------------------------------------------------------------------- nothing is there


def empty_warnings(caplog: pytest.LogCaptureFixture) -> int:
    """How often it was said that there is nothing."""
    return sum("so the mount is empty: check the spelling" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("listing", ["eager", "lazy"])
def test_an_empty_source_is_told(mount: Any, server: S3Server, caplog: pytest.LogCaptureFixture, listing: str) -> None:
    """A source without any object is mounted empty, with one warning that says to check the spelling."""
    server.put("data", "data/file", b"x")
    caplog.set_level(logging.WARNING, "vfsoverlay")
    point = mount("dta/", listing=listing, ttl=0)
    assert os.listdir(ROOT) == os.listdir(ROOT) == []
    assert empty_warnings(caplog) == 1
    assert "s3://data/dta/" in caplog.text
    server.put("data", "dta/file", b"x")
    point.refresh()
    assert os.listdir(ROOT) == ["file"]


@pytest.mark.parametrize("listing", ["eager", "lazy"])
def test_a_folder_made_on_purpose_may_be_empty(
    mount: Any, server: S3Server, caplog: pytest.LogCaptureFixture, listing: str
) -> None:
    """A prefix with nothing but its own marker, as consoles make for a folder, is no reason for a warning."""
    server.put("data", "folder/", b"")
    caplog.set_level(logging.WARNING, "vfsoverlay")
    mount("folder/", listing=listing)
    assert os.listdir(ROOT) == []
    assert empty_warnings(caplog) == 0
