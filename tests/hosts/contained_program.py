"""What a program in a container does with a mount: reads in all ways, and starts processes in all ways."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import subprocess
import sys

import vfsoverlay

ROOT = "/content/sample"
FILE = f"{ROOT}/esRedditJson/esRedditJson1"


def begin(who: str) -> None:
    """Print who reads the file, and how it begins."""
    with open(FILE, encoding="utf-8") as file:
        print(who, "reads", file.read(21), flush=True)


def main() -> None:
    """Print what is seen on the way."""
    try:
        os.mkdir("/new")
    except OSError as error:
        print("user", os.getuid(), "cannot write to /:", error.strerror)
    point = vfsoverlay.mount("s3://ryft-public-sample-data/", ROOT)
    print("cache:", point.cache.directory)
    print(os.listdir(ROOT), "of user", os.stat(FILE).st_uid)
    begin("program")
    with open(FILE, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        print("mapped:", len(mapped) == os.path.getsize(FILE))
    print("local copy:", os.path.islink(vfsoverlay.local_path(FILE)))
    print("warm:", point.warm().files)
    os.chdir(f"{ROOT}/weather")
    print("relative:", os.path.exists("seattle-2010.csv"))
    child = f"with open({FILE!r}) as file: print('child reads', file.read(21))"
    subprocess.run([sys.executable, "-W", "error", "-c", child], check=True)
    for context in (multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")):
        process = context.Process(target=begin, args=(context.get_start_method(),))
        process.start()
        process.join()
    point.unmount()


if __name__ == "__main__":
    main()
