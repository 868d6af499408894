"""A process that reads objects through the cache with several threads, for tests of many processes at once.

Usage: python cache_reader.py DIRECTORY LOG KEYS SIZE THREADS SEED [SECONDS_OF_A_GET]
"""

from __future__ import annotations

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cache_source import Source, content, read_all
from vfsoverlay._cache.block_cache import BlockCache


def main(directory: str, log: str, keys: int, size: int, threads: int, seed: int, latency: float = 0.0) -> int:
    """Read every object in an order of this process's own; 1 if a byte was wrong."""
    source = Source(log=Path(log))
    never = threading.Event()
    source.before = lambda *_: never.wait(latency)
    cache = BlockCache(directory, block_size=64 * 1024, cache_size=1 << 30, min_free=0)

    def read(number: int) -> bool:
        oid = source.object(f"key-{number}", size)
        if number % 2:
            return read_all(cache.complete(oid, source.reader(oid))) == content(f"key-{number}@e", size)
        buffer = bytearray(size)
        with cache.open_partial(oid, source.reader(oid)) as handle:
            starts = list(range(0, size, 100_000))
            random.Random(seed).shuffle(starts)
            for start in starts:
                handle.readinto(start, memoryview(buffer)[start : start + 100_000])
        return bytes(buffer) == content(f"key-{number}@e", size)

    order = [number for number in range(keys) for _ in range(2 if keys < threads else 1)]
    random.Random(seed).shuffle(order)
    with ThreadPoolExecutor(threads) as pool:
        right = all(pool.map(read, order))
    cache.close()
    print("read", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    _, directory, log, keys, size, threads, seed, *rest = sys.argv
    sys.exit(main(directory, log, int(keys), int(size), int(threads), int(seed), *map(float, rest)))
