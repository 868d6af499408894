"""Calls with arguments that do not fit are refused by each replaced name in the words of the original."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from typing import Any

import pytest

import vfsoverlay
from tests.surface.conftest import ROOT
from vfsoverlay._patch import quick
from vfsoverlay._patch.patched_names import PATCHED_NAMES
from vfsoverlay.testing import S3Server

#: Of each name of a module: what came of each call.
Outcomes = dict[tuple[str, str], dict[str, tuple[str, str]]]

#: Of no use to any call, so that none does anything, however many it takes.
_USELESS = object()
#: More than any call takes.
_MOST = 30

NAMES = [(module, row.name) for row in PATCHED_NAMES for module in row.modules[:1]]


def outcomes(module: str, name: str) -> dict[str, tuple[str, str]]:
    """What comes of calls with so many useless arguments, and of some with a keyword that nothing has."""
    call = getattr(import_module(module), name)
    plain: Iterator[tuple[int, dict[str, Any]]] = ((count, {}) for count in range(_MOST))
    named: Iterator[tuple[int, dict[str, Any]]] = ((count, {"no_such_keyword": _USELESS}) for count in range(3))
    return {f"{count} {keywords}": _outcome(call, count, keywords) for count, keywords in chain(plain, named)}


def _outcome(call: Any, count: int, keywords: dict[str, Any]) -> tuple[str, str]:
    try:
        result = call(*[_USELESS] * count, **keywords)
    except Exception as error:
        return type(error).__name__, str(error)
    if hasattr(result, "close"):
        result.close()
    return "no error", ""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """What comes of the originals, before the mount that is there until the last test: such calls leave it as it is."""
    before = {(module, name): outcomes(module, name) for module, name in NAMES}
    with S3Server() as server:
        server.create_bucket("data", public=True)
        server.put("data", "a", b"1")
        cache = str(tmp_path_factory.mktemp("cache"))
        with vfsoverlay.mount("s3://data/", ROOT, cache_dir=cache, **server.mount_options()):
            yield before


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_arguments_that_do_not_fit(module: str, name: str, originals: Outcomes) -> None:
    """Too few, too many and unknown arguments are refused in the words of the original, or at least under its name."""
    expected = originals[module, name]
    found = outcomes(module, name)
    if quick._COMPILED is None:
        # Where nothing is written in C, functions of Python stand for builtins, and count arguments in their own words.
        expected = {
            case: found[case] if found[case][0] == kind == "TypeError" and found[case][1].startswith(f"{name}() ")
            else (kind, text)
            for case, (kind, text) in expected.items()
        }  # fmt: skip
    assert found == expected
