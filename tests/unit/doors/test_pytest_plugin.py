"""vfsoverlay.pytest_plugin, seen from the tests of a user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from vfsoverlay import mount
from vfsoverlay.testing import S3Server

PLUGIN = ("-p", "vfsoverlay.pytest_plugin")

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load all of the package once: pytester forgets what inner runs import, and would load it anew in each."""
    with S3Server() as server:
        server.create_bucket("bucket", public=True)
        server.put("bucket", "key")
        cache = str(tmp_path_factory.mktemp("cache"))
        with mount("s3://bucket/", "/content/once", cache_dir=cache, **server.mount_options()):
            assert Path("/content/once/key").read_bytes() == b""
        source = f"file://{tmp_path_factory.mktemp('empty')}/"
        with mount(source, "/content/once", cache_dir=cache):
            pass


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner runs load this plugin only: others cost a second each, and would be tested with it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run a test file with the plugin."""

    def run_inside(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess(*PLUGIN, *arguments)

    return run_inside


def test_the_factory_mounts_until_the_end_of_the_test(run: Run) -> None:
    """``vfs_mount`` mounts when it is called and unmounts at the end of the test, also of one that fails."""
    result = run("""
        import os, vfsoverlay
        from pathlib import Path

        def test_reads(vfs_bucket, vfs_mount):
            bucket = vfs_bucket({"a/b.txt": "hello", "c": b"x"})
            point = vfs_mount(bucket.url, "/content/here", **bucket.options)
            assert vfsoverlay.mounts() == (point,)
            assert Path("/content/here/a/b.txt").read_text() == "hello"
            assert sorted(os.listdir("/content/here")) == ["a", "c"]
            assert False, "on purpose"

        def test_later():
            assert vfsoverlay.mounts() == ()
            assert not os.path.exists("/content/here")
        """)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*on purpose*"])


def test_an_embedded_bucket_counts_and_fails(run: Run) -> None:
    """``vfs_bucket`` counts requests, lets them fail on demand, and can be mounted as it is."""
    run("""
        from pathlib import Path
        from vfsoverlay.testing import Fault

        def test_counts(vfs_bucket, vfs_mount):
            bucket = vfs_bucket({"data": b"12345"}, name="mine")
            assert bucket.url == "s3://mine/"
            vfs_mount(bucket, "/content/here")
            assert bucket.requests("get") == []
            bucket.fail(Fault.slow_down(times=1, purpose="get"))
            assert Path("/content/here/data").read_bytes() == b"12345"
            assert [r.status for r in bucket.requests("get", key="data")] == [503, 200]

        def test_is_new(vfs_bucket):
            assert vfs_bucket(name="mine").requests() == []
        """).assert_outcomes(passed=2)


def test_a_bucket_is_filled_from_a_directory(run: Run, pytester: pytest.Pytester) -> None:
    """A directory becomes a bucket: relative paths are the keys."""
    (pytester.mkdir("data") / "one.txt").write_text("1")
    (pytester.mkdir("data/deep") / "two.txt").write_text("2")
    run("""
        from pathlib import Path

        def test_directory(vfs_bucket, vfs_mount):
            vfs_mount(vfs_bucket("data"), "/content/here")
            assert Path("/content/here/one.txt").read_text() + Path("/content/here/deep/two.txt").read_text() == "12"
        """).assert_outcomes(passed=1)


MARKED = """
    import os, pytest, unittest, vfsoverlay
    from pathlib import Path

    @pytest.fixture(scope="module", autouse=True)
    def directory(tmp_path_factory):
        path = tmp_path_factory.mktemp("data")
        for name in ("one", "two"):
            (path / name).mkdir()
            (path / name / "file").write_text(name)
        os.symlink(path, "data")

    @pytest.fixture
    def early():
        return Path("/content/one/file").read_text()

    ONE = pytest.mark.vfs_mount(f"file://{os.getcwd()}/data/one/", "/content/one")
    TWO = pytest.mark.vfs_mount(f"file://{os.getcwd()}/data/two/", root_dir="/content/two", max_objects=5)
