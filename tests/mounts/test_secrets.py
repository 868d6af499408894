"""No secret leaves a mount: not in a log, a repr, a metric, a file of the cache, or the environment of a child."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay.testing import Credentials

SECRET, TOKEN = "very/s3cret+key", "very/s3cret+token"
CUSTOMER = b"0123456789abcdef0123456789ABCDEF"
FORBIDDEN = [SECRET.encode(), TOKEN.encode(), base64.b64encode(CUSTOMER), CUSTOMER]
DUMP = "import os; print(dict(os.environ)); print(open('/proc/self/cmdline').read())"


@pytest.mark.parametrize("listing", ["eager", "lazy"])
def test_secrets_stay_in_this_process(
    server: Any, mount: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, listing: str
) -> None:
    """With every log of every library on, nothing that a mount writes, says or hands down has a key, or a token."""
    caplog.set_level(logging.DEBUG)
    server.add_credentials(Credentials("AKID", SECRET, TOKEN))
    server.put("data", "small", b"12345", sse_customer_key=CUSTOMER)
    server.put("data", "d/large", os.urandom(2_000_000), sse_customer_key=CUSTOMER)
    server.bucket("data").public = frozenset()
    cache = tmp_path / "cache"
    point = mount(
        cache_dir=str(cache), anon=None, listing=listing,
        sse_customer_key=base64.b64encode(CUSTOMER).decode(),
        storage_options={"key": "AKID", "secret": SECRET, "token": TOKEN},
    )  # fmt: skip
    point.warm()
    assert Path("/content/data/small").read_bytes() == b"12345"
    told = [repr(point), repr(point.spec), repr(vars(point)), repr(vfsoverlay.metrics())]
    told += [repr(vfsoverlay.explain("/content/data/small")), str(vfsoverlay.explain("/content/data"))]
    with pytest.raises(OSError, match="nothing") as caught:
        open("/content/data/nothing", "rb")
    told += [repr(caught.value), caplog.text]
    told += [subprocess.run([sys.executable, "-c", DUMP], capture_output=True, text=True, check=True).stdout]
    written = [path.read_bytes() for path in cache.rglob("*") if path.is_file()]
    assert len(written) >= 4
    for place in [*[text.encode() for text in told], *written]:
        assert not [secret for secret in FORBIDDEN if secret in place]
