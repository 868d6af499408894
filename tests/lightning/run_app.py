"""Runs the app of a module as Lightning's runtime does, until its work has an end, and prints what became of it.

python run_app.py MODULE [fork|spawn] [arguments of install() as JSON; "null": do not call it]
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time

import vfsoverlay.lightning


def main(name: str, method: str = "fork", options: str = "{}") -> None:
    """Install the door, import the app, run it, and print each status of its work."""
    arguments = json.loads(options)
    if arguments is not None:
        vfsoverlay.lightning.install(compat=True, **arguments)
    app = importlib.import_module(name).app
    from lightning_app.runners import MultiProcessRuntime
    from lightning_app.utilities.enum import AppStage

    (work,) = app.works
    work._start_method = method

    def stop_after_success() -> None:
        # Apps run until they are stopped.
        while not work.has_succeeded:
            time.sleep(0.05)
        app.stage = AppStage.STOPPING

    threading.Thread(target=stop_after_success, daemon=True).start()
    try:
        MultiProcessRuntime(app, start_server=False).dispatch(open_ui=False)
    finally:
        for status in work.statuses:
            print("status:", status.stage, status.message or "")
        print("mounted in the flow:", vfsoverlay.mounts())


if __name__ == "__main__":
    main(*sys.argv[1:])
