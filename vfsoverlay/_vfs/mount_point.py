"""One source at one root_dir: where store, namespace and cache meet."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from vfsoverlay import _real
from vfsoverlay._cache.layout import DATA, SMALL_OBJECT
from vfsoverlay._cache.read_range import Wanted
from vfsoverlay._metrics import Metrics
from vfsoverlay._model import ObjectId, ObjectInfo
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode
from vfsoverlay._namespace.snapshot import Snapshot
from vfsoverlay._vfs import attributes
from vfsoverlay._vfs.event_loop import Blocking
from vfsoverlay._vfs.naming import refreshed
from vfsoverlay._vfs.object_read import ONE_PROCESS, ObjectRead
from vfsoverlay._vfs.read_order import File, ReadOrder
from vfsoverlay._vfs.statuses import MOST, PresentStatuses, kept_statuses
from vfsoverlay._vfs.summary import as_html, summary
from vfsoverlay._vfs.warming import WantedFile, Warmed, fetch_all, files_below
from vfsoverlay.errors import ObjectArchived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from vfsoverlay._cache.block_cache import BlockCache
    from vfsoverlay._cache.cached_object import CachedObject
    from vfsoverlay._metrics import Purpose
    from vfsoverlay._namespace.nodes import Hidden, Node
    from vfsoverlay._spec import Mount
    from vfsoverlay._store.protocol import ObjectStore
    from vfsoverlay._vfs.naming import Names
    from vfsoverlay._vfs.progress import Wish
    from vfsoverlay._vfs.statuses import Statuses

#: So many refreshes may pass while a call is under way.
_MOST_RETIRED = 8


class MountPoint:
    """A mount in force: its source, its names and its bytes. ``vfsoverlay.mount`` makes it.

    Used in a ``with`` statement it unmounts at the end of the block, unless another ``mount()`` of
    an equal spec is still in force.
    """

    #: Whether a directory on disk was left in place instead (if_exists="local").
    is_local = False
    #: Whether the parent process made it, and this one only took it over.
    is_inherited = False
    #: Makes mounts invisible; set by who made them visible.
    release: Callable[[MountPoint], None] | None = None
    #: Told when the names were listed anew; set by who made the mount visible.
    changed: Callable[[], object] = staticmethod(lambda: None)
    #: How many ``mount()`` calls gave this point out and have not ended by leaving their ``with`` block.
    holds = 0

    def __init__(
        self,
        spec: Mount,
        store: ObjectStore,
        prefix: str,
        namespace: Names,
        cache: BlockCache,
        metrics: Metrics,
        shadow_dir: str,
    ) -> None:
        self.spec = spec
        self.store = store
        self.prefix = prefix
        self.namespace = namespace
        self.cache = cache
        self.counters = metrics
        self.shadow_dir = shadow_dir
        self.mounted_ns = time.time_ns()
        #: The mount point as given, and as the kernel would resolve it, where its parents have links.
        self.roots = roots_of(spec.root_dir)
        self.device = attributes.device_number(spec.source, spec.root_dir)
        uid, gid = spec.option("uid"), spec.option("gid")
        self.owner = (_real.geteuid() if uid is None else uid, os.getegid() if gid is None else gid)
        modes = spec.option("file_mode"), spec.option("dir_mode")
        self._all_may_read = modes[0] & 0o444 == 0o444
        self._looks = attributes.looks_of(store.origin, prefix, self.device, self.owner, modes)
        self._make_status = attributes.status_maker(self._looks)
        self._origin = store.origin
        self._status: dict[str, tuple[Node, os.stat_result]] = {}
        #: Whether what a path is changes with ``statuses`` alone.
        self.names_stay = isinstance(namespace, Snapshot)
        #: By path: the node, the version that it names, and whether anybody may read it at once.
        self._object_ids: dict[str, tuple[FileNode, ObjectId, bool]] = {}
        #: Objects that were opened in a newer version than the listing names (on_change="reopen").
        self._reopened: dict[str, FileNode | None] = {}
        #: Earlier listings, kept open for calls that have begun on them.
        self._retired: deque[Names] = deque()
        self._refreshing = threading.Lock()
        self._look_up_by(namespace.lookup)
        self._order = ReadOrder(namespace.lookup, namespace.scan, namespace.is_listed)
        self._lookahead = cache.lookahead(self._resolve) if spec.option("readahead") else None

    # --- the public face

    @property
    def source(self) -> str:
        """The URL that is mounted."""
        return self.spec.source

    @property
    def root_dir(self) -> str:
        """Where the objects appear."""
        return self.spec.root_dir

    @property
    def is_mounted(self) -> bool:
        """Whether paths below ``root_dir`` lead here: from ``mount()`` until ``unmount()``."""
        return self.release is not None

    def unmount(self) -> None:
        """End this mount: new calls see the real file system, open files go on. Again: nothing happens."""
        release = self.release
        if release is not None:
            release(self)  # which is None then, unless Ctrl-C came before it had begun

    def __enter__(self) -> MountPoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.holds -= 1
        if self.holds <= 0:
            self.unmount()

    def warm(self, *, max_bytes: int | None = None, ahead: int = 64, progress: Wish = None) -> Warmed:
        """Fetch all files of this mount; the arguments and errors are those of ``vfsoverlay.warm``."""
        files = files_below(self, "", DirectoryNode("", 0), self.root_dir)
        with Blocking("point.warm"):
            return fetch_all(files, ahead=ahead, max_bytes=max_bytes, progress=progress)

    def metrics(self) -> dict[str, float]:
        """Counters since the mount: requests and bytes by purpose, hits, misses, evictions, retries."""
        return self.counters.snapshot()

    def hidden(self) -> Iterator[Hidden]:
        """The objects that no path leads to, each with the reason."""
        return self.namespace.hidden()

    # --- names

    def _look_up_by(self, lookup: Callable[[str], Node | None]) -> None:
        self.lookup = lookup
        #: Attributes by path, as spelled and absolute; others as soon as names may have changed. After the look-up: who
        #: keeps what it gave takes these first, and so never keeps an old name as one of the new ones.
        self.statuses: Statuses = (
            kept_statuses(lookup, self._make_status, self._looks)
            if self.names_stay
            else PresentStatuses(lookup, self.status)
        )

    def names(self, path: str) -> list[str]:
        """The names in the directory *path*; none where it only leads to a mount point below this one."""
        return self.namespace.names(path) if self._is_listed(path) else []

    def scan(self, path: str) -> Iterator[Node]:
        """The nodes in the directory *path*; as ``names``."""
        return self.namespace.scan(path) if self._is_listed(path) else iter(())

    def _is_listed(self, path: str) -> bool:
        return type(self.namespace.lookup(path)) is DirectoryNode

    def size(self) -> tuple[int, int]:
        """Bytes and objects of the whole mount."""
        return self.namespace.total_size, self.namespace.object_count

    def status(self, path: str, node: Node) -> os.stat_result:
        """The attributes of *node* at *path*; kept, since programs ask again and again."""
        known = self._status.get(path)
        if known is not None and (known[0] is node or known[0] == node):
            return known[1]
        result = self._make_status(path, node)
        if len(self._status) >= MOST:
            self._status = {}
        self._status[path] = (node, result)
        return result

    # --- bytes

    def info(self, path: str, node: FileNode) -> ObjectInfo:
        """The object behind *node* at *path*."""
        return ObjectInfo(self.prefix + path, node.size, node.mtime_ns, node.etag, node.storage_class, node.version_id)

    def object_id(self, path: str, node: FileNode) -> ObjectId:
        """The version that *node* names, as the cache knows it; kept, as attributes are."""
        kept = self._object_ids.get(path)
        if kept is None or kept[0] is not node:
            kept = self._keep_object_id(path, node)
        return kept[1]

    def _keep_object_id(self, path: str, node: FileNode) -> tuple[FileNode, ObjectId, bool]:
        mtime_ns = 0 if node.etag else node.mtime_ns
        key = self.prefix + path
        # As ObjectId() does, in one call less: it is made for every file that a process opens.
        parts = self._origin, key, node.etag, node.size, mtime_ns, node.version_id
        object_id: ObjectId = tuple.__new__(ObjectId, parts)
        if len(self._object_ids) >= MOST:
            self._object_ids = {}
        may_read = self._all_may_read and node.storage_class not in attributes.ARCHIVED
        kept = self._object_ids[path] = node, object_id, may_read
        return kept

    def open_known(self, path: str, node: Node | None) -> tuple[int, int, int] | None:
        """The quick way to a file that this process has opened before: a descriptor with its (st_dev, st_ino).

        None where the usual way must decide.
        """
        kept = self._object_ids.get(path)
        if kept is None or kept[0] is not node:
            if type(node) is not FileNode:
                return None
            kept = self._keep_object_id(path, node)
        if not kept[2] or (self._lookahead is not None and self._lookahead.active):
            return None
        return self.cache.open_known(kept[1])

    def open_complete(self, path: str, node: FileNode, *, purpose: Purpose = "read") -> int:
        """A readable descriptor of all bytes of the file, fetched first where they are missing."""
        foreseen = self._lookahead is not None and self._lookahead.active
        if foreseen:
            self._foresee(path)

        def on_miss() -> None:
            self._refuse_archived(path, node)
            if not foreseen:
                self._foresee(path)

        return self.cache.open(self.object_id(path, node), self._reader(path, node), on_miss, purpose=purpose)

    def fetch_in_order(self, files: Iterable[WantedFile], *, ahead: int) -> Iterator[WantedFile]:
        """Give *files* of this mount in order, each when it is complete on disk; fetches up to *ahead* of them."""
        return self.cache.warm(files, self._identify, self._resolve_wanted, ahead=ahead)

    def _foresee(self, path: str) -> None:
        """Tell the readahead over small files that *path* is opened."""
        if self._lookahead is None:
            return
        place = self._order.number(path)
        if place is not None:
            run, number = place
            self._lookahead.opened(run, number, lambda ahead: self._order.file_at(path, run, ahead))

    def _resolve(self, file: File) -> Wanted:
        return self._wanted(file.path, file.node)

    def _identify(self, file: WantedFile) -> ObjectId:
        return self.object_id(file.path, file.node)

    def _resolve_wanted(self, file: WantedFile) -> Wanted:
        # Who warms has not opened this one, so nobody else knows which of many it was.
        return self._wanted(file.path, file.node, file.spelled)

    def _wanted(self, path: str, node: FileNode, spelled: str = "") -> Wanted:
        read = self._reader(path, node, spelled)
        return Wanted(self.object_id(path, node), read, read.begin if read.can_begin else None)

    def is_lazy(self, path: str, node: FileNode) -> bool:
        """Whether a reader of this file is served as it reads: large, and not complete on disk."""
        if node.size <= SMALL_OBJECT:
            return False
        fd = self.cache.open_complete(self.object_id(path, node))
        if fd is None:
            return True
        _real.close(fd)
        return False

    def open_partial(self, path: str, node: FileNode) -> CachedObject:
        """A handle that fetches what is read."""
        self._refuse_archived(path, node)
        return self.cache.open_partial(self.object_id(path, node), self._reader(path, node))

    def cached(self, path: str, node: FileNode) -> int:
        """Bytes of the file that are on local disk."""
        try:
            status = _real.stat(self.cache.layout.stem(self.object_id(path, node)) + DATA)
        except FileNotFoundError:
            return 0
        return min(node.size, status.st_blocks * 512)

    @property
    def view_dir(self) -> str:
        """Where local copies have readable names."""
        return f"{self.cache.directory}/view"

    def _refuse_archived(self, path: str, node: FileNode) -> None:
        if node.storage_class in attributes.ARCHIVED:
            message = (
                f"{self.prefix}{path} is archived in storage class {node.storage_class}; "
                "restore it (aws s3api restore-object), then mount again or refresh()"
            )
            raise ObjectArchived(errno.EACCES, message)

    def _reader(self, path: str, node: FileNode, spelled: str = "") -> ObjectRead:
        is_foreign = self.is_inherited and self.source.startswith(ONE_PROCESS)
        return ObjectRead(self.store, self.info(path, node), spelled=spelled, is_foreign=is_foreign)

    def reopened(self, path: str, node: FileNode) -> FileNode | None:
        """The newer version of a file whose listed one, *node*, is gone, if the mount may turn to it; else None.

        What was found counts for ``stat`` as well, until ``refresh()``.

        Raises:
            FileNotFoundError: The object is gone altogether; without filename.
        """
        if self.spec.option("on_change") != "reopen":
            return None
        key = self.prefix + path
        newer: FileNode | None = None
        for page in self.store.list_pages(key, page_size=1):
            newer = next((FileNode(node.name, *row[1:]) for row in page.rows if row[0] == key), None)
            break
        if newer == node:
            # The listing is behind the reads (or the server errs): there is nothing newer to turn to.
            return None
        self._reopened[path] = newer
        self._look_up_by(self._lookup_reopened)
        if newer is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return newer

    def _lookup_reopened(self, path: str) -> Node | None:
        if path in self._reopened:
            return self._reopened[path]
        return self.namespace.lookup(path)

    def refresh(self, path: str | os.PathLike[str] | None = None) -> None:
        """List again: all names, or those below the directory *path*; open files keep their version.

        Raises:
            ValueError: *path* does not lie below this mount.
            TooManyObjects: As ``mount()``; the names stay as they were.
            ObjectTooLarge: As ``mount()``.
            OSError: The source cannot be listed; the names stay as they were.
        """
        below = "" if path is None else self._relative(os.fspath(path))
        # One after the other: the file that one compares with must not be retired by another.
        with Blocking("point.refresh"), self._refreshing:
            self._refresh(below)
        self.changed()

    def _refresh(self, below: str) -> None:
        fresh = refreshed(self.namespace, self.spec, self.store, below)
        old, self.namespace = self.namespace, fresh
        self._status, self._reopened = {}, {}
        self._look_up_by(fresh.lookup)
        self._order = ReadOrder(fresh.lookup, fresh.scan, fresh.is_listed)
        if old is not fresh:
            # Not closed at once: other threads may be in the middle of a look-up or a listing of it.
            self._retired.append(old)
            if len(self._retired) > _MOST_RETIRED:
                self._retired.popleft().close()

    def _relative(self, path: str) -> str:
        for root in self.roots:
            if path.rstrip("/") == root:
                return ""
            if path.startswith(root + "/"):
                return path[len(root) + 1 :].rstrip("/")
        msg = f"{path} does not lie below the mount point {self.root_dir}"
        raise ValueError(msg)

    # --- life

    def after_fork(self) -> None:
        """In a forked child: nothing of the parent's connections, threads and locks is used."""
        self._refreshing = threading.Lock()
        self.counters.after_fork()
        self.store.after_fork()
        for names in (*self._retired, self.namespace):
            names.after_fork()
        self._order.after_fork()
        if self._lookahead is not None:
            self._lookahead.after_fork()
        self.cache.after_fork()

    def close(self) -> None:
        """Give everything back; descriptors that were handed out stay valid."""
        self.counters.end()
        if self._lookahead is not None:
            self._lookahead.close()
        self.cache.close()
        for names in (*self._retired, self.namespace):
            names.close()
        self._retired.clear()
        self.store.close()

    def __repr__(self) -> str:
        return f"<MountPoint {self.spec.source} at {self.spec.root_dir}>"

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        return as_html(summary(self))


def roots_of(root_dir: str) -> tuple[str, ...]:
    parent, _, name = root_dir.rpartition("/")
    resolved = _real.realpath(parent or "/").rstrip("/") + "/" + name
    return (root_dir,) if resolved == root_dir else (root_dir, resolved)
