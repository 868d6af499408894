"""Options of vfsoverlay.pytest_plugin that concern a whole run: mounts, no network, recordings, the summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vfsoverlay
from vfsoverlay.pytest_plugin.session import summary
from vfsoverlay.testing import S3Server

PLUGIN = ("-p", "vfsoverlay.pytest_plugin")

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        running.create_bucket("bucket")
        running.put("bucket", "data/one", b"one")
        running.put("bucket", "data/two", b"two")
        yield running


@pytest.fixture(autouse=True)
def _reachable(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is what the environment says; plugins that others have installed stay out."""
    server.requests.reset()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run test files with the plugin; afterwards nothing of the run is left."""

    def run_inside(*arguments: str) -> pytest.RunResult:
        before = dict(os.environ)
        result = pytester.runpytest_inprocess(*PLUGIN, *arguments)
        assert vfsoverlay.mounts() == ()
        assert {name for name in before.items() ^ os.environ.items() if name[0].startswith("VFS")} == set()
        return result

    return run_inside


READS_ONE = """
    import pytest
    from pathlib import Path

    @pytest.mark.vfs_mount("s3://bucket/data/", "/content/data", listing="lazy", cache_dir="elsewhere")
    def test_one():
        assert Path("/content/data/one").read_text() == "one"
    """

READS_BOTH = (
    READS_ONE
    + """
    def test_two(vfs_mount):
        vfs_mount("s3://bucket/data/", "/content/data")
        assert Path("/content/data/two").read_text() == "two"
    """
)


@pytest.mark.parametrize("form", ["ini", "pyproject"])
def test_mounts_of_a_whole_run(form: str, run: Run, pytester: pytest.Pytester) -> None:
    """vfs_mounts in an ini file or pyproject.toml mounts before tests are collected, until the run ends."""
    if form == "ini":
        pytester.makeini("""
            [pytest]
            vfs_mounts =
                s3://bucket/data/:/content/data max_objects=5 listing=lazy
                s3://bucket/
            """)
    else:
        pytester.makepyprojecttoml("""
            [tool.pytest.ini_options]
            vfs_mounts = ["s3://bucket/data/:/content/data max_objects=5 listing=lazy", "s3://bucket/"]
            """)
    pytester.makepyfile("""
        import os, pytest, vfsoverlay
        from pathlib import Path

        @pytest.mark.parametrize("name", sorted(os.listdir("/content/data")))
        def test_all(name):
            assert Path(f"/content/data/{name}").read_text() == name
            assert Path(f"/data/bucket/data/{name}").read_text() == name

        def test_options():
            assert vfsoverlay.mounts()[0].spec.options == {"max_objects": 5, "listing": "lazy"}
        """)
    run().assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s3://bucket/data:/content", "must end in a trailing slash"),
        ("s3://absent/:/content", "s3://absent/"),
        ("s3://bucket/ cache_sise=1", "did you mean 'cache_size'?"),
    ],
)
def test_a_mount_of_the_run_that_fails(line: str, message: str, run: Run, pytester: pytest.Pytester) -> None:
    """A mount of the configuration that cannot be made ends the run with one line and the code of usage errors."""
    pytester.makeini(f"[pytest]\nvfs_mounts = s3://bucket/data/:/content/data\n  {line}\n")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: vfs_mounts: *{message}*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_offline_uses_the_cache_only(run: Run, pytester: pytest.Pytester, server: S3Server) -> None:
    """--vfs-offline makes no request: a miss fails the test, naming the object; an embedded bucket needs no network."""
    with vfsoverlay.mount("s3://bucket/data/", "/content/data"):
        assert Path("/content/data/one").read_bytes() == b"one"
    server.requests.reset()
    pytester.makepyfile("""
        from pathlib import Path

        def test_one(vfs_mount):
            vfs_mount("s3://bucket/data/", "/content/data")
            assert Path("/content/data/one").read_text() == "one"

        def test_two(vfs_mount):
            vfs_mount("s3://bucket/data/", "/content/data")
            Path("/content/data/two").read_text()

        def test_embedded(vfs_bucket, vfs_mount):
            vfs_mount(vfs_bucket({"key": "made up"}), "/content/here")
            assert Path("/content/here/key").read_text() == "made up"
        """)
    result = run("--vfs-offline")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*StoreUnavailable*s3://bucket/data/two is not in the cache*"])
    assert len(server.requests) == 0


def test_a_recording_replays_without_a_network(run: Run, pytester: pytest.Pytester, server: S3Server) -> None:
    """--vfs-record keeps what the tests touched in one file, and --vfs-replay serves just that, with no request."""
    pytester.makepyfile(READS_ONE)
    result = run("--vfs-record", "run.vfs")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"vfsoverlay: recorded 1 object in {pytester.path}/run.vfs (*)"])
    assert not (pytester.path / "elsewhere").exists()
    server.requests.reset()
    pytester.makepyfile(READS_BOTH)
    result = run("--vfs-replay", "run.vfs")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*s3://bucket/data/two is not in the cache*"])
    assert len(server.requests) == 0


def test_a_failed_run_records_nothing(run: Run, pytester: pytest.Pytester) -> None:
    """A run in which not all tests passed leaves an earlier recording as it is, and says so."""
    pytester.makepyfile("def test_fails(): assert False")
    (pytester.path / "run.vfs").write_text("earlier")
    run("--vfs-record", "run.vfs").stdout.fnmatch_lines(["vfsoverlay: nothing was recorded in */run.vfs, since not *"])
    assert (pytester.path / "run.vfs").read_text() == "earlier"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vfs-offline", "--vfs-record", "f"], "exclude each other"),
        (["--vfs-replay", "absent"], "--vfs-replay: No such file or directory: */absent"),
        (["--vfs-replay", "wrong"], "--vfs-replay: */wrong is no recording of this version"),
    ],
)
def test_options_that_cannot_be_are_told(
    arguments: list[str], message: str, run: Run, pytester: pytest.Pytester
) -> None:
    """Options that contradict each other, and a file that is no recording, end the run with one line."""
    (pytester.path / "wrong").write_text("something else")
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{message}*"])


def test_the_summary(run: Run, pytester: pytest.Pytester) -> None:
    """--vfs-summary says at the end what all mounts of the run together have asked for, ended ones included."""
    pytester.makepyfile(READS_BOTH.replace(', listing="lazy", cache_dir="elsewhere"', ""))
    result = run("--vfs-summary")
    result.stdout.fnmatch_lines(["vfsoverlay: 4 requests (2 of them listings), * KiB fetched, 0 hits, 2 misses"])


def test_a_summary_counts_what_was_fetched() -> None:
    """Bytes that readers asked for, or that came in vain, are not counted a second time."""
    counts = {
        "requests.list": 1,
        "requests.read": 2,
        "bytes.read": 2048,
        "bytes.asked": 9,
        "bytes.wasted": 9,
        "hits": 3,
    }
    assert summary(counts) == "3 requests (1 of them listings), 2.0 KiB fetched, 3 hits, 0 misses"


@pytest.mark.slow
def test_workers_record_and_replay_together(pytester: pytest.Pytester, server: S3Server) -> None:
    """With pytest-xdist the source is listed once, and what workers record and count is one file and one line."""
    pytest.importorskip("xdist")
    pytester.makeini("[pytest]\nvfs_mounts = s3://bucket/data/:/content/data\n")
    pytester.makepyfile("""
        import pytest
        from pathlib import Path

        @pytest.mark.parametrize("name", ["one", "two"])
        def test_reads(name):
            assert Path(f"/content/data/{name}").read_text() == name
        """)
    arguments = ("-p", "xdist", *PLUGIN, "--vfs-summary")
    result = pytester.runpytest_subprocess(*arguments, "-n", "2", "--vfs-record", "run.vfs")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["vfsoverlay: 3 requests (1 of them *", "vfsoverlay: recorded 2 objects in *"])
    assert (server.requests.count("list"), server.requests.count("get")) == (1, 2)
    server.requests.reset()
    result = pytester.runpytest_subprocess(*arguments, "-n", "1", "--vfs-replay", "run.vfs")
    result.assert_outcomes(passed=2)
    assert len(server.requests) == 0


@pytest.mark.parametrize(
    "workers", [pytest.param([], id="alone"), pytest.param(["-p", "xdist", "-n", "2"], id="xdist")]
)
def test_a_report_of_the_run_meets_no_mount(
    pytester: pytest.Pytester, workers: tuple[str, ...], tmp_path: Path
) -> None:
    """A JUnit file is written to the disk where a mount of the run covers its place; conftest.py sees the mount."""
    if workers:
        pytest.importorskip("xdist")
    pytester.makeini(f"[pytest]\nvfs_mounts = s3://bucket/data/:{tmp_path}\ncache_dir = {tmp_path}/cache\n")
    pytester.makeconftest(f"""
        import os

        def pytest_sessionfinish():
            print("conftest sees", sorted(os.listdir({str(tmp_path)!r})))
        """)
    pytester.makepyfile(f"""
        import os
        import pytest

        @pytest.fixture(scope="session")
        def ends_late():
            yield
            assert os.path.exists("{tmp_path}/one")

        def test_one(ends_late):
            assert sorted(os.listdir({str(tmp_path)!r})) == ["one", "two"]
            assert False, "on purpose"
        """)
    result = pytester.runpytest_subprocess(*PLUGIN, *workers, "-s", "-x", f"--junitxml={tmp_path}/out.xml")
    result.assert_outcomes(failed=1)
    assert "conftest sees ['one', 'two']" in result.stdout.str()
    assert "on purpose" in (tmp_path / "out.xml").read_text()
    assert (tmp_path / "cache").is_dir()
