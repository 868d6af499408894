"""One open file is one version of one object; what changed since the listing is said, never mixed."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay import errors
from vfsoverlay.testing import Fault

MIB = 1024 * 1024


def test_changed_object_is_stale(mount: Any, server: Any) -> None:
    """An object that changed since it was listed raises ESTALE with the caller's filename, and names refresh()."""
    server.put("data", "a", b"old")
    point = mount()
    server.put("data", "a", b"new content")
    with pytest.raises(errors.StaleObject, match=r"refresh\(\)") as caught:
        open("/content/data/../data/a")
    assert caught.value.errno == errno.ESTALE
    assert caught.value.filename == "/content/data/../data/a"
    point.refresh()
    assert Path("/content/data/a").read_bytes() == b"new content"


def test_deleted_object_is_stale(mount: Any, server: Any) -> None:
    """A listed object that is gone raises ESTALE, not ENOENT: the listing still has the name."""
    server.put("data", "a", b"old")
    mount()
    server.delete("data", "a")
    with pytest.raises(errors.StaleObject):
        open("/content/data/a")


@pytest.mark.parametrize("size", [100, 3 * MIB], ids=["small", "large"])
def test_reopen_reads_the_new_version_whole(mount: Any, server: Any, size: int) -> None:
    """on_change="reopen" reads the new version whole, and stat agrees with it from then on."""
    server.put("data", "a", b"o" * size)
    mount(on_change="reopen")
    server.put("data", "a", b"n" * (size + 7))
    with open("/content/data/a", "rb") as file:
        assert file.read() == b"n" * (size + 7)
        assert os.fstat(file.fileno()).st_size == size + 7
    assert os.path.getsize("/content/data/a") == size + 7


@pytest.mark.parametrize("size", [100, 3 * MIB], ids=["small", "large"])
def test_reopen_of_a_deleted_object_is_enoent(mount: Any, server: Any, size: int) -> None:
    """on_change="reopen" says ENOENT for an object that is gone before its first byte was read."""
    server.put("data", "a", b"o" * size)
    mount(on_change="reopen")
    server.delete("data", "a")
    with pytest.raises(FileNotFoundError) as caught:
        Path("/content/data/a").read_bytes()
    assert caught.value.filename == "/content/data/a"


@pytest.mark.parametrize("on_change", ["error", "reopen"])
def test_versions_never_mix_in_one_open_file(mount: Any, server: Any, on_change: str) -> None:
    """Changed after bytes were delivered: ESTALE, whatever on_change says; cached blocks stay readable."""
    server.put("data", "a", b"o" * (6 * MIB))
    mount(on_change=on_change)
    with open("/content/data/a", "rb") as file:
        first = file.read(10)
        server.put("data", "a", b"n" * (6 * MIB))
        file.seek(5 * MIB)
        with pytest.raises(errors.StaleObject):
            file.read(10)
        file.seek(0)
        assert file.read(10) == first == b"o" * 10


def test_server_that_ignores_if_match_is_caught(mount: Any, server: Any) -> None:
    """A server that ignores If-Match cannot slip in another version: each answer's ETag or date is checked."""
    server.put("data", "a", b"old")
    mount()
    server.put("data", "a", b"new")
    server.faults.add(Fault.ignore_if_match(purpose="get"))
    with pytest.raises(errors.StaleObject):
        open("/content/data/a")


def test_open_file_keeps_its_version_over_refresh_and_unmount(mount: Any, server: Any) -> None:
    """An open file keeps its version when names are listed again and when the mount ends."""
    server.put("data", "a", b"old" * MIB)
    point = mount()
    with open("/content/data/a", "rb") as file:
        file.fileno()
        server.put("data", "a", b"new")
        point.refresh()
        point.unmount()
        assert file.read() == b"old" * MIB


def test_throttling_is_retried(mount: Any, server: Any) -> None:
    """503 SlowDown and broken connections are retried and counted, and the reader sees only right bytes."""
    server.put("data", "a", b"x" * 300_000)
    point = mount()
    server.put("data", "b", b"y" * 300_000)
    point.refresh()
    server.faults.add(Fault.slow_down(times=2, key="a"), Fault.cut_body(1000, times=1, key="b"))
    assert Path("/content/data/a").read_bytes() == b"x" * 300_000
    assert Path("/content/data/b").read_bytes() == b"y" * 300_000
    assert point.metrics()["retries"] == 3


def test_store_that_stays_down_is_an_error_of_its_own(mount: Any, server: Any) -> None:
    """A store that fails until the deadline is EIO or ETIMEDOUT, never ENOENT, and is not remembered as absent."""
    server.put("data", "a", b"x")
    mount(deadline=0.5)
    server.faults.add(Fault.internal_error(purpose="get", times=10_000))
    with pytest.raises((errors.StoreUnavailable, errors.StoreTimeout)) as caught:
        open("/content/data/a")
    assert caught.value.errno in (errno.EIO, errno.ETIMEDOUT)
    assert caught.value.filename == "/content/data/a"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.errno, again.filename) == (type(caught.value), caught.value.errno, "/content/data/a")
    server.faults.clear()
    assert Path("/content/data/a").read_bytes() == b"x"


def test_denied_object_is_a_permission_error(mount: Any, server: Any) -> None:
    """A 403 on a listed object is PermissionError naming bucket, key and action."""
    server.put("data", "dir/a", b"x")
    mount()
    server.faults.add(Fault.access_denied(purpose="get", times=10))
    with pytest.raises(PermissionError, match=r"s3:GetObject.*data/dir/a"):
        open("/content/data/dir/a")


def test_archived_object_is_visible_but_says_how_to_restore(mount: Any, server: Any) -> None:
    """An archived object has mode 000 and opening it is EACCES naming the storage class and the way out."""
    server.put("data", "a", b"x", storage_class="GLACIER")
    mount()
    assert os.stat("/content/data/a").st_mode & 0o777 == 0
    with pytest.raises(PermissionError, match=r"GLACIER.*restore"):
        open("/content/data/a")
