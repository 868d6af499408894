"""What every test may rely on: children import the package under test, and nothing of the user's set-up leaks in."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from vfsoverlay import errors

pytest_plugins = ["pytester"]

#: The directory that holds the package under test: site-packages under tox, the checkout otherwise.
INSTALLED_IN = str(Path(errors.__file__).parent.parent)


def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment once, before any test module is imported."""
    if version("s3fs") < "2024":
        # It ends its session by a task on a loop that may never run again, whenever the collector comes by.
        config.addinivalue_line("filterwarnings", "ignore:Unclosed client session:ResourceWarning")
    for name in [name for name in os.environ if name.startswith(("AWS_", "VFSOVERLAY_"))]:
        # Not how large the tests are, and which dispatchers they judge.
        if not name.startswith("VFSOVERLAY_TEST_") and name != "VFSOVERLAY_PURE":
            del os.environ[name]
    # Spawned children import the functions of tests by name; last, since the package may be an installed one.
    sys.path.append(str(Path(__file__).parent.parent))
    # Not the files of the person who runs the tests; a test that needs credentials sets them.
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    # A shell starts what runs in the background deaf to Ctrl-C, and children would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not INSTALLED_IN.endswith("site-packages"):
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{INSTALLED_IN}{os.pathsep}{others}" if others else INSTALLED_IN


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every test begins with an empty cache, so that what it counts does not depend on the others."""
    number = request.session.stash.get(_TESTS, 0)
    request.session.stash[_TESTS] = number + 1
    os.environ["VFSOVERLAY_CACHE_DIR"] = str(tmp_path_factory.getbasetemp() / f"cache-of-test-{number}")


_TESTS = pytest.StashKey[int]()


def _mount_points() -> list[str]:
    shim = sys.modules.get("vfsoverlay._patch.shim")
    return [] if shim is None else [point.root_dir for point in shim.points()]


@pytest.fixture(autouse=True)
def _no_mount_is_left() -> Iterator[None]:
    """A test that leaves a mount changes what the tests after it see."""
    before = _mount_points()
    yield
    assert [root for root in _mount_points() if root not in before] == []
