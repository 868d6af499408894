"""What the shim costs: calls outside a mount against unpatched Python, and inside a warm mount against a local disk.

    python benchmarks/bench_surface.py [--rounds 40] [--files 100000]

Each row is the minimum over interleaved rounds, so that noise of the machine meets both sides alike.
The calls outside are made with the shim installed and removed in turn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import vfsoverlay
from vfsoverlay._patch import shim
from vfsoverlay.testing import S3Server

Call = Callable[[], object]

#: Ratios that the project promises (docs/semantics.md).
BUDGET = {"os.stat": 1.25, "open+close": 1.08, "os.listdir": 1.06, "Path.exists": 1.32}
BUDGET_INSIDE = {"os.stat": 1.5, "open+read+close 16 KiB": 2.0, "os.walk": 1.0}


def seconds(call: Call, times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times


def outside_calls(directory: Path) -> dict[str, Call]:
    """Calls on a short path of the local disk."""
    file, missing = str(directory / "file"), str(directory / "missing")
    path = directory / "file"
    folder = str(directory)

    def open_close() -> None:
        open(file).close()

    return {
        "os.stat": lambda: os.stat(file),
        "os.lstat": lambda: os.lstat(file),
        "open+close": open_close,
        "os.listdir": lambda: os.listdir(folder),
        "os.scandir": lambda: list(os.scandir(folder)),
        "os.path.exists": lambda: os.path.exists(file),
        "exists(missing)": lambda: os.path.exists(missing),
        "Path.exists": path.exists,
        "os.access": lambda: os.access(file, os.R_OK),
    }


def bench_outside(directory: Path, rounds: int) -> None:
    """Patched against unpatched; a mount stays in the table, only the shim comes and goes."""
    calls = outside_calls(directory)
    best: dict[tuple[str, bool], float] = {}
    for _ in range(rounds):
        for patched in (False, True):
            (shim._REGISTRY.install if patched else shim._REGISTRY.remove)()
            for name, call in calls.items():
                took = seconds(call, 300)
                best[name, patched] = min(best.get((name, patched), took), took)
    shim._REGISTRY.install()
    show("outside", {name: (best[name, True], best[name, False]) for name in calls}, BUDGET)


def bench_inside(mounted: str, local: str, rounds: int) -> None:
    """A warm mount against the same files on the local disk."""

    def read(folder: str) -> Call:
        path = f"{folder}/sixteen"

        def call() -> None:
            with open(path, "rb") as file:
                file.read()

        return call

    def walk(folder: str) -> Call:
        return lambda: sum(len(files) for _, _, files in os.walk(folder))

    pairs: dict[str, tuple[Call, Call, int]] = {
        "os.stat": (lambda: os.stat(f"{mounted}/sixteen"), lambda: os.stat(f"{local}/sixteen"), 300),
        "open+read+close 16 KiB": (read(mounted), read(local), 100),
        "os.listdir": (lambda: os.listdir(mounted), lambda: os.listdir(local), 100),
        "os.walk": (walk(f"{mounted}/tree"), walk(f"{local}/tree"), 1),
    }
    result = {}
    for name, (ours, theirs, times) in pairs.items():
        result[name] = tuple(
            min(column)
            for column in zip(*((seconds(ours, times), seconds(theirs, times)) for _ in range(rounds)), strict=True)
        )
    show("inside, warm", result, BUDGET_INSIDE)  # type: ignore[arg-type]


def show(title: str, rows: dict[str, tuple[float, float]], budget: dict[str, float]) -> None:
    print(f"{title:30} {'with us':>12} {'without':>12} {'ratio':>7} {'promised':>9}")
    for name, (ours, theirs) in rows.items():
        promised = f"{budget[name]:9.2f}" if name in budget else ""
        print(f"  {name:28} {ours * 1e6:9.2f} us {theirs * 1e6:9.2f} us {ours / theirs:7.2f} {promised}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--files", type=int, default=10_000, help="files of the tree that os.walk visits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, S3Server() as server:
        base = Path(scratch)
        content = {"sixteen": b"x" * 16384} | {f"tree/{i // 100:04}/{i:06}.bin": b"" for i in range(options.files)}
        server.create_bucket("bench", public=True)
        for key, data in content.items():
            target = base / "local" / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            server.put("bench", key, data)
        (base / "file").write_bytes(b"x")
        for number in range(10):
            (base / f"other-{number}").touch()
        begin = time.perf_counter()
        with vfsoverlay.mount("s3://bench/", "/content/data", cache_dir=f"{base}/cache", **server.mount_options()):
            print(f"mount() of {len(content)} objects: {time.perf_counter() - begin:.2f} s")
            for label, change in (("install", shim._REGISTRY.install), ("remove", shim._REGISTRY.remove)):
                shim._REGISTRY.remove() if label == "install" else shim._REGISTRY.install()
                print(f"  {label} the shim: {seconds(change, 1) * 1e3:.1f} ms")
            shim._REGISTRY.install()
            bench_outside(base, options.rounds)
            bench_inside("/content/data", f"{base}/local", max(3, options.rounds // 4))


if __name__ == "__main__":
    main()
