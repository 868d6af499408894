"""The Lightning door without Lightning: duck-typed works, options, executors and paths."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay import lightning
from vfsoverlay.testing import S3Server

SOURCE = "s3://ryft-public-sample-data/esRedditJson/"
ROOT = "/content/esRedditJson"


def work(mounts: Any) -> SimpleNamespace:
    """A work as far as the door looks at it."""
    return SimpleNamespace(cloud_compute=SimpleNamespace(mounts=mounts))


def declared(path_name: str = "mount_path", path: str = ROOT, source: str = SOURCE) -> SimpleNamespace:
    """A mount as an app declares it."""
    return SimpleNamespace(source=source, **{path_name: path})


@pytest.fixture(autouse=True)
def _nothing_stays_mounted() -> Iterator[None]:
    yield
    for point in vfsoverlay.mounts():
        point.unmount()


@pytest.fixture
def options(server: S3Server) -> lightning.SourceOptions:
    """What makes mounts find the server."""
    return {"s3://": server.mount_options()}


class Executor:
    """A run executor as Lightning's: made for a run, then called."""

    enable_start_observer = False

    def __init__(self, work: Any, work_run: Any, delta_queue: Any) -> None:
        self.work_run = work_run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.work_run(*args, **kwargs)


@pytest.mark.parametrize("path_name", ["mount_path", "root_dir"])
@pytest.mark.parametrize("container", [lambda mount: mount, lambda mount: [mount], lambda mount: (mount,)])
def test_a_work_declares_mounts_in_any_shape(path_name: str, container: Any, options: lightning.SourceOptions) -> None:
    """A work's mounts may be one, a list or a tuple, and name their place mount_path or root_dir."""
    (point,) = lightning.mount_work(work(container(declared(path_name))), options)
    assert (point.source, point.root_dir) == (SOURCE, ROOT)
    assert os.listdir(ROOT) == [f"esRedditJson{number}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("mounts", [None, [], ()])
def test_a_work_may_declare_nothing(mounts: Any) -> None:
    """A work without mounts, or with an empty list of them, mounts nothing."""
    assert lightning.mount_work(work(mounts)) == ()
    assert lightning.mount_work(SimpleNamespace()) == ()


def test_an_empty_path_is_the_default(options: lightning.SourceOptions) -> None:
    """A declared mount with an empty path appears at /data and the last folder of its source."""
    (point,) = lightning.mount_work(work(declared(path="")), options)
    assert point.root_dir == "/data/esRedditJson"


def test_several_mounts_are_all_made_or_none(options: lightning.SourceOptions) -> None:
    """If one of a work's mounts cannot be made, none is, and the error says why."""
    with pytest.raises(vfsoverlay.errors.CannotAccessSource) as caught:
        lightning.mount_work(work([declared(), declared(path="/content/no", source="s3://no-such-bucket/")]), options)
    assert caught.value.reason == "bucket-missing"
    assert vfsoverlay.mounts() == ()


def test_the_more_specific_options_win(server: S3Server) -> None:
    """Options of a longer source override those of a shorter one, which override those for all sources."""
    options = {
        "": {**server.mount_options(), "max_objects": 1, "file_mode": 0o400},
        "s3://ryft-public-sample-data/": {"max_objects": 2},
        SOURCE: {"max_objects": 4},
        "s3://another/": {"max_objects": 3},
    }
    (point,) = lightning.mount_work(work(declared()), options)
    assert (point.spec.option("max_objects"), point.spec.option("file_mode")) == (4, 0o400)


def test_a_local_sample_is_used_if_asked_for(tmp_path: Any, options: lightning.SourceOptions) -> None:
    """With if_exists="local" a directory at the mount point is used as it is, and nothing is mounted."""
    (tmp_path / "sample").write_text("of my own")
    local = {**options, SOURCE: {"if_exists": "local"}}
    (point,) = lightning.mount_work(work(declared(path=str(tmp_path))), local)
    assert point.is_local
    assert os.listdir(tmp_path) == ["sample"]


def test_an_executor_mounts_before_the_run(options: lightning.SourceOptions) -> None:
    """The composed executor mounts when the run begins, passes arguments and result through, and lists once."""
    executor = lightning.MountingExecutor(Executor, options)
    run = executor(work(declared()), lambda *args, **kwargs: (os.listdir(ROOT)[0], args, kwargs), None)
    assert vfsoverlay.mounts() == ()
    assert run(1, a=2) == ("esRedditJson1", (1,), {"a": 2})
    assert run() == ("esRedditJson1", (), {})
    assert vfsoverlay.metrics()["requests.list"] == 1


def test_an_executor_travels_with_its_class_and_options(options: lightning.SourceOptions) -> None:
    """The composed executor is picklable, and shows the class attributes of the executor inside it."""
    copy = pickle.loads(pickle.dumps(lightning.MountingExecutor(Executor, options)))
    assert (copy.inner, copy.options, copy.enable_start_observer) == (Executor, options, False)


def test_a_failing_mount_is_the_failure_of_the_run(options: lightning.SourceOptions) -> None:
    """Where a mount cannot be made, the run raises our error and the user's code is not called."""
    limited = {**options, SOURCE: {"max_objects": 3}}
    run = lightning.MountingExecutor(Executor, limited)(work(declared()), lambda: pytest.fail("was called"), None)
    with pytest.raises(vfsoverlay.errors.TooManyObjects, match="max_objects"):
        run()


def test_paths_of_a_studio_are_mounted_together(server: S3Server) -> None:
    """mount_paths mounts every source at its path, with options by source and for all of them."""
    weather = "s3://ryft-public-sample-data/weather/"
    points = lightning.mount_paths(
        {"/teamspace/s3_connections/x": SOURCE, "/teamspace/s3_connections/y": weather},
        options={weather: {"file_mode": 0o400}},
        **server.mount_options(),
    )
    assert [(point.source, point.spec.option("file_mode")) for point in points] == [(SOURCE, 0o444), (weather, 0o400)]
    assert os.listdir("/teamspace/s3_connections") == ["x", "y"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"options": {"s3://bucket": {}}}, ValueError, "slash at its end"),
        ({"options": {"s3://bucket/": {"max_object": 1}}}, TypeError, "did you mean 'max_objects'"),
        ({"options": {"s3://bucket/": {"max_objects": 0}}}, ValueError, "above 0"),
        ({"if_exist": "local"}, TypeError, "did you mean 'if_exists'"),
    ],
)
def test_wrong_options_fail_where_they_are_given(arguments: Any, error: type[Exception], message: str) -> None:
    """install() and mount_paths() refuse unknown options and values at once, not in a work."""
    for call in (lightning.install, lambda **given: lightning.mount_paths({}, **given)):
        with pytest.raises(error, match=message):
            call(**arguments)


def test_the_door_is_light() -> None:
    """Importing the door loads neither Lightning nor wrapt, and install() does not load Lightning."""
    code = """if True:
        import sys, vfsoverlay.lightning
        assert not {"wrapt", "asyncio", "lightning_app", "lightning", "botocore"} & set(sys.modules)
        vfsoverlay.lightning.install(compat=True)
        vfsoverlay.lightning.is_installed()
        assert not {"lightning_app", "lightning", "botocore", "multiprocessing.spawn"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
