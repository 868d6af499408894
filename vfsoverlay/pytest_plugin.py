"""The pytest plugin: mounts and embedded buckets as fixtures, and reports that never meet a mount.

Installed with the package; costs nothing until a test asks for it. See docs/pytest.md.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from vfsoverlay._vfs.mount_point import MountPoint
    from vfsoverlay.testing.embedded_bucket import EmbeddedBucket

_MARKER = "vfs_mount"
_MARKED = "_vfs_marked_mounts"
_CHAIN_LIMIT = 100


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(source, root_dir=None, **options): mount this source while the test and its fixtures run; "
        "the arguments are those of vfsoverlay.mount()",
    )


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

    specs = [Mount(*marker.args, **marker.kwargs) for marker in request.node.iter_markers(_MARKER)]
    with ExitStack() as stack:
        for point in mount(specs):
            stack.enter_context(point)
        yield


@pytest.fixture
def vfs_mount() -> Iterator[Callable[..., MountPoint]]:
    """A function that mounts until the end of the test: the arguments of ``vfsoverlay.mount()``, or a ``vfs_bucket``.

    def test_reading(vfs_mount):
        vfs_mount("s3://bucket/prefix/", "/content/data")
    """
    from vfsoverlay._api import mount
    from vfsoverlay.testing.embedded_bucket import EmbeddedBucket

    with ExitStack() as stack:

        def mount_here(source: Any, root_dir: Any = None, **options: Any) -> MountPoint:
            if isinstance(source, EmbeddedBucket):
                options = {**source.options, **options}
                source = source.url
            return stack.enter_context(mount(source, root_dir, **options))

        yield mount_here


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


@contextmanager
def _stepping_aside(error: BaseException | None = None) -> Iterator[None]:
    """Send the file calls of this thread to the real file system; those of other threads go on as they were.

    Source lines below a mount, which the traceback of *error* will show, are taken before.
    """
    dispatch = sys.modules.get("vfsoverlay._patch.dispatch")
    if dispatch is None:  # nothing was ever mounted
        yield
        return
    lines = _remember_source(error)
    inside = dispatch.STATE.inside
    before = inside.active
    inside.active = True
    try:
        yield
    finally:
        inside.active = before
        for filename in lines:
            linecache.cache.pop(filename, None)


def _remember_source(error: BaseException | None) -> list[str]:
    """Put the source of the frames of *error* that lie below a mount into linecache, as not to be checked again."""
    if error is None:
        return []
    from vfsoverlay._api import mounts

    roots = tuple(f"{point.root_dir}/" for point in mounts())
    remembered = []
    for filename in {name for name in _filenames(error) if name.startswith(roots)} if roots else ():
        lines = linecache.getlines(filename)
        if lines:
            # No time of modification: linecache then does not look at the file any more.
            linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
            remembered.append(filename)
    return remembered


def _filenames(error: BaseException) -> Iterator[str]:
    """The files of the frames of *error* and of what caused it."""
    current: BaseException | None = error
    for _ in range(_CHAIN_LIMIT):  # a chain may lead back to itself
        if current is None:
            return
        trace: TracebackType | None = current.__traceback__
        while trace is not None:
            yield trace.tb_frame.f_code.co_filename
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
