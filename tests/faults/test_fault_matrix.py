"""Each fault of the server, met by each purpose of a mount: right bytes after retries, or the documented error."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import vfsoverlay
from vfsoverlay import errors
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay.testing import Fault, S3Server

MIB = 1024**2
ROOT = "/content/matrix"
LARGE = random.Random(6).randbytes(3 * MIB)
SMALL = {f"small/{number:02}": random.Random(number).randbytes(3000) for number in range(8)}
#: Seconds without progress after which an operation gives up, and how much longer the machine may be about it.
DEADLINE, LATER = 0.4, 20.0

#: Faults that can be met by any request.
OF_ANY: dict[str, Callable[..., Fault]] = {
    "slow down": lambda **when: Fault.slow_down(retry_after=0, **when),
    "internal error": Fault.internal_error,
    "throttled by 403": lambda **when: Fault.error("AccessDenied", "Reduce your request rate", status=403, **when),
    "request timeout": lambda **when: Fault.error("RequestTimeout", **when),
    "reset": Fault.reset,
    "reset in the body": lambda **when: Fault.reset(after_headers=True, **when),
    "cut body": lambda **when: Fault.cut_body(100, **when),
    "short body": Fault.short_body,
    "page of a proxy": Fault.garbage_xml,
    "half a body": Fault.truncated_page,
}
#: Longer than the deadline. The server does not see that nobody waits any more, so not much longer.
STALL: dict[str, Callable[..., Fault]] = {"stall": lambda **when: Fault.stall(3 * DEADLINE, after=10, **when)}
#: What no time cures: the error a reader gets, and the reason a mount gives.
DEFINITE: dict[str, tuple[Callable[..., Fault], type[OSError], str]] = {
    "denied": (Fault.access_denied, errors.AccessDenied, "no-credentials"),
    "expired token": (Fault.expired_token, errors.AccessDenied, "expired-token"),
    "another version": (lambda **when: Fault.error("PreconditionFailed", **when), errors.StaleObject, "failed"),
}
PURPOSES = ["list", "first get", "later range", "readahead", "warm"]
#: Who reads a part cannot see that a bit was flipped; what is read whole comes with a checksum.
FLIPPED = pytest.param(lambda **when: Fault.flip_bit(17, **when), "first get", id="flipped bit-first get")
WRONG_RANGE = pytest.param(Fault.wrong_content_range, "later range", id="wrong range-later range")


class World:
    """A bucket, a cache and a mount, and the five ways in which requests come about."""

    def __init__(self, server: S3Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.point: Any = None

    def mount(self, deadline: float = 30.0) -> None:
        """Mount with an empty cache; small blocks, so that a large file takes many requests."""
        self.point = vfsoverlay.mount(
            "s3://data/", ROOT, deadline=deadline, cache_dir=str(self.directory), block_size=64 * 1024,
            promotion=False, **self.server.mount_options(),
        )  # fmt: skip

    def prepare(self, purpose: str, deadline: float) -> None:
        """Come to where the next request is of this purpose."""
        if purpose != "list":
            self.mount(deadline)
        if purpose == "later range":
            self.file = open(f"{ROOT}/large", "rb", buffering=0)
            assert self.file.read(1000) == LARGE[:1000]

    def act(self, purpose: str, deadline: float) -> None:
        """Do what makes the requests; whatever comes of it is right, or raises."""
        if purpose == "list":
            self.mount(deadline)
            assert sorted(os.listdir(f"{ROOT}/small")) == [key[6:] for key in SMALL]
        elif purpose == "first get":
            assert Path(f"{ROOT}/small/03").read_bytes() == SMALL["small/03"]
        elif purpose == "later range":
            self.file.seek(2 * MIB + 5)
            assert self.file.read(1000) == LARGE[2 * MIB + 5 : 2 * MIB + 1005]
        elif purpose == "readahead":
            with open(f"{ROOT}/large", "rb") as file:
                for at in range(0, len(LARGE), 50_000):
                    assert file.read(50_000) == LARGE[at : at + 50_000]
        else:
            self.point.warm()
            for key, body in {**SMALL, "large": LARGE}.items():
                assert Path(f"{ROOT}/{key}").read_bytes() == body

    def leave(self) -> None:
        """End the mount and the file."""
        if hasattr(self, "file"):
            self.file.close()
        if self.point is not None:
            self.point.unmount()


def _wait_until_none(left: Callable[[], Collection[object]]) -> None:
    pause = threading.Event()
    # What was read ahead is asked for again, of a server that is gone, until the deadline of 30 s; idle threads wait 5.
    for _ in range(4500):
        if not left():
            return
        pause.wait(0.01)
    assert not left()


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """After all faults, no thread is left; looked at once, since idle ones take seconds to end."""
    before = set(threading.enumerate())
    yield
    _wait_until_none(lambda: set(threading.enumerate()) - before)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ends with: the cache clean, and no connection left."""
    with S3Server() as server:
        server.create_bucket("data", public=True)
        server.put("data", "large", LARGE)
        for key, body in SMALL.items():
            server.put("data", key, body, checksum="crc32")
        one = World(server, tmp_path / "cache")
        yield one
        server.faults.clear()
        one.leave()
        _wait_until_none(lambda: server._connections)
    cache = BlockCache(str(one.directory), block_size=64 * 1024)
    assert cache.check().is_clean
    cache.close()


def _of(purpose: str) -> dict[str, Any]:
    return {"purpose": "list" if purpose == "list" else "get"}


@pytest.mark.parametrize(
    ("fault", "purpose"),
    [
        *[
            pytest.param(fault, purpose, id=f"{name}-{purpose}")
            for name, fault in OF_ANY.items()
            for purpose in PURPOSES
        ],
        FLIPPED,
        WRONG_RANGE,
    ],
)
def test_fault_that_passes(world: World, fault: Callable[..., Fault], purpose: str) -> None:
    """A fault that passes is not noticed: every byte is right, whatever asked for it."""
    world.prepare(purpose, 30.0)
    world.server.faults.add(fault(**_of(purpose)))
    world.act(purpose, 30.0)
    assert world.server.faults.pending == 0


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("name", [*OF_ANY, *STALL, *DEFINITE])
def test_fault_that_lasts(world: World, name: str, purpose: str) -> None:
    """A fault that lasts is the documented error within the deadline, never ENOENT; afterwards everything is there."""
    fault, error, reason = DEFINITE.get(name) or ({**OF_ANY, **STALL}[name], OSError, "")
    world.prepare(purpose, DEADLINE)
    world.server.faults.add(fault(times=None, **_of(purpose)))
    began = time.monotonic()
    with pytest.raises(OSError, match="s3:") as caught:
        world.act(purpose, DEADLINE)
    assert time.monotonic() - began < LATER
    if purpose == "list":
        assert isinstance(caught.value, errors.CannotAccessSource)
        assert not reason or caught.value.reason == reason
    else:
        assert isinstance(caught.value, error)
        assert reason or isinstance(caught.value, (errors.StoreUnavailable, errors.StoreTimeout))
        assert caught.value.errno not in (errno.ENOENT, None)
        assert str(caught.value.filename).startswith(ROOT)
    world.server.faults.clear()
    world.act(purpose, 30.0)
    assert os.path.exists(f"{ROOT}/small/03")
