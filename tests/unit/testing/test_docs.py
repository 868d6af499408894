from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vfsoverlay.testing import S3Server

PAGE = next(path for parent in Path(__file__).parents if (path := parent / "docs" / "testing.md").exists())
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the snippets leave closing to the interpreter
def test_snippets_run() -> None:
    """The snippets of docs/testing.md run one after the other, with the server that the page speaks of."""
    names: dict[str, Any] = {}
    with S3Server() as server:
        server.create_bucket("data", public=True)
        server.put("data", "day/1.csv", "a,b\n1,2\n")
        for number, snippet in enumerate(SNIPPETS, 1):
            names["server"] = server  # the first snippet makes and closes one of its own
            exec(compile(snippet, f"snippet {number} of {PAGE.name}", "exec"), names)
        assert server.requests.count("get") >= 5
        assert server.faults.pending == 0
