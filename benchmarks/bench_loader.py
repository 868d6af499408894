"""A training loop over small images, as mountpoint-s3 #554 has it: shuffled epochs, 8 workers, decoding on all sides.

    python benchmarks/bench_loader.py [--runs 3] [--images 2000] [--pixels 200] [--workers 8] [--start fork]

Each epoch is a new order of all images, read and decoded by the workers of a PyTorch ``DataLoader``
(which must be installed, as must Pillow). The server answers after 20 ms, 50 MiB/s a response. Three
loaders take turns, an epoch each, in processes of their own, whose workers start before the clock and stay:

* ``local``: the images as files of the local disk;
* ``raw``: every worker fetches four images at once over kept-alive connections and keeps nothing, so that
  32 requests are in flight: what the network gives to such a loop;
* ``vfsoverlay``: a mount, with an empty cache at first; the sampler fetches the order ahead of the loop.

The second epoch of ``vfsoverlay`` is compared with the second one of ``local``. A ratio is the median of
what it was in each run: a processor that others share may be slower by half for minutes, and epochs that
are compared follow each other within seconds. The sums of all pixels must agree. CPU seconds, of the loop
and its workers together, are printed beside the elapsed ones.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from s3_like_server import S3LikeServer

ROOT = "/vfsoverlay-benchmark"
LOADERS = ("local", "raw", "vfsoverlay")
EPOCHS = 3
BATCH = 16
#: No image: a number that workers get before the clock starts, so that their start and imports are no epoch's.
START = -1


def make_images(directory: str, count: int, pixels: int) -> None:
    """Write *count* JPEG images, square, with *pixels* on each side, a hundred in each directory."""
    from PIL import Image

    dice = random.Random(1)
    for number in range(count):
        side = pixels // 4
        coarse = Image.frombytes("RGB", (side, side), dice.randbytes(3 * side * side))
        path = f"{directory}/{number // 100:02d}/{number:05d}.jpg"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        coarse.resize((pixels, pixels)).save(path, quality=75)


def decoded(body: bytes) -> int:
    """Decode an image as a training loop does; a number that tells one image from another."""
    from PIL import Image

    with Image.open(io.BytesIO(body)) as image:
        return sum(image.convert("RGB").resize((64, 64)).tobytes()[::97])


def start(worker: int) -> None:  # noqa: ARG001 - PyTorch's interface
    """Import what decoding needs."""
    from PIL import Image

    Image.init()


def cpu_seconds() -> float:
    """What this process and its workers have used so far."""
    total = sum(os.times()[:2])
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        for pid in children.read().split():
            with open(f"/proc/{pid}/stat") as file:
                total += sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return total


class Images:
    """A data set: images by number, from files below *root*."""

    def __init__(self, root: str, count: int) -> None:
        self.paths = [f"{root}/{number // 100:02d}/{number:05d}.jpg" for number in range(count)]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> int:
        if number == START:
            return 0
        with open(self.paths[number], "rb") as file:
            return decoded(file.read())


class RawImages(Images):
    """As ``Images``, fetched anew each time, four at once in each worker."""

    _pool: Any = None

    def __init__(self, url: str, count: int) -> None:
        super().__init__("/images", count)
        self.address = url.removeprefix("http://")

    def __getitems__(self, numbers: list[int]) -> list[int]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(4)
            self._idle = [http.client.HTTPConnection(self.address) for _ in range(4)]
        if START in numbers:
            return []
        return list(map(decoded, self._pool.map(self._fetch, numbers)))

    def _fetch(self, number: int) -> bytes:
        connection = self._idle.pop()
        connection.request("GET", self.paths[number])
        body: bytes = connection.getresponse().read()
        self._idle.append(connection)
        return body


class Order:
    """A sampler: all numbers in a new order each epoch; those of a mount are fetched ahead of the loop."""

    def __init__(self, images: Images, *, fetches: bool, warm_up: int) -> None:
        self._images = images
        self._warm_up = warm_up
        self.begins = True
        self._fetches = fetches
        self._dice = random.Random(2)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[int]:
        if self.begins:
            self.begins = False
            return iter([START] * self._warm_up)
        order = list(range(len(self._images)))
        self._dice.shuffle(order)
        if not self._fetches:
            return iter(order)
        import vfsoverlay

        paths = vfsoverlay.warm_ahead(self._images.paths[number] for number in order)
        return (number for number, _ in zip(order, paths, strict=True))


def measure(name: str, options: argparse.Namespace) -> None:
    """Run an epoch with the loader *name* for each line of input, and print its seconds, CPU seconds and sum."""
    from torch.utils.data import DataLoader

    images: Images
    if name == "vfsoverlay":
        import vfsoverlay

        settings = {"endpoint_url": options.url, "region": "us-east-1", "anon": True}
        vfsoverlay.mount("s3://images/", ROOT, cache_dir=options.cache, **settings)
        images = Images(ROOT, options.images)
    elif name == "raw":
        images = RawImages(options.url, options.images)
    else:
        images = Images(options.directory, options.images)
    loader: Any = DataLoader(
        images,  # type: ignore[arg-type]  # PyTorch asks for a subclass where a shape will do
        batch_size=BATCH,
        sampler=Order(images, fetches=name == "vfsoverlay", warm_up=BATCH * options.workers),
        num_workers=options.workers,
        multiprocessing_context=options.start,
        persistent_workers=True,
        collate_fn=sum,
        worker_init_fn=start,
    )
    sum(loader)
    print("ready", flush=True)
    for _ in sys.stdin:
        begun, used = time.perf_counter(), cpu_seconds()
        total = sum(loader)
        print(json.dumps([time.perf_counter() - begun, cpu_seconds() - used, total]), flush=True)
    del loader


class Loader:
    """A loader in a process of its own."""

    def __init__(self, name: str, url: str, directory: str, cache: str, options: argparse.Namespace) -> None:
        command = [sys.executable, "-W", "ignore", __file__, "--measure", name, "--url", url]
        command += ["--directory", directory, "--cache", cache]
        command += [f"--{option}={getattr(options, option)}" for option in ("images", "workers", "start")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def epoch(self) -> tuple[float, float, int]:
        """Seconds and CPU seconds of the next epoch, and its sum."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, cpu, total = json.loads(self._answer())
        return seconds, cpu, total

    def end(self) -> None:
        """Have no more epochs."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise subprocess.CalledProcessError(self._process.wait(), self._process.args)
        return line


def one_run(loaders: dict[str, Loader]) -> dict[str, list[tuple[float, float]]]:
    """All epochs of all loaders, one after the other: seconds and CPU seconds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
    for _ in range(EPOCHS):
        sums = set()
        for name, loader in loaders.items():
            *figures, total = loader.epoch()
            found[name].append((figures[0], figures[1]))
            sums.add(total)
        if len(sums) != 1:
            msg = "the loaders read different images"
            raise AssertionError(msg)
    return found


