"""The names of a mount that is listed directory by directory, when one is first touched."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from vfsoverlay._namespace.crew import close_pages
from vfsoverlay._namespace.directory_cache import DirectoryCache
from vfsoverlay._namespace.directory_listing import DirectoryListing
from vfsoverlay._namespace.listing import Limits
from vfsoverlay._namespace.names import why_invalid
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Hidden, ListPages, Node, ObjectRow
from vfsoverlay._namespace.schema import encode_key
from vfsoverlay.errors import ObjectArchived

#: Asks for one object by its key: its row, ``FileNotFoundError``, or another OSError.
Head = Callable[[str], ObjectRow]

DEFAULT_TTL: Final = 60.0
_ABSENT_TTL: Final = 5.0
"""Seconds: an object that somebody else has just written is soon found."""
_MAX_KEY: Final = 1024
"""Bytes; S3 refuses to list a longer prefix."""
_PROBE: Final = 4
"""Keys asked for to learn what one path is: itself, ``path/``, and a few between them such as ``path-1``."""
_MAX_ANSWERS: Final = 10_000


class LazyNamespace:
    """A namespace that lists what it is asked about; ``Namespace`` says what the common methods do.

    A directory is listed whole when it is scanned, and that answers for all its children as long as
    it is fresh. What no listing answers is asked for with one small request. Failures are raised and
    never remembered; absence is remembered for seconds, and asking again does not prolong that.

    Args:
        list_pages: Lists the store.
        prefix: Empty, or ends in a slash.
        max_objects: Objects that may be seen; directories never looked at do not count.
        max_object_size: Bytes one of them may have.
        ttl: Seconds a listing is used for; ``math.inf`` is allowed.
        head: Asks for one object, for those who may read but not list.
        ordered: Whether pages are in byte order of keys; saves requests.
        clock: Seconds that only grow.
        now_ns: The time of day, for the mtime of directories.
    """

    def __init__(
        self,
        list_pages: ListPages,
        prefix: str,
        *,
        max_objects: int,
        max_object_size: int,
        ttl: float = DEFAULT_TTL,
        head: Head | None = None,
        ordered: bool = True,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.prefix = prefix
        self._list_pages = list_pages
        self._max_objects = max_objects
        self._max_object_size = max_object_size
        self._ttl = ttl
        self._head = head
        self._ordered = ordered
        self._clock = clock
        self._now_ns = now_ns
        self._born_ns = now_ns()
        self.object_count = 0
        self.total_size = 0
        self._refreshed = 0
        self._listings: DirectoryCache[DirectoryListing] = DirectoryCache()
        self._answers: dict[str, tuple[Node | None, float]] = {}
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        self._turns: dict[str, _Turn] = {}

    @property
    def generation(self) -> str:
        """Changes with ``refresh``."""
        return str(self._refreshed)

    def lookup(self, path: str) -> Node | None:
        """What *path* is; ``None``: nothing. Makes one request at most, two in rare cases."""
        if not path:
            return DirectoryNode("", self._mtime(""))
        above, slash, name = path.rpartition("/")
        if slash and not above:
            return None
        listing = self._fresh(above)
        node = self._lookup_unlisted(path, name) if listing is None else listing.nodes.get(name)
        return DirectoryNode(name, self._mtime(path)) if type(node) is DirectoryNode else node

    def is_listed(self, path: str) -> bool:
        """Whether ``scan`` of the directory *path*, and what leads to it, needs no request now."""
        return self._fresh(path) is not None and (not path or self._fresh(path.rpartition("/")[0]) is not None)

    def scan(self, path: str) -> Iterator[Node]:
        """The children of the directory *path*, in byte order of their names."""
        nodes = self._listing(path).nodes.values()
        above = path + "/" if path else ""
        return (
            DirectoryNode(node.name, self._mtime(above + node.name)) if type(node) is DirectoryNode else node
            for node in nodes
        )

    def names(self, path: str) -> list[str]:
        """The names in the directory *path*, in byte order."""
        return list(self._listing(path).nodes)

    def hidden(self) -> Iterator[Hidden]:
        """The objects seen that no path leads to; of several below an invalid folder, the folder."""
        found = {hidden for listing in list(self._listings.items.values()) for hidden in listing.hidden}
        return iter(sorted(found, key=lambda hidden: encode_key(hidden.key)))

    def refresh(self, path: str = "") -> None:
        """Forget what was listed about *path* and all below it; it is asked for again when it is needed."""
        with self._lock:
            self._refreshed += 1
            self._answers.clear()
            for listed in list(self._listings.items):
                if not path or listed == path or listed == path.rpartition("/")[0] or listed.startswith(path + "/"):
                    self._listings.drop(listed)

    def after_fork(self) -> None:
        """Take new locks; called in the child."""
        self._lock = threading.Lock()
        self._turns = {}

    def close(self) -> None:
        """Forget all names."""
        with self._lock:
            self._listings.clear()
            self._answers.clear()

    # --- directories

    def _fresh(self, path: str) -> DirectoryListing | None:
        listing = self._listings.items.get(path)
        if listing is None or listing.until <= self._clock():
            return None
        listing.used = True
        return listing

    def _listing(self, path: str) -> DirectoryListing:
        listing = self._fresh(path)
        if listing is not None:
            return listing
        with self._turn(path):
            # Somebody else may have listed it while we waited.
            return self._fresh(path) or self._list(path)

    def _list(self, path: str) -> DirectoryListing:
        limits = Limits(self._max_objects, self._max_object_size, advice="mount a longer prefix")
        with self._lock:
            limits.objects = self.object_count - self._seen.get(path, _UNSEEN).objects
            refreshed = self._refreshed
        prefix = f"{self.prefix}{path}/" if path else self.prefix
        asked = self._clock()
        pages = self._list_pages(prefix, delimiter="/")
        try:
            listing = DirectoryListing(pages, prefix, limits, asked + self._ttl)
        finally:
            close_pages(pages)
        self._note(path, listing)
        if path and not listing.exists:
            self._remember(path, None, asked, refreshed)
            raise FileNotFoundError(errno.ENOENT, "the directory is gone", path)
        with self._lock:
            if refreshed == self._refreshed:  # else it is older than the refresh
                self._listings.put(path, listing)
        return listing

    def _note(self, path: str, listing: DirectoryListing) -> None:
        """Count what *listing* shows; the mtime changes exactly when names come or go, or change their kind."""
        names = hash(tuple((name, type(node)) for name, node in listing.nodes.items()))
        with self._lock:
            before = self._seen.pop(path, _UNSEEN)
            mtime_ns = self._born_ns
            if before is not _UNSEEN:
                mtime_ns = before.mtime_ns if names == before.names else max(self._now_ns(), before.mtime_ns + 1)
            if listing.exists:
                self._seen[path] = _Seen(listing.objects, listing.size, names, mtime_ns)
            self.object_count += listing.objects - before.objects
            self.total_size += listing.size - before.size

    def _mtime(self, path: str) -> int:
        seen = self._seen.get(path)
        return self._born_ns if seen is None else seen.mtime_ns

    # --- single paths

    def _lookup_unlisted(self, path: str, name: str) -> Node | None:
        if not self._possible(path) or self._ruled_out(path):
            return None
        known = self._answers.get(path)
        if known is not None and known[1] > self._clock():
            return known[0]
        with self._turn(path):
            known = self._answers.get(path)
            if known is not None and known[1] > self._clock():
                return known[0]
            refreshed, asked = self._refreshed, self._clock()
            node = self._ask(self.prefix + path, name)
            self._remember(path, node, asked, refreshed)
            while node is not None and "/" in path:
                # What is above something is a directory.
                path = path.rpartition("/")[0]
                self._remember(path, DirectoryNode(path.rpartition("/")[2], 0), asked, refreshed)
            return node

    def _ruled_out(self, path: str) -> bool:
        """Whether the nearest directory above that is listed shows nothing on the way to *path*."""
        rest = path
        while rest:
            rest, _, component = rest.rpartition("/")
            listing = self._fresh(rest)
            if listing is not None:
                return type(listing.nodes.get(component)) is not DirectoryNode
        return False

    def _remember(self, path: str, node: Node | None, asked: float, refreshed: int) -> None:
        until = asked + (min(self._ttl, _ABSENT_TTL) if node is None else self._ttl)
        with self._lock:
            if refreshed == self._refreshed:
                self._answers.pop(path, None)
                while len(self._answers) >= _MAX_ANSWERS:
                    del self._answers[next(iter(self._answers))]
                self._answers[path] = (node, until)

    def _ask(self, key: str, name: str) -> Node | None:
        try:
            return self._probe(key, name)
        except OSError as error:
            if self._head is None or error.errno != errno.EACCES:
                raise
            return self._ask_head(self._head, key, name, error)

    def _probe(self, key: str, name: str) -> Node | None:
        """One small listing shows the object *key* and whether there is something below ``key/``."""
        folder, found = key + "/", None
        pages = self._list_pages(key, delimiter="/", page_size=_PROBE)
        try:
            for page in pages:
                if folder in page.prefixes:
                    return DirectoryNode(name, 0)
                found = next((row for row in page.rows if row[0] == key), found)
                keys = [row[0] for row in page.rows] + page.prefixes
                if len(keys) >= _PROBE:
                    # Names such as key-1 and key.txt fill the page; those behind key/ prove that it is not there.
                    if not (self._ordered and max(keys) > folder) and self._anything_below(folder):
                        return DirectoryNode(name, 0)
                    break
        finally:
            close_pages(pages)
        return None if found is None else self._file(name, found)

    def _anything_below(self, folder: str) -> bool:
        pages = self._list_pages(folder, page_size=1)
        try:
            return any(page.rows for page in pages)
        finally:
            close_pages(pages)

    def _ask_head(self, head: Head, key: str, name: str, denied: OSError) -> Node:
        try:
            return self._file(name, head(key))
        except ObjectArchived:
            raise
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.ENOENT}:
                raise
            # Who may not list gets the same answer for what is denied, what is not there, and folders.
            msg = f"cannot tell whether {key!r} exists: listing is denied, and it is no object that can be read"
            raise PermissionError(errno.EACCES, f"{msg}; allow s3:ListBucket on the prefix") from denied

    def _file(self, name: str, row: ObjectRow) -> FileNode:
        Limits(self._max_objects, self._max_object_size).check([row])
        return FileNode._make((name, *row[1:]))

    def _possible(self, path: str) -> bool:
        """Whether an object could have this name."""
        valid = not any(map(why_invalid, path.split("/")))
        return valid and len((self.prefix + path).encode("utf-8", "surrogateescape")) <= _MAX_KEY

    # --- turns

    @contextmanager
    def _turn(self, path: str) -> Iterator[None]:
        """Wait while another thread asks for *path*: its answer will do."""
        with self._lock:
            turn = self._turns.setdefault(path, _Turn())
            turn.users += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.users -= 1
                if not turn.users:
                    self._turns.pop(path, None)


class _Turn:
    """A lock, and how many threads hold it or wait for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0


class _Seen(NamedTuple):
    """What is kept about a directory when its listing is dropped."""

    objects: int
    size: int
    names: int
    mtime_ns: int


_UNSEEN: Final = _Seen(0, 0, 0, 0)
