"""Bad input gets its own clear error from mount(), and nothing is left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay import errors


@pytest.fixture(autouse=True)
def _nothing_patched() -> Iterator[None]:
    before = (os.stat, open, os.listdir)
    yield
    assert (os.stat, open, os.listdir) == before
    assert vfsoverlay.mounts() == ()


@pytest.mark.parametrize(
    ("source", "root_dir", "options", "kind", "message"),
    [
        ("nope://x/", "/m", {}, ValueError, "Unknown protocol"),
        ("S3://x/", "/m", {}, ValueError, "lower case"),
        ("bucket/prefix/", "/m", {}, ValueError, "Unknown protocol"),
        ("s3://data", "/m", {}, ValueError, "trailing slash"),
        ("s3://data/prefix", "/m", {}, ValueError, "trailing slash"),
        ("s3://", "/m", {}, ValueError, "names no bucket"),
        ("s3:///x/", "/m", {}, ValueError, "names no bucket"),
        ("s3://data/", "relative", {}, ValueError, "absolute path"),
        ("s3://data/", "~/x", {}, ValueError, "absolute path"),
        ("s3://data/", "/", {}, ValueError, "must not be '/'"),
        ("s3://data/", "/a/../b", {}, ValueError, r"must not contain '\.\.'"),
        ("s3://data/", "/m", {"annon": True}, TypeError, "did you mean 'anon'"),
        ("s3://data/", "/m", {"max_objects": 0}, ValueError, "max_objects"),
        ("s3://data/", "/m", {"cache_size": "lots"}, ValueError, "not a size"),
        ("s3://data/", "/m", {"if_exists": "maybe"}, ValueError, "'overlay', 'local', 'error'"),
        (b"s3://data/", "/m", {}, TypeError, "has no attribute 'source'|is a text"),
    ],
)
def test_rules_of_the_spec(
    source: Any, root_dir: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """A broken rule of source, root_dir or an option is a ValueError or TypeError that says which."""
    with pytest.raises(kind, match=message):
        vfsoverlay.mount(source, root_dir, **options)


def test_two_names_of_the_mount_point_must_agree() -> None:
    """root_dir and mount_path are two names of one thing; differing values are a TypeError."""
    with pytest.raises(TypeError, match="two names of one thing"):
        vfsoverlay.mount("s3://data/", "/a", mount_path="/b")


def test_missing_bucket(server: Any) -> None:
    """A bucket that does not exist is CannotAccessSource with reason bucket-missing."""
    with pytest.raises(errors.CannotAccessSource, match="no-such-bucket") as caught:
        vfsoverlay.mount("s3://no-such-bucket/", "/m", **server.mount_options())
    assert caught.value.reason == "bucket-missing"


def test_denied_listing(server: Any) -> None:
    """A bucket that may not be listed is CannotAccessSource with reason access-denied or no-credentials."""
    server.create_bucket("private")
    with pytest.raises(errors.CannotAccessSource, match="s3:ListBucket on s3://private/") as caught:
        vfsoverlay.mount("s3://private/", "/m", endpoint_url=server.url, anon=True)
    assert caught.value.reason in ("access-denied", "no-credentials")


def test_unreachable_endpoint() -> None:
    """An endpoint where nothing listens is CannotAccessSource with reason unreachable, and names it."""
    with pytest.raises(errors.CannotAccessSource, match=r"127\.0\.0\.1:9") as caught:
        vfsoverlay.mount("s3://data/", "/m", endpoint_url="http://127.0.0.1:9", anon=True)
    assert caught.value.reason == "unreachable"


def test_limits(mount: Any, server: Any) -> None:
    """A mount beyond a limit fails before any user code runs and says how to go on."""
    for number in range(4):
        server.put("data", f"k{number}", b"x" * number)
    with pytest.raises(errors.TooManyObjects, match=r"more than 3 objects.*max_objects"):
        mount(max_objects=3)
    with pytest.raises(errors.ObjectTooLarge, match="'k3' has 3 bytes") as caught:
        mount(max_object_size=2)
    assert (caught.value.key, caught.value.size) == ("k3", 3)
    mount(max_objects=4, max_object_size=3)


def test_root_dir_that_is_a_file(mount: Any, tmp_path: Path) -> None:
    """A root_dir that is a file, or lies below one, is NotADirectoryError naming that file."""
    file = tmp_path / "file"
    file.write_text("x")
    for root_dir in (file, file / "below"):
        with pytest.raises(NotADirectoryError) as caught:
            mount(root_dir=str(root_dir))
        assert caught.value.filename == str(file)


@pytest.mark.parametrize("where", ["/proc/nowhere", "file/below"])
def test_cache_directory_that_cannot_be_made(mount: Any, tmp_path: Path, where: str) -> None:
    """A cache_dir that cannot be written is an OSError naming it and the option."""
    (tmp_path / "file").write_text("x")
    cache_dir = where if where.startswith("/") else str(tmp_path / where)
    with pytest.raises(OSError, match=r"cache directory cannot be used.*cache_dir="):
        mount(cache_dir=cache_dir)


def test_cache_directory_below_a_mount_point(mount: Any, tmp_path: Path) -> None:
    """A cache_dir below a mount point, this one or another, is refused: the cache would cache itself."""
    root_dir = str(tmp_path / "mnt")
    with pytest.raises(OSError, match=f"lies below the mount point {root_dir}"):
        mount(root_dir=root_dir, cache_dir=f"{root_dir}/cache")
    point = mount(root_dir=root_dir)
    with pytest.raises(OSError, match="lies below the mount point"):
        mount(root_dir="/content/other", cache_dir=f"{root_dir}/cache")
    point.unmount()
