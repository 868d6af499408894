"""A Lightning App whose work reads a bucket as a directory, on this machine.

pip install lightning-app==2.3.2          # its last version; Python 3.10
python examples/lightning_mount.py        # reads a bundled sample, no network
"""

from __future__ import annotations

import os

import vfsoverlay.lightning
from vfsoverlay.testing.sample import sample_server

# Without this line the app runs all the same, but Lightning ignores the mount: the directory does not exist.
vfsoverlay.lightning.install()

from lightning_app import CloudCompute, LightningApp, LightningFlow, LightningWork  # noqa: E402
from lightning_app.runners import MultiProcessRuntime  # noqa: E402
from lightning_app.storage import Mount  # noqa: E402

ROOT = "/content/esRedditJson/"


class Work(LightningWork):  # type: ignore[misc]  # the library has no types
    """Reads what it has declared to mount."""

    def run(self) -> None:
        """Runs in a process of its own, in which the mount is there, and which a signal ends when the app stops."""
        for name in os.listdir(ROOT):
            print(f"{name}: {os.path.getsize(os.path.join(ROOT, name))} bytes", flush=True)
        with open(os.path.join(ROOT, "esRedditJson1"), encoding="utf-8") as file:
            print(file.readline().rstrip(), flush=True)


class Flow(LightningFlow):  # type: ignore[misc]
    """Runs the work once."""

    def __init__(self) -> None:
        super().__init__()
        mount = Mount(source="s3://ryft-public-sample-data/esRedditJson/", mount_path=ROOT)
        self.work = Work(cloud_compute=CloudCompute(mounts=mount))

    def run(self) -> None:
        """Called again and again, until it stops the app."""
        self.work.run()
        if self.work.has_succeeded:
            self.stop()


if __name__ == "__main__":
    with sample_server() as server:
        # With a real bucket nothing of this is needed: credentials and endpoint are found as the AWS tools find them.
        os.environ.update(server.environment())
        MultiProcessRuntime(LightningApp(Flow()), start_server=False).dispatch(open_ui=False)
