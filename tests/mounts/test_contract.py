"""What mount(), unmount() and mounts() promise."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import vfsoverlay
from tests.mounts.interrupted_calls import patched_objects
from vfsoverlay.testing import Fault, S3Server

CIRCLE = (
    b"<ListBucketResult><IsTruncated>true</IsTruncated>"
    b"<NextContinuationToken>x</NextContinuationToken></ListBucketResult>"
)


@pytest.fixture
def originals(server: Any) -> dict[str, Any]:
    """What the names hold without a mount; after one mount, so that nothing a test before left is taken for it."""
    vfsoverlay.mount("s3://data/", "/content/first", **server.mount_options()).unmount()
    return patched_objects()


def test_with_block_unmounts_at_its_end(server: Any, originals: dict[str, Any]) -> None:
    """Leaving the with block of a mount ends it, and every name holds the very original again."""
    before = originals
    server.put("data", "a.txt", b"hello")
    with vfsoverlay.mount("s3://data/", "/content/data", **server.mount_options()) as point:
        assert vfsoverlay.mounts() == (point,)
        assert Path("/content/data/a.txt").read_text() == "hello"
        assert os.stat is not before["os.stat"]
    assert vfsoverlay.mounts() == ()
    assert not Path("/content/data").exists()
    after = patched_objects()
    assert [name for name in before if before[name] is not after[name]] == []


def test_equal_spec_gives_the_same_point(server: Any) -> None:
    """Mounting an equal spec again at the same root_dir returns the existing point and lists nothing."""
    options = server.mount_options()
    first = vfsoverlay.mount("s3://data/", "/content/data", **options)
    lists = server.requests.count("list")
    again = vfsoverlay.mount("s3://data/", "/content//data/", mount_path="/content/data", **options)
    assert again is first
    assert server.requests.count("list") == lists
    first.unmount()


def test_leaving_a_block_keeps_a_mount_that_is_held_elsewhere(mount: Any, server: Any) -> None:
    """Leaving a with block ends a mount only when no other mount() of it is in force; unmount always does."""
    outer = mount()
    with vfsoverlay.mount("s3://data/", "/content/data", **server.mount_options()) as inner:
        assert inner is outer
    assert vfsoverlay.mounts() == (outer,)
    outer.unmount()
    assert vfsoverlay.mounts() == ()
    outer.unmount()


def test_different_spec_at_the_same_place_is_refused(mount: Any, server: Any) -> None:
    """Another source, or other options, at a root_dir that is in use is a ValueError naming both."""
    server.put("data", "p/x", b"1")
    point = mount()
    with pytest.raises(ValueError, match=r"s3://data/'.* is mounted at /content/data, so .*s3://data/p/"):
        mount("p/")
    with pytest.raises(ValueError, match="file_mode"):
        mount(file_mode=0o400)
    assert vfsoverlay.mounts() == (point,)


def test_list_is_mounted_whole_or_not_at_all(server: Any) -> None:
    """A list of specs is mounted whole or not at all, and nothing stays patched when it fails."""
    server.put("data", "a/x", b"1")
    server.put("data", "b/y", b"2")
    options = server.mount_options()
    specs = [vfsoverlay.Mount("s3://data/a/", "/m/a", **options), vfsoverlay.Mount("s3://data/b/", "/m/b", **options)]
    before = patched_objects()
    missing = vfsoverlay.Mount("s3://no-such-bucket/", "/m/c", **options)
    with pytest.raises(vfsoverlay.errors.CannotAccessSource):
        vfsoverlay.mount([*specs, missing])
    assert vfsoverlay.mounts() == ()
    assert patched_objects() == before
    points = vfsoverlay.mount(tuple(specs))
    assert [point.root_dir for point in points] == ["/m/a", "/m/b"]
    assert sorted(os.listdir("/m")) == ["a", "b"]
    for point in points:
        point.unmount()


#: What may go wrong for good behind the first page of a listing, with the reason that is told.
LATE_FAULTS: dict[str, tuple[Callable[..., Fault], str]] = {
    "no XML": (Fault.garbage_xml, "failed"),
    "half a page": (Fault.truncated_page, "failed"),
    "out of order": (Fault.internal_error, "failed"),
    "broken connections": (Fault.reset, "unreachable"),
    "denied": (Fault.access_denied, "no-credentials"),
    "bucket gone": (partial(Fault.error, "NoSuchBucket"), "bucket-missing"),
    "going in a circle": (partial(Fault, "body", {"body": CIRCLE}), "failed"),
}


@pytest.mark.parametrize(("name", "transport"), [*((name, "auto") for name in LATE_FAULTS), ("bucket gone", "s3fs")])
def test_a_listing_that_fails_behind_its_first_page(server: S3Server, mount: Any, name: str, transport: str) -> None:
    """Whatever page of the listing goes wrong for good, mount() raises CannotAccessSource, and leaves nothing."""
    for i in range(1001):
        server.put("data", f"{i:04d}", b"")
    before = patched_objects()
    fault, reason = LATE_FAULTS[name]
    server.faults.add(fault(times=None, purpose="list", skip=1))
    with pytest.raises(vfsoverlay.errors.CannotAccessSource) as caught:
        mount(deadline=1.0, transport=transport)
    assert caught.value.reason == reason
    assert "s3://data/" in str(caught.value)
    assert str(caught.value).count(os.strerror(errno.ENOENT)) == 0
    assert isinstance(caught.value.__cause__, OSError)
    assert not isinstance(caught.value.__cause__, vfsoverlay.errors.MountError)
    assert vfsoverlay.mounts() == ()
    assert patched_objects() == before


@pytest.mark.parametrize("names", [("root_dir",), ("mount_path",), ("root_dir", "mount_path")])
def test_any_object_with_source_and_path_can_be_mounted(server: Any, names: tuple[str, ...]) -> None:
    """An object with a source and a root_dir or mount_path, such as Lightning's, is mounted as it says."""
    server.put("data", "x", b"1")
    os.environ["AWS_ENDPOINT_URL"] = server.url
    try:
        described = SimpleNamespace(source="s3://data/", **dict.fromkeys(names, "/content/it"))
        with vfsoverlay.mount(described) as point:
            assert (point.source, point.root_dir) == ("s3://data/", "/content/it")
            assert os.listdir("/content/it") == ["x"]
    finally:
        del os.environ["AWS_ENDPOINT_URL"]


