"""A training loop over small files in a shuffled order, each epoch another: files are fetched ahead of the loop.

The two classes have the shape that PyTorch's ``DataLoader`` takes (a map-style data set and a sampler), but need no
PyTorch: with it, pass them as ``DataLoader(images, sampler=FetchingSampler(images))``.

    python examples/shuffled_loader.py
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import vfsoverlay
from vfsoverlay.testing import S3Server

ROOT = "/data/images"


class Images:
    """A data set: the files of a directory by number."""

    def __init__(self, root: str) -> None:
        self.paths = [os.path.join(root, name) for name in sorted(os.listdir(root))]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> bytes:
        with open(self.paths[number], "rb") as file:
            return file.read()


class FetchingSampler:
    """Gives the numbers of a data set in a new order each epoch, while the files that come next are on their way."""

    def __init__(self, images: Images, *, ahead: int = 64, seed: int = 0) -> None:
        self._images = images
        self._ahead = ahead
        self._dice = random.Random(seed)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self._images)))
        self._dice.shuffle(order)
        paths = vfsoverlay.warm_ahead((self._images.paths[number] for number in order), ahead=self._ahead)
        for number, _ in zip(order, paths, strict=True):
            yield number


def main() -> None:
    """Run a server that answers as slowly as S3 does, and two epochs over its bucket."""
    with S3Server(latency=0.02) as server:
        server.create_bucket("images", public=True)
        for number in range(100):
            server.put("images", f"{number:03}.jpg", bytes([number]) * 1000)
        with vfsoverlay.mount("s3://images/", ROOT, **server.mount_options()) as point:
            images = Images(ROOT)
            sampler = FetchingSampler(images)
            for epoch in (1, 2):
                total = sum(len(images[number]) for number in sampler)
                print(f"epoch {epoch}: {total} bytes, {server.requests.count('get')} downloads so far")
            print("fetched ahead of the loop:", int(point.metrics()["requests.warm"]))


if __name__ == "__main__":
    main()
