"""Every script in examples/ runs as it is, without arguments and without a network."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

#: What each script must print.
EXPECTED = {
    "quickstart.py": [
        "  esRedditJson1  ",
        '{"date": "2012-01-01"',
        "1 listing request, 1 read request with 41045 bytes",
    ],
    "several_mounts.py": ["weather/ at /data/weather\n  san-francisco-2010.csv\n", "mounted now: ()"],
    "private_bucket.py": [
        "without credentials: no-credentials",
        "with credentials: ['san-francisco-2010.csv', 'seattle",
    ],
    "pandas_numpy.py": ["/data/weather/seattle-2010.csv: 8759 rows, means [52.]"],
    "lightning_mount.py": ["esRedditJson4: 40701 bytes", '{"date": "2012-01-01"'],
    "dask_map.py": ["lines: 210\nlistings: 1 downloads: 20\n"],
    "ray_map.py": ["lines: 210\nlistings: 1 downloads: 20\n"],
    "shuffled_loader.py": [
        "epoch 1: 100000 bytes, 100 downloads so far\nepoch 2: 100000 bytes, 100 downloads so far\n",
        "fetched ahead of the loop: 100",
    ],
    "import_package.py": ["greetings comes from /opt/packages/greetings/__init__.py\nhello from the bucket\n"],
}

#: What some scripts need beside our package.
NEEDS = {
    "dask_map.py": "distributed",
    "lightning_mount.py": "lightning_app",
    "pandas_numpy.py": "pandas",
    "ray_map.py": "ray",
}


def test_every_example_is_run() -> None:
    """No script in examples/ is without its expectation here."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_says_what_to_install(name: str) -> None:
    """The docstring of an example that needs another package gives the ``pip install`` of it."""
    told = ast.get_docstring(ast.parse((EXAMPLES / name).read_bytes())) or ""
    assert f"\npip install {NEEDS[name].replace('_', '-')}" in told


@pytest.mark.timeout(300)  # importing Lightning may take half a minute
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_does_what_it_says(name: str) -> None:
    """The example ends well, prints what it promises, and warns of nothing."""
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    done = subprocess.run([sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, check=False, cwd="/")
    # Lightning and Ray report their lives there.
    messages = [] if NEEDS.get(name) in ("lightning_app", "ray") else done.stderr.splitlines()
    assert (done.returncode, messages) == (0, [])
    for text in EXPECTED[name]:
        assert text in done.stdout
