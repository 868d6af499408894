r"""Tools to test programs that read from S3: a server in this process, and stores in memory.

from vfsoverlay.testing import Fault, S3Server

with S3Server() as server:
    server.create_bucket("data", public=True)
    server.put("data", "day/1.csv", b"a,b\n1,2\n")
    server.faults.add(Fault.slow_down(times=2, purpose="get"))
    with vfsoverlay.mount("s3://data/day/", "/content/day", **server.mount_options()):
        assert open("/content/day/1.csv").readline() == "a,b\n"
    assert server.requests.count("get", status=503) == 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfsoverlay.testing._faults import Fault as Fault
    from vfsoverlay.testing._generated import GeneratedKeys as GeneratedKeys
    from vfsoverlay.testing._request_log import RequestLog as RequestLog
    from vfsoverlay.testing._request_log import RequestRecord as RequestRecord
    from vfsoverlay.testing._sigv4 import Credentials as Credentials
    from vfsoverlay.testing.s3server import S3Server as S3Server
    from vfsoverlay.testing.stores import FlakyStore as FlakyStore
    from vfsoverlay.testing.stores import MemoryStore as MemoryStore
    from vfsoverlay.testing.stores import SlowStore as SlowStore

#: Public names and their modules; a module is loaded when its name is first used.
_HOMES = {
    "Credentials": "_sigv4",
    "Fault": "_faults",
    "FlakyStore": "stores",
    "GeneratedKeys": "_generated",
    "MemoryStore": "stores",
    "RequestLog": "_request_log",
    "RequestRecord": "_request_log",
    "S3Server": "s3server",
    "SlowStore": "stores",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
