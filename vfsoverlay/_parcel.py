"""Mounts packed for other machines: the specs and their listings in one value that can be pickled."""

from __future__ import annotations

import os
import tempfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from vfsoverlay import _api, _children
from vfsoverlay._namespace.export import load_snapshot, save_snapshot, snapshot_info
from vfsoverlay._namespace.snapshot import Snapshot
from vfsoverlay._vfs import cache_directory
from vfsoverlay._vfs.inheritance import Inheritance
from vfsoverlay._vfs.naming import index_directory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vfsoverlay._spec import Mount
    from vfsoverlay._vfs.mount_point import MountPoint


class Parcel(NamedTuple):
    """One mount, as another machine gets it: nothing of this machine's disk is in it."""

    inheritance: Inheritance
    listing: bytes
    """What ``index save`` writes, compressed; empty where each machine lists for itself."""

    @classmethod
    def pack(cls, point: MountPoint) -> Parcel:
        """*point* with its listing; without secrets, unless its spec says ``children="secrets"``."""
        inheritance = _children.public_inheritance_of(point)._replace(snapshot="", cache_dir="", origin="")
        names = point.namespace
        return cls(inheritance, _packed(names) if isinstance(names, Snapshot) else b"")

    def unpack(self) -> MountPoint:
        """Mount it in this process, with a cache of this machine and no listing of its own.

        Raises:
            PermissionError: Its secrets stayed at home.
            ValueError: As ``mount()``.
            OSError: As ``mount()``.
        """
        spec = self.inheritance.spec
        if not self.listing:
            return _api.mount_inherited(self.inheritance)
        directory = cache_directory.choose(spec.option("cache_dir"))
        with _unpacked(self.listing, index_directory(directory)) as snapshot:
            return _api.mount_inherited(self.inheritance._replace(snapshot=snapshot.path, cache_dir=directory))


def pack_all(mounts: Iterable[MountPoint | Mount]) -> list[Parcel]:
    """A parcel for each of *mounts*; all mounts in force, if there are none. A bare spec travels without a listing."""
    chosen = list(mounts) or list(_api.mounts())
    return [Parcel(Inheritance(item), b"") if isinstance(item, _api.Mount) else Parcel.pack(item) for item in chosen]


def _packed(names: Snapshot) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vfsoverlay-") as directory:
        file = f"{directory}/listing"
        save_snapshot(names, file)
        with open(file, "rb") as stream:
            return zlib.compress(stream.read(), 1)


class _unpacked:  # noqa: N801 - reads as a function
    """The listing in *packed*, open, so that nobody removes it before the mount has it."""

    def __init__(self, packed: bytes, index: str) -> None:
        with tempfile.TemporaryDirectory(prefix="vfsoverlay-") as directory:
            file = os.path.join(directory, "listing")
            with open(file, "wb") as stream:
                stream.write(zlib.decompress(packed))
            self._snapshot = load_snapshot(file, index, identity=snapshot_info(file)["identity"])

    def __enter__(self) -> Snapshot:
        return self._snapshot

    def __exit__(self, *_: object) -> None:
        self._snapshot.close()
