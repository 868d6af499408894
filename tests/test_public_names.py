"""The public names: few, documented, typed, light to reach, and taken from the place that is tested."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vfsoverlay
from vfsoverlay import errors, testing

ROOT = Path(__file__).parents[1]


def test_the_package_offers_what_it_lists() -> None:
    """``__all__`` and ``dir()`` are the public names, each of which can be had, and no other attribute can."""
    assert sorted(vfsoverlay.__all__) == [name for name in dir(vfsoverlay) if not name.startswith("_")]
    for name in vfsoverlay.__all__:
        assert getattr(vfsoverlay, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'moumt'"):
        vfsoverlay.moumt  # noqa: B018 - asked for its error


@pytest.mark.parametrize("module", [vfsoverlay, testing, errors], ids=lambda module: module.__name__)
def test_public_names_are_documented(module: object) -> None:
    """Every public name has a docstring, and so has every public method of a class."""
    for name in module.__all__:  # type: ignore[attr-defined]
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
        if inspect.isclass(value) and value.__module__.startswith("vfsoverlay"):
            for method_name, method in vars(value).items():
                if inspect.isfunction(method) and not method_name.startswith("_"):
                    assert inspect.getdoc(method), f"{name}.{method_name}"


def test_the_version_is_stated_once() -> None:
    """``__version__`` is the version of pyproject.toml."""
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert vfsoverlay.__version__ == found[1]


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in ("REASONS", "BypassWarning")])
def test_errors_are_os_errors_that_can_travel(name: str) -> None:
    """Every exception of ours is an OSError with errno, text and filename, and survives pickling."""
    error = getattr(errors, name)(5, "went wrong", "/content/x")
    assert isinstance(error, OSError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.errno, copy.strerror, copy.filename) == (type(error), 5, "went wrong", "/content/x")


def test_the_exception_tree_is_the_one_that_is_drawn() -> None:
    """The tree at the top of errors.py names every exception, below the class it derives from."""
    text = (errors.__doc__ or "").partition("\n    Warning\n")[0]
    drawn = re.findall(r"^ *((?:[│ ]{4})*)(?:[├└]── )(\w+)", text, re.MULTILINE)
    assert {name for _, name in drawn} == set(errors.__all__) - {"REASONS", "BypassWarning"}
    trail = ["OSError"]
    for indent, name in drawn:
        depth = len(indent) // 4 + 1
        trail[depth:] = [name]
        assert issubclass(getattr(errors, name), getattr(errors, trail[depth - 1], OSError)), name


def test_the_package_is_typed() -> None:
    """The package says that it is typed."""
    assert (Path(errors.__file__).parent / "py.typed").exists()


@pytest.mark.skipif("TESTS_ON_WHEEL" not in os.environ, reason="the package is not installed, see tox.ini")
def test_the_wheel_is_what_is_tested() -> None:
    """Under tox, this process and its children import the built wheel, never the checkout."""
    code = "import vfsoverlay; print(vfsoverlay.__file__)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for found in (vfsoverlay.__file__, child):
        assert "site-packages" in Path(found).parts
        assert ROOT / "vfsoverlay" not in Path(found).parents
