"""Two worlds that must look alike: a kernel's read-only bind mount, and a mount of vfsoverlay."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import vfsoverlay
from vfsoverlay import _real
from vfsoverlay.testing import S3Server

MTIME = 1_600_000_000

NFC, NFD = "caf\u00e9", "cafe\u0301"
LONG = "n" * 254 + "m"

#: What both worlds show below their mount point.
CONTENT: dict[str, bytes] = {
    "a.txt": b"one\ntwo\r\nthree\n",
    "empty": b"",
    "sub/b.bin": bytes(range(256)) * 8,
    "sub/deep/c.txt": "gr\u00fc\u00dfe\n".encode(),
    "sub/inner/hidden-when-nested": b"below",
    "sub/deep/sp ace\nline": b"odd name",
    f"names/{NFC}": b"composed",
    f"names/{NFD}": b"decomposed",
    f"names/{LONG}": b"longest name",
    "names/A.TXT": b"upper",
    "names/.hidden": b"dot",
    "names/...": b"three dots",
    "names/-dash": b"dash",
    "names/back\\slash": b"backslash",
}
#: What the second mount of some layouts shows.
SECOND: dict[str, bytes] = {"s.txt": b"second", "more/t.txt": b"third"}

LAYOUTS = ("plain", "no parents", "shadowed", "empty", "link parent", "nested", "two")


class World(NamedTuple):
    """A directory with things that lead into a mount at ``top/data``."""

    base: str
    layout: str

    @property
    def root(self) -> str:
        return f"{self.base}/top/data"

    def links(self) -> dict[str, str]:
        """Symbolic links on disk, by name."""
        return {
            "link_root": self.root,
            "link_top": f"{self.base}/top",
            "link_sub": "top/data/sub",
            "link_file": f"{self.base}/top/data/a.txt",
            "link_dangling": f"{self.base}/top/data/missing",
            "link_out": f"{self.base}/nowhere",
            "link_up": "top/data/sub/../..",
            "loop": "loop",
            "chain": "link_root",
            "side/rel_link": "../top/data",
        }

    def build(self) -> None:
        """Make (again) everything but the mounts."""
        for directory in ("", "side"):
            os.makedirs(f"{self.base}/{directory}", exist_ok=True)
        if self.layout == "link parent":
            os.makedirs(f"{self.base}/real_top", exist_ok=True)
            if not os.path.lexists(f"{self.base}/top"):
                os.symlink("real_top", f"{self.base}/top")
        elif self.layout != "no parents":
            os.makedirs(f"{self.base}/top", exist_ok=True)
        for name, target in self.links().items():
            _remove(f"{self.base}/{name}")
            os.symlink(target, f"{self.base}/{name}")
        for name in ("plain.txt", "side/note.txt"):
            _remove(f"{self.base}/{name}")
            Path(self.base, name).write_bytes(b"outside\n")
            os.chmod(f"{self.base}/{name}", 0o644)
            os.utime(f"{self.base}/{name}", (MTIME, MTIME))

    def signature(self) -> Any:
        """What ``build`` made, as the real file system has it."""
        found: list[Any] = []
        for folder in (self.base, f"{self.base}/side", f"{self.base}/top"):
            try:
                names = sorted(set(_real.listdir(folder)) - self._mounted_in(folder))
            except OSError:
                continue
            found.append((folder, _real.stat(folder).st_mode, names))
            for name in names:
                status = _real.lstat(f"{folder}/{name}")
                kind = stat.S_IFMT(status.st_mode)
                exact = (status.st_mode, status.st_mtime_ns, status.st_size) if kind == stat.S_IFREG else kind
                found.append((name, exact, _real.readlink(f"{folder}/{name}") if kind == stat.S_IFLNK else ""))
        return found

    def _mounted_in(self, folder: str) -> set[str]:
        """Names in *folder* that mounts, and not calls, may have brought."""
        names = {f"{self.base}/top": {"data"}, self.base: {"top"}}
        if self.layout == "two":
            names[f"{self.base}/side"] = {"second"}
        return names.get(folder, set())

    def leak(self) -> bool:
        """Whether something came to be on disk where only the mount is; removes it."""
        if not self.base.endswith("-B") or self.layout in {"empty", "shadowed"}:
            return False
        place = f"{self.base}/top" if self.layout == "no parents" else self.root
        leaked = _on_disk(place)
        if leaked:
            _remove(place)
        return leaked

    def repair(self, wanted: Any) -> None:
        """After a call that may have changed something outside of the mount."""
        if self.signature() == wanted:
            return
        for folder, mode, names in [entry for entry in wanted if entry[0].startswith("/")]:
            os.chmod(folder, stat.S_IMODE(mode))
            for name in set(_real.listdir(folder)) - set(names) - self._mounted_in(folder):
                _remove(f"{folder}/{name}")
        self.build()
        now = self.signature()
        assert now == wanted, [pair for pair in zip(now, wanted, strict=False) if pair[0] != pair[1]]


def _on_disk(path: str) -> bool:
    try:
        _real.lstat(path)
    except OSError:
        return False
    return True


def _remove(path: str) -> None:
    try:
        is_directory = stat.S_ISDIR(_real.lstat(path).st_mode)
    except OSError:
        return
    if is_directory:
        for name in _real.listdir(path):
            _remove(f"{path}/{name}")
        _real.rmdir(path)
    else:
        _real.unlink(path)


def write_tree(directory: Path, content: dict[str, bytes]) -> None:
    """*content* as files that look like objects: read-only, with one time."""
    for name, data in content.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o444)
        os.utime(file, (MTIME, MTIME))
    for folder, _, _ in os.walk(directory):
        os.chmod(folder, 0o555)


def can_bind(directory: Path) -> bool:
    """Whether this process may make kernel mounts."""
    (directory / "probe").mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "--bind", directory / "probe", directory / "probe"], capture_output=True, check=False
    )
    return not done.returncode and not subprocess.run(["umount", directory / "probe"], check=False).returncode


@contextlib.contextmanager
def kernel_world(scratch: Path, layout: str) -> Iterator[World]:
    """The reference: the kernel mounts the content read-only."""
    world = World(str(scratch / "world-A"), "plain" if layout == "no parents" else layout)
    world.build()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_bound(scratch / "content", CONTENT, world.root))
        if layout == "nested":
            stack.enter_context(_bound(scratch / "second", SECOND, f"{world.root}/sub/inner"))
        if layout == "two":
            stack.enter_context(_bound(scratch / "second", SECOND, f"{world.base}/side/second"))
        yield world


@contextlib.contextmanager
def _bound(source: Path, content: dict[str, bytes], target: str) -> Iterator[None]:
    write_tree(source, content)
    os.makedirs(target, exist_ok=True)
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", target], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


@contextlib.contextmanager
def overlay_world(scratch: Path, layout: str) -> Iterator[World]:
    """The same through ``vfsoverlay.mount``; what the kernel needs for a mount point is not there."""
    world = World(str(scratch / "world-B"), layout)
    world.build()
    if layout in {"empty", "shadowed"}:
        os.makedirs(world.root)
    if layout == "shadowed":
        write_tree(Path(world.root), {"a.txt": b"local", "local.txt": b"local"})
    with S3Server() as server, contextlib.ExitStack() as stack:
        specs = [("first", CONTENT, world.root)]
        if layout == "nested":
            specs.append(("second", SECOND, f"{world.root}/sub/inner"))
        if layout == "two":
            specs.append(("second", SECOND, f"{world.base}/side/second"))
        for bucket, content, root in specs:
            server.create_bucket(bucket, public=True)
            for key, data in content.items():
                server.put(bucket, key, data, last_modified=MTIME)
            stack.enter_context(vfsoverlay.mount(f"s3://{bucket}/", root, **server.mount_options()))
        yield world