"""


def test_a_marker_mounts_around_a_test(run: Run) -> None:
    """``@pytest.mark.vfs_mount`` mounts before the fixtures of the test, several markers all together."""
    run(
        MARKED
        + """
    @ONE
    @TWO
    def test_both(early):
        assert early == "one"
        assert Path("/content/two/file").read_text() == "two"
        assert [p.root_dir for p in vfsoverlay.mounts()] == ["/content/two", "/content/one"]
        assert vfsoverlay.mounts()[0].spec.option("max_objects") == 5

    @pytest.mark.parametrize("name", ["one", pytest.param("two", marks=TWO)])
    @ONE
    def test_parameters(name):
        assert Path(f"/content/{name}/file").read_text() == name

    @ONE
    class TestClass:
        def test_method(self):
            assert os.path.isfile("/content/one/file")

    @ONE
    class TestUnit(unittest.TestCase):
        def setUp(self):
            self.text = Path("/content/one/file").read_text()

        def test_method(self):
            self.assertEqual(self.text, "one")

    def test_unmarked():
        assert vfsoverlay.mounts() == ()
    """,
        "--strict-markers",
    ).assert_outcomes(passed=6)


def test_a_marker_that_cannot_be_mounted_is_an_error_of_its_test(run: Run) -> None:
    """A wrong source in a marker is reported at the set-up of that test, and leaves nothing mounted."""
    result = run(
        MARKED
        + """
    @ONE
    @pytest.mark.vfs_mount("s3://bucket/without-slash", "/content/x")
    def test_wrong():
        raise AssertionError("never run")

    def test_other():
        assert vfsoverlay.mounts() == ()
    """
    )
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["vfs_mount: *must end in a trailing slash*"])
    assert "vfsoverlay/_spec.py" not in result.stdout.str()


def test_reports_meet_the_real_files(run: Run, pytester: pytest.Pytester) -> None:
    """The report of a failing test shows its real source, even where a mount shadows the directory of the tests."""
    pytester.makeconftest("""
        import os, threading, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_exception_interact(node):
            pass

        @pytest.hookimpl(wrapper=True, trylast=True)
        def pytest_runtest_makereport(item, call):
            seen = [os.path.exists("/content/here/data")]
            thread = threading.Thread(target=lambda: seen.append(os.path.exists("/content/here/data")))
            thread.start()
            thread.join()
            if call.when == "call":
                print("reporter and other thread see the mount:", *seen)
            return (yield)
        """)
    result = run(
        """
        import os

        def test_shadowed(vfs_bucket, vfs_mount):
            bucket = vfs_bucket({"data": "x"})
            vfs_mount(bucket, "/content/here")
            vfs_mount(bucket, os.path.dirname(__file__))
            assert os.listdir(os.path.dirname(__file__)) == ["data"]
            local = 41
            assert local == 42, "on purpose"
        """,
        "-s",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*reporter and other thread see the mount: False True", "*assert local == 42*"])


def test_a_traceback_through_a_mount_shows_its_lines(run: Run) -> None:
    """Source that lies in a mount is shown in the traceback of a failing test."""
    result = run("""
        import sys

        def test_imports(vfs_bucket, vfs_mount, monkeypatch):
            source = "def fail():\\n    raise ValueError('deep inside')\\n"
            vfs_mount(vfs_bucket({"moved_module.py": source}), "/content/x")
            monkeypatch.syspath_prepend("/content/x")
            import moved_module
            try:
                moved_module.fail()
            except ValueError as error:
                raise RuntimeError("outside") from error
        """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*raise ValueError('deep inside')", "*RuntimeError: outside"])


@pytest.mark.skipif("TESTS_ON_WHEEL" not in os.environ, reason="the package is not installed, see tox.ini")
def test_the_plugin_is_installed() -> None:
    """Installing the package is enough: pytest finds the plugin by its entry point."""
    assert [found.value for found in entry_points(group="pytest11", name="vfsoverlay")] == ["vfsoverlay.pytest_plugin"]


def test_an_unused_plugin_loads_nothing(pytester: pytest.Pytester) -> None:
    """A run that uses neither fixture nor marker loads nothing of the package but the plugin itself."""
    pytester.makepyfile("""
        import sys

        def test_nothing():
            ours = {name for name in sys.modules if name.partition(".")[0] == "vfsoverlay"}
            assert ours <= {"vfsoverlay", "vfsoverlay.pytest_plugin"}
            assert not {"wrapt", "fsspec", "s3fs", "botocore", "diskcache", "urllib3"} & set(sys.modules)
        """)
    result = pytester.run(sys.executable, "-m", "pytest", *PLUGIN)
    result.assert_outcomes(passed=1)


@pytest.mark.slow
def test_it_works_with_xdist(run: Run, pytester: pytest.Pytester) -> None:
    """Workers of pytest-xdist have servers and mounts of their own."""
    pytest.importorskip("xdist")
    pytester.makepyfile("""
        import pytest
        from pathlib import Path

        @pytest.mark.parametrize("number", range(4))
        def test_reads(vfs_bucket, vfs_mount, number):
            vfs_mount(vfs_bucket({"data": str(number)}), "/content/here")
            assert Path("/content/here/data").read_text() == str(number)
        """)
    result = pytester.runpytest_subprocess("-p", "xdist", *PLUGIN, "-n", "2")
    result.assert_outcomes(passed=4)