def test_ready_spec_takes_no_further_arguments() -> None:
    """Arguments beside a ready spec or a list are a TypeError, since they would be ignored."""
    with pytest.raises(TypeError, match="no further arguments"):
        vfsoverlay.mount(vfsoverlay.Mount("s3://b/"), "/x")
    with pytest.raises(TypeError, match="no further arguments"):
        vfsoverlay.mount([vfsoverlay.Mount("s3://b/")], anon=True)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="has no attribute 'source'"):
        vfsoverlay.mount(3)  # type: ignore[call-overload]


def test_unmount_of_nothing_names_what_is_mounted(mount: Any) -> None:
    """unmount() of a path where nothing is mounted is a ValueError that lists the mounts."""
    mount()
    with pytest.raises(ValueError, match="nothing is mounted at /content/other; mounted now: /content/data"):
        vfsoverlay.unmount("/content/other")
    vfsoverlay.unmount("/content/data/")
    assert vfsoverlay.mounts() == ()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_mounts_end_in_any_order(mount: Any, server: Any, originals: dict[str, Any], order: tuple[int, ...]) -> None:
    """After the last unmount, in any order, every name that held our object holds the very original again."""
    before = originals
    server.put("data", "x", b"1")
    points = [mount(root_dir=f"/content/{name}") for name in "abc"]
    for done, number in enumerate(order, 1):
        points[number].unmount()
        for other in (points[i] for i in order[done:]):
            assert os.listdir(other.root_dir) == ["x"]
    after = patched_objects()
    assert [name for name in before if before[name] is not after[name]] == []


