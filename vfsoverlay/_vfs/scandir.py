"""Directory entries and the iterator over them, as ``os.scandir`` gives them."""

from __future__ import annotations

import os
import sys
import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from vfsoverlay._namespace.nodes import DirectoryNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from vfsoverlay._namespace.nodes import Node

AnyStr = TypeVar("AnyStr", str, bytes)


#: Of a directory: what its entries' paths begin with, and the way to their attributes.
Holder: TypeAlias = "tuple[AnyStr, Callable[[Node], os.stat_result]]"


class Entry(Generic[AnyStr]):
    """One entry of a directory below a mount; passes ``isinstance(entry, os.DirEntry)``."""

    __slots__ = ("_holder", "_node", "_status", "name")

    def __init__(self, name: AnyStr, node: Node, holder: Holder[AnyStr]) -> None:
        self.name: AnyStr = name
        self._node = node
        #: What all entries of the directory have in common: few programs ask for more than names and kinds.
        self._holder: Holder[AnyStr] = holder

    # isinstance() asks __class__ where type() does not match; os.DirEntry itself cannot be subclassed.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return os.DirEntry

    @property
    def path(self) -> AnyStr:
        """The directory as the caller of ``scandir`` gave it, and the name."""
        return self._holder[0] + self.name

    def __fspath__(self) -> AnyStr:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as os.DirEntry
        """Whether this is a directory."""
        return type(self._node) is DirectoryNode

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as os.DirEntry
        """Whether this is a regular file."""
        return type(self._node) is not DirectoryNode

    def is_symlink(self) -> bool:
        """False: a mount has no symbolic links."""
        return False

    if sys.version_info >= (3, 12):

        def is_junction(self) -> bool:
            """False: there are no junctions outside Windows."""
            return False

    def inode(self) -> int:
        """The same number as ``stat().st_ino``."""
        return self.stat().st_ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as os.DirEntry
        """What ``os.stat(self.path)`` gives, without a request."""
        try:
            return self._status
        except AttributeError:
            # Like the kernel's, an entry keeps what it found first.
            self._status: os.stat_result = self._holder[1](self._node)
            return self._status

    def __reduce__(self) -> Any:
        msg = "cannot pickle 'posix.DirEntry' object"
        raise TypeError(msg)


class Respelled(Generic[AnyStr]):
    """The kernel's entry of a directory that was reached by another spelling than the caller's."""

    __slots__ = ("_entry", "name", "path")

    def __init__(self, entry: os.DirEntry[AnyStr], directory: AnyStr) -> None:
        self._entry: os.DirEntry[AnyStr] = entry
        self.name: AnyStr = entry.name
        self.path: AnyStr = os.path.join(directory, entry.name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return os.DirEntry

    # is_dir, stat and the rest: what the entry is does not depend on how it was reached.
    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)

    def __fspath__(self) -> AnyStr:
        return self.path

    def __repr__(self) -> str:
        return repr(self._entry)


class Batched(chain["Entry[str]"]):
    """Entries from lists of them: the interpreter goes through a list without a call."""

    __slots__ = ("batches",)

    #: What gives the lists.
    batches: Iterator[list[Entry[str]]]


class EntryIterator(Generic[AnyStr]):
    """What ``os.scandir`` returns: an iterator, a context manager, and ``close``."""

    # The iterator protocol asks the class for __next__ and gets a slot, whose value is the bound
    # method of another iterator: each step stays in C, which makes os.walk twice as fast.
    __slots__ = ("__next__", "_source")
    __next__: Any

    def __init__(self, entries: Iterator[Any], source: Any = None) -> None:
        self.__next__ = entries.__next__
        #: The kernel's iterator below this one, if any: closed with it.
        self._source = source

    def __iter__(self) -> EntryIterator[AnyStr]:
        return self

    def __enter__(self) -> EntryIterator[AnyStr]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop: the iterator is empty from now on."""
        self.__next__ = iter(()).__next__
        if self._source is not None:
            self._source.close()

    def __del__(self) -> None:
        # The kernel's iterator below this one, if any, warns for itself. A generator that has ended has no frame.
        entries = self.__next__.__self__
        entries = getattr(entries, "batches", entries)
        if self._source is None and getattr(entries, "gi_frame", None) is not None:
            warnings.warn(f"unclosed scandir iterator {self!r}", ResourceWarning, source=self, stacklevel=1)
