"""What a path of a mount may be: a file, which is one object, or a directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

#: A listed object: key, size, mtime_ns, ETag, storage class, version id, as ``ObjectInfo`` has them.
ObjectRow = tuple[str, int, int, str, str, str]


class FileNode(NamedTuple):
    """A file; its key is the prefix of the mount and its path, so it needs none of its own."""

    name: str
    size: int
    mtime_ns: int
    etag: str
    storage_class: str
    version_id: str


class DirectoryNode(NamedTuple):
    """A directory: something is below it, or a marker object ``dir/`` exists."""

    name: str
    mtime_ns: int
    """Changes when the names in the directory are seen to change, as on disk."""


Node = FileNode | DirectoryNode


class Hidden(NamedTuple):
    """An object that no path leads to."""

    key: str
    reason: str


class Page(Protocol):
    """One answer of a listing."""

    @property
    def rows(self) -> list[ObjectRow]:
        """Objects with their whole keys."""

    @property
    def prefixes(self) -> list[str]:
        """Common prefixes; empty without a delimiter."""


class ListPages(Protocol):
    """Lists a store: pages of all keys that begin with *prefix* and follow *start_after*."""

    def __call__(
        self, prefix: str, *, start_after: str = "", delimiter: str = "", page_size: int = 1000
    ) -> Iterator[Page]: ...


class Namespace(Protocol):
    """The names of one mount; safe to use from many threads.

    Paths are relative to the mount, without leading or trailing slash; ``""`` is the root.
    """

    @property
    def object_count(self) -> int:
        """Objects listed so far, hidden ones and markers included."""

    @property
    def total_size(self) -> int:
        """Bytes of these objects."""

    @property
    def generation(self) -> str:
        """Changes whenever a listing may have changed."""

    def lookup(self, path: str) -> Node | None:
        """What *path* is; ``None``: definitely nothing. No text is refused, odd ones name nothing."""

    def is_listed(self, path: str) -> bool:
        """Whether ``scan`` of the directory *path* needs no request now."""

    def scan(self, path: str) -> Iterator[Node]:
        """The children of the directory *path* in byte order of their names."""

    def names(self, path: str) -> list[str]:
        """The names that ``scan`` would give."""

    def hidden(self) -> Iterator[Hidden]:
        """The objects that no path leads to, in byte order of their keys."""

    def after_fork(self) -> None:
        """Drop locks and connections of the parent; called in the child."""

    def close(self) -> None:
        """Give files back; the namespace is not used afterwards."""


#: Told after each page how many objects and bytes were listed so far.
Progress = Callable[[int, int], object]

DEFAULT_PAGE_SIZE: Final = 1000
"""What S3 gives at most in one answer."""