def test_nested_mounts_longest_path_wins(mount: Any, server: Any) -> None:
    """A mount point below another mount is allowed, and the longest path wins."""
    server.put("data", "outer/sub/hidden", b"outer")
    server.put("data", "outer/file", b"outer")
    server.put("data", "inner/x", b"inner")
    mount("outer/", "/content/data")
    inner = mount("inner/", "/content/data/sub")
    deep = mount("inner/", "/content/data/not/there/yet")
    assert os.listdir("/content/data/sub") == ["x"]
    assert sorted(os.listdir("/content/data")) == ["file", "not", "sub"]
    assert [sorted(entry[1] + entry[2]) for entry in os.walk("/content/data/not")] == [["there"], ["yet"], ["x"]]
    inner.unmount()
    assert os.listdir("/content/data/sub") == ["hidden"]
    deep.unmount()
    assert sorted(os.listdir("/content/data")) == ["file", "sub"]


@pytest.mark.parametrize(("if_exists", "seen"), [("overlay", ["x"]), ("local", ["on-disk"])], ids=["overlay", "local"])
def test_directory_on_disk(
    mount: Any, server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, if_exists: str, seen: list[str]
) -> None:
    """A real directory at root_dir is shadowed, with one warning if it is not empty; or used instead, if asked for."""
    (tmp_path / "on-disk").write_text("real")
    server.put("data", "x", b"1")
    point = mount(root_dir=str(tmp_path), if_exists=if_exists)
    assert os.listdir(tmp_path) == seen
    assert point.is_local is (if_exists == "local")
    shadowed = [record.getMessage() for record in caplog.records if "shadowed" in record.getMessage()]
    assert len(shadowed) == (if_exists == "overlay")
    point.unmount()
    assert os.listdir(tmp_path) == ["on-disk"]


def test_directory_on_disk_can_be_an_error(mount: Any, tmp_path: Path) -> None:
    """if_exists="error" refuses to mount over a directory on disk."""
    with pytest.raises(FileExistsError, match="if_exists"):
        mount(root_dir=str(tmp_path), if_exists="error")


def test_root_dir_is_never_made_on_disk(mount: Any, tmp_path: Path) -> None:
    """Parents of a mount point that do not exist on disk are synthesised, and root_dir is never created there."""
    point = mount(root_dir=str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    assert os.path.realpath(tmp_path / "a", strict=True) == str(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]
    point.unmount()
    assert os.listdir(tmp_path) == []


def test_refresh_shows_what_changed(mount: Any, server: Any) -> None:
    """A listing is the file system until refresh(), which lists all names or those below one directory again."""
    server.put("data", "d/one", b"1")
    server.put("data", "e/one", b"1")
    point = mount()
    server.put("data", "d/two", b"22")
    server.put("data", "e/two", b"22")
    assert os.listdir("/content/data/d") == ["one"]
    point.refresh("/content/data/d")
    assert os.listdir("/content/data/d") == ["one", "two"]
    assert os.listdir("/content/data/e") == ["one"]
    point.refresh()
    assert os.listdir("/content/data/e") == ["one", "two"]
    assert os.stat("/content/data/e/two").st_size == 2
    with pytest.raises(ValueError, match="does not lie below the mount point"):
        point.refresh("/elsewhere")


def test_metrics_count_requests_and_bytes(mount: Any, server: Any) -> None:
    """metrics() tells requests and bytes by purpose, of one mount or of all."""
    server.put("data", "x", b"12345")
    point = mount()
    Path("/content/data/x").read_bytes()
    assert point.metrics()["requests.read"] == 1
    assert vfsoverlay.metrics()["bytes.read"] == 5
