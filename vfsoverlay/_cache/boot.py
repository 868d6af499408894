"""The identity of this boot: pages written before a crash of the machine may be lost, so older records are doubted."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from vfsoverlay import _real

SIZE: Final = 16


def boot_id() -> bytes:
    """16 bytes that change with every boot.

    Where the kernel does not tell, they are new in every process: then all that other processes
    wrote is verified before it is served, which costs time but is right.
    """
    try:
        with _real.io_open("/proc/sys/kernel/random/boot_id", "rb") as file:
            text = file.read()
    except OSError:
        with _real.io_open("/dev/urandom", "rb") as file:
            text = file.read(SIZE)
    return blake2b(text, digest_size=SIZE).digest()