def compare(options: argparse.Namespace) -> None:
    """Let the loaders take turns, and print what they come to."""
    runs: list[dict[str, list[tuple[float, float]]]] = []
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as scratch:
        directory = f"{scratch}/buckets/images"
        make_images(directory, options.images, options.pixels)
        with S3LikeServer(f"{scratch}/buckets", latency=0.02, rate=50) as server:
            size = sum(path.stat().st_size for path in Path(directory).glob("*/*")) // options.images
            print(f"{options.images} images of {size / 1024:.0f} KiB,", end=" ")
            print(f"{options.workers} workers by {options.start}, {server.engine}", flush=True)
            for run in range(options.runs):
                cache = f"{scratch}/cache-{run}"
                # There and back: who comes behind whom should not matter, and so meets both.
                order = LOADERS if run % 2 == 0 else LOADERS[::-1]
                loaders = {name: Loader(name, server.url, directory, cache, options) for name in order}
                runs.append(one_run(loaders))
                for loader in loaders.values():
                    loader.end()
    for which, what in enumerate(("elapsed", "CPU")):
        print(f"{what}, medians of {len(runs)} runs")
        for name in LOADERS:
            epochs = [statistics.median(run[name][epoch][which] for run in runs) for epoch in range(EPOCHS)]
            print(f"    {name:12}" + "".join(f" {seconds:7.2f} s" for seconds in epochs))
        report("first epoch / raw's, 32 in flight", runs, "raw", 0, which, "1.3")
        report("second epoch / local's", runs, "local", 1, which, "1.1")


def report(
    text: str, runs: list[dict[str, list[tuple[float, float]]]], beside: str, epoch: int, which: int, must: str
) -> None:
    """Print how our *epoch* compares with that of the loader *beside*, in the median and in each run."""
    ratios = [run["vfsoverlay"][epoch][which] / run[beside][epoch][which] for run in runs]
    each = " ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    bound = f", elapsed must be at most {must}" if which == 0 else ""
    print(f"    {text}: {statistics.median(ratios):.2f} (runs: {each}{bound})")


def main() -> None:
    """Compare, or measure one loader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pixels", type=int, default=200, help="on each side of an image; those of ImageNet have 400")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--start", default="fork", choices=("fork", "spawn", "forkserver"))
    for hidden in ("--measure", "--url", "--directory", "--cache"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
