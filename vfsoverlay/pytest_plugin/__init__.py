"""The pytest plugin: mounts and embedded buckets as fixtures, and reports that never meet a mount.

Installed with the package; loads nothing until a test or an option asks for it. See docs/pytest.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import os

    from vfsoverlay._vfs.mount_point import MountPoint
    from vfsoverlay.pytest_plugin.session import Session
    from vfsoverlay.testing.embedded_bucket import EmbeddedBucket

_MARKER = "vfs_mount"
_MARKED = "_vfs_marked_mounts"
_SESSION = "vfsoverlay-session"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the command line and of the configuration file."""
    group = parser.getgroup("vfsoverlay", "mounts of object stores (vfsoverlay)")
    group.addoption(
        "--vfs-offline", action="store_true", help="Mounts make no request; what is not in the cache fails by name."
    )
    group.addoption(
        "--vfs-record",
        metavar="FILE",
        help="Write the listings and bytes that the tests use to FILE, for --vfs-replay.",
    )
    group.addoption(
        "--vfs-replay", metavar="FILE", help="Mounts make no request, and find exactly what FILE has recorded."
    )
    group.addoption("--vfs-summary", action="store_true", help="Say at the end what was requested, fetched and hit.")
    parser.addini(
        "vfs_mounts",
        "Mounts of the whole run, one a line: SRC:PATH [OPTION=VALUE]... as for the command vfsoverlay.",
        type="linelist",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; prepare the run, if an option asks for something."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(source, root_dir=None, **options): mount this source while the test and its fixtures run; "
        "the arguments are those of vfsoverlay.mount()",
    )
    options = ("vfs_offline", "vfs_record", "vfs_replay", "vfs_summary")
    if any(map(config.getoption, options)) or config.getini("vfs_mounts"):
        from vfsoverlay.pytest_plugin.session import Session

        config.pluginmanager.register(Session(config), _SESSION)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give marked tests, and only those, the fixture that mounts."""
    if isinstance(item, pytest.Function) and item.get_closest_marker(_MARKER) and _MARKED not in item.fixturenames:
        item.fixturenames.insert(_first_of_function_scope(item), _MARKED)


def _first_of_function_scope(item: pytest.Function) -> int:
    """Behind the fixtures of sessions and modules, which may make the data, and before those of the test itself."""
    definitions = item._fixtureinfo.name2fixturedefs
    scopes = [definitions[name][-1].scope if name in definitions else "" for name in item.fixturenames]
    return scopes.index("function") if "function" in scopes else len(scopes)


@pytest.fixture(name=_MARKED)
def _marked_mounts(request: pytest.FixtureRequest) -> Iterator[None]:
    """The mounts that the markers of a test ask for: all or none."""
    from vfsoverlay._api import mount
    from vfsoverlay._spec import Mount

    markers = request.node.iter_markers(_MARKER)
    with ExitStack() as stack:
        try:
            specs = [Mount(*marker.args, **_adjusted(request.config, marker.kwargs)) for marker in markers]
            for point in mount(specs):
                stack.enter_context(point)
        except (OSError, ValueError, TypeError) as error:
            # The marker is wrong, or the world is; our frames would hide which.
            pytest.fail(f"{_MARKER}: {error}", pytrace=False)
        yield


@pytest.fixture
def vfs_mount(request: pytest.FixtureRequest) -> Iterator[Callable[..., MountPoint]]:
    """A function that mounts until the end of the test: the arguments of ``vfsoverlay.mount()``, or a ``vfs_bucket``.

    def test_reading(vfs_mount):
        vfs_mount("s3://bucket/prefix/", "/content/data")
    """
    from vfsoverlay._api import mount
    from vfsoverlay.testing.embedded_bucket import EmbeddedBucket

    with ExitStack() as stack:

        def mount_here(source: Any, root_dir: Any = None, **options: Any) -> MountPoint:
            __tracebackhide__ = True
            if isinstance(source, EmbeddedBucket):
                options = {**source.options, **options}
                source = source.url
            return stack.enter_context(mount(source, root_dir, **_adjusted(request.config, options)))

        yield mount_here


def _adjusted(config: pytest.Config, options: dict[str, Any]) -> dict[str, Any]:
    session: Session | None = config.pluginmanager.get_plugin(_SESSION)
    return options if session is None else session.adjusted(options)


@pytest.fixture
def vfs_bucket() -> Iterator[Callable[..., EmbeddedBucket]]:
    """A function that makes a bucket from a dict or a directory, on an S3 server that lives as long as the test.

    def test_reading(vfs_bucket, vfs_mount):
        bucket = vfs_bucket({"a/b.txt": "hello"})
        vfs_mount(bucket, "/content")
        assert open("/content/a/b.txt").read() == "hello"
        assert len(bucket.requests("get")) == 1
    """
    from vfsoverlay.testing.embedded_bucket import EmbeddedBucket
    from vfsoverlay.testing.s3server import S3Server

    with S3Server() as server:
        made: list[EmbeddedBucket] = []

        def make(
            content: Mapping[str, bytes | str] | str | os.PathLike[str] | None = None, name: str | None = None
        ) -> EmbeddedBucket:
            made.append(EmbeddedBucket(server, {} if content is None else content, name or f"bucket-{len(made) + 1}"))
            return made[-1]

        yield make


# --------------------------------------------------------------------------------- reporting


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Generator[None, None, None]:
    """Let pytest write the report of a test without meeting the test's mounts."""
    error = call.excinfo.value if call.excinfo is not None else None
    with _stepping_aside(error):
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_logreport() -> Generator[None, None, None]:
    """Let all who hear of a report write it to real files."""
    with _stepping_aside():
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_terminal_summary() -> Generator[None, None, None]:
    """Let the summary be made without meeting a mount that is still there."""
    with _stepping_aside():
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Let plugins write what they have about the whole run, such as a JUnit file, to real files."""
    if _was_never_mounted():
        yield
        return
    from vfsoverlay.pytest_plugin.reports import plugins_stepping_aside

    with plugins_stepping_aside(session.config.hook.pytest_sessionfinish.get_hookimpls()):
        yield


def _was_never_mounted() -> bool:
    return "vfsoverlay._patch.dispatch" not in sys.modules


def _stepping_aside(error: BaseException | None = None) -> AbstractContextManager[None]:
    if _was_never_mounted():
        return nullcontext()
    from vfsoverlay.pytest_plugin.reports import stepping_aside

    return stepping_aside(error)
