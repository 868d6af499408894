"""Runs the app of a module as Lightning's runtime does, until its work has an end: MODULE [fork|spawn] [OPTIONS as JSON]."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time

import vfsoverlay.lightning


def main(name: str, method: str = "fork", options: str = "{}") -> None:
    """Install the door, import the app, run it, and print the status of its first work."""
    vfsoverlay.lightning.install(compat=True, **json.loads(options))
    app = importlib.import_module(name).app
    from lightning_app.runners import MultiProcessRuntime
    from lightning_app.utilities.enum import AppStage

    (work, *_) = app.works
    work._start_method = method

    def stop_when_done() -> None:
        while not (work.has_succeeded or work.has_failed):
            time.sleep(0.05)
        if work.has_succeeded:
            app.stage = AppStage.STOPPING

    threading.Thread(target=stop_when_done, daemon=True).start()
    try:
        MultiProcessRuntime(app, start_server=False).dispatch(open_ui=False)
    finally:
        print("stage:", work.status.stage)
        print("message:", work.status.message)
        print("mounted in the flow:", vfsoverlay.mounts())


if __name__ == "__main__":
    main(*sys.argv[1:])
