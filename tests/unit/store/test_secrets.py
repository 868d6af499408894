"""No secret comes out of the store: not in a log, an exception, a metric or a repr."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from vfsoverlay.testing import Credentials, Fault, S3Server

SECRET, TOKEN = "very/secret+key", "very/secret+token"


def everything_about(error: BaseException | None) -> str:
    """The texts of an exception and of all it was caused by."""
    told = ""
    while error is not None:
        told += f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__
    return told


def test_secrets_stay_inside(server: S3Server, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """With all logging on, neither success nor any failure shows the secret key or the token."""
    caplog.set_level(logging.DEBUG, "vfsoverlay")
    server.add_credentials(Credentials("AKID", SECRET, TOKEN))
    server.create_bucket("data")
    server.put("data", "o", b"12345")
    options = {"key": "AKID", "secret": SECRET, "token": TOKEN}
    one = opened("s3://data/", endpoint_url=server.url, storage_options=options)
    info = one.info("o")
    one.read(info)
    told = repr(one.store) + repr(vars(one.store)) + str(one.metrics.snapshot())
    for fault in (Fault.access_denied, Fault.expired_token, Fault.reset, Fault.wrong_content_range):
        server.faults.add(fault(times=None, purpose="get"))
        with pytest.raises(OSError, match="s3://data/o") as caught:
            opened_briefly = opened("s3://data/", endpoint_url=server.url, storage_options=options, deadline=0.01)
            opened_briefly.read(info, 1, 2)
        told += everything_about(caught.value)
        server.faults.clear()
    told += caplog.text
    assert SECRET not in told
    assert TOKEN not in told
