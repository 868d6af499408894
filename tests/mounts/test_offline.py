"""Mounts that make no request, and recordings that let them work on another machine."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay._vfs.recording import load_recording, save_recording
from vfsoverlay.errors import CannotAccessSource, StoreUnavailable

LARGE = bytes(range(256)) * (3 * 4096)
"""3 MiB: more than arrives with one GET, so that it can be there in part."""


@pytest.fixture
def used(mount: Any) -> Any:
    """A mount that has been read from: a small object whole, the middle of a large one, one not at all."""
    mount.server.put("data", "p/small", b"small")
    mount.server.put("data", "p/empty", b"")
    mount.server.put("data", "p/large", LARGE)
    mount.server.put("data", "p/other", b"other")
    with mount("p/"):
        read_what_was_read()
    return mount


def read_what_was_read() -> None:
    assert Path("/content/data/small").read_bytes() == b"small"
    assert Path("/content/data/empty").read_bytes() == b""
    with open("/content/data/large", "rb") as file:
        file.seek(1_000_000)
        assert file.read(100) == LARGE[1_000_000:1_000_100]


def test_offline_serves_what_is_cached(used: Any) -> None:
    """offline=True makes no request: names come from the newest listing in the cache, bytes from the cache."""
    used.server.requests.reset()
    with used("p/", offline=True, listing="lazy"):
        assert sorted(os.listdir("/content/data")) == ["empty", "large", "other", "small"]
        assert os.path.getsize("/content/data/other") == 5
        read_what_was_read()
    assert used.server.requests.select() == []


def test_offline_refuses_what_is_not_cached(used: Any) -> None:
    """What is missing raises StoreUnavailable that names the object, the path and the option."""
    used.server.requests.reset()
    with used("p/", offline=True):
        with pytest.raises(StoreUnavailable, match=r"s3://data/p/other is not in the cache .* offline=True") as caught:
            open("/content/data/other").close()
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, "/content/data/other")
        with open("/content/data/large", "rb") as file, pytest.raises(StoreUnavailable, match="bytes 0 to"):
            file.read(10)
    assert used.server.requests.select() == []


@pytest.mark.parametrize("listing", ["eager", "lazy"])
def test_offline_needs_a_listing(mount: Any, listing: str) -> None:
    """A source that was never listed cannot be mounted offline; the error says what to do."""
    with pytest.raises(CannotAccessSource, match=r"no listing of s3://data/p/ is in the cache.*index=FILE") as caught:
        mount("p/", offline=True, listing=listing)
    assert caught.value.reason == "offline"
    assert vfsoverlay.mounts() == ()


def test_refresh_offline_changes_nothing(used: Any) -> None:
    """refresh() of an offline mount is refused, and the names stay."""
    with used("p/", offline=True) as point:
        with pytest.raises(CannotAccessSource):
            point.refresh()
        assert os.path.exists("/content/data/small")


@pytest.mark.parametrize(
    ("text", "option", "offline"), [("1", None, True), ("0", None, False), ("yes", False, False), ("", True, True)]
)
def test_the_environment_takes_mounts_offline(
    used: Any, monkeypatch: pytest.MonkeyPatch, text: str, option: bool | None, offline: bool
) -> None:
    """$VFSOVERLAY_OFFLINE decides for mounts that do not set the option."""
    monkeypatch.setenv("VFSOVERLAY_OFFLINE", text)
    used.server.requests.reset()
    with used("p/", offline=option):
        assert Path("/content/data/small").read_bytes() == b"small"
    assert (used.server.requests.count("list") == 0) is offline


def test_the_environment_is_clear_about_offline(mount: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value of the variable is an error, not a guess."""
    monkeypatch.setenv("VFSOVERLAY_OFFLINE", "maybe")
    with pytest.raises(ValueError, match="VFSOVERLAY_OFFLINE is 1 or 0, not 'maybe'"):
        mount()


def cache_dir() -> str:
    return os.environ["VFSOVERLAY_CACHE_DIR"]


def test_a_recording_is_a_cache_elsewhere(used: Any, tmp_path: Path) -> None:
    """A recording has the listing and the fetched bytes, partial objects included, and serves them offline."""
    objects, size = save_recording(cache_dir(), f"{tmp_path}/file")
    assert objects == 3
    assert size == (tmp_path / "file").stat().st_size < len(LARGE)
    shutil.rmtree(cache_dir())
    load_recording(f"{tmp_path}/file", f"{tmp_path}/cache")
    used.server.requests.reset()
    with used("p/", offline=True, cache_dir=f"{tmp_path}/cache") as point:
        assert sorted(os.listdir("/content/data")) == ["empty", "large", "other", "small"]
        read_what_was_read()
        with pytest.raises(StoreUnavailable):
            open("/content/data/other").close()
        assert point.cache.check().is_clean
    assert used.server.requests.select() == []


def test_a_recording_of_nothing(tmp_path: Path) -> None:
    """A run that mounted nothing makes a recording as well."""
    assert save_recording(f"{tmp_path}/absent", f"{tmp_path}/file")[0] == 0
    load_recording(f"{tmp_path}/file", f"{tmp_path}/cache")
    assert not (tmp_path / "cache").exists()


def test_a_damaged_recording_is_refused(used: Any, tmp_path: Path) -> None:
    """A file that is no recording, or one that was changed, raises ValueError; a changed name leads nowhere else."""
    file = tmp_path / "file"
    save_recording(cache_dir(), str(file))
    whole = file.read_bytes()
    damaged = [b"", b"no archive", whole[:-40], whole.replace(b"recording 1", b"recording 9")]
    for number, content in enumerate(damaged):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="is no recording of this version"):
            load_recording(str(file), f"{tmp_path}/cache-{number}")


def test_a_recording_cannot_write_elsewhere(tmp_path: Path) -> None:
    """Names in a recording that lead out of the cache directory are refused before anything is written."""
    import json
    from zipfile import ZipFile

    from vfsoverlay._vfs import recording

    with ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("recording.json", json.dumps({"mark": recording._MARK, "files": {"objects/00/../../x": 1}}))
    with pytest.raises(ValueError, match="names files that no cache has"):
        load_recording(f"{tmp_path}/file", f"{tmp_path}/cache")
    assert os.listdir(tmp_path) == ["file"]
