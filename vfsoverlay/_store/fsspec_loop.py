"""An event loop of our own for fsspec's asynchronous file systems, in a thread of this process.

fsspec's own loop cannot be waited for from code that runs on it (a patched ``open()`` called by zarr,
for instance); on a loop of ours any thread may wait, and none of theirs waits for us.
"""

from __future__ import annotations

import asyncio
import os
import threading

_lock = threading.Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None


def private_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started when it is first wanted; a forked child gets its own."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="vfsoverlay-fsspec", daemon=True).start()
            _running = (os.getpid(), loop)
        return _running[1]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
