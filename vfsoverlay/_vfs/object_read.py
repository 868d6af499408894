"""How the cache comes by the bytes of one object of a mount, and what its failures mean to readers of the mount."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vfsoverlay.errors import StaleObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfsoverlay._metrics import Purpose
    from vfsoverlay._model import ObjectInfo
    from vfsoverlay._store.protocol import Begun, ObjectStore, Sink

#: The objects of such a source live in the memory of the process that wrote them.
ONE_PROCESS = "memory://"


class ObjectRead:
    """Reads one version of one object; the cache's ``ReadRange``.

    Args:
        store: Where it is.
        info: Which one.
        spelled: What errors call it, where nobody else knows which of many files it was; else empty.
        is_foreign: Whether another process wrote it into its own memory.
    """

    __slots__ = ("_info", "_is_foreign", "_spelled", "_store")

    def __init__(self, store: ObjectStore, info: ObjectInfo, *, spelled: str = "", is_foreign: bool = False) -> None:
        self._store = store
        self._info = info
        self._spelled = spelled
        self._is_foreign = is_foreign

    def __call__(self, start: int, stop: int, sink: Sink, purpose: Purpose) -> None:
        """Give bytes *start* to *stop* to *sink*; raises OSError."""
        with self.telling():
            self._store.read_range(self._info, start, stop, sink, purpose=purpose)

    @property
    def can_begin(self) -> bool:
        """Whether the store knows how to ask without waiting."""
        return self._store.begin is not None

    def begin(self, purpose: Purpose) -> Begun | None:
        """Ask for all of it without waiting; None: only a call can, which may wait."""
        begin = self._store.begin
        begun = None if begin is None else begin(self._info, purpose)
        return None if begun is None else _BegunRead(begun, self)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Errors of the block say what they mean to a reader of the mount."""
        try:
            yield
        except FileNotFoundError as error:
            told = StaleObject(errno.ESTALE, self._why_it_is_gone())
            told.filename = self._spelled or None
            raise told from error
        except OSError as error:
            if self._spelled and error.filename is None:
                error.filename = self._spelled
            raise

    def _why_it_is_gone(self) -> str:
        key = self._info.key
        if self._is_foreign:
            return (
                f"{key} is not in this process: {ONE_PROCESS} holds what a process itself has written, "
                "and only forked children share that; use file:///directory/ to share with others"
            )
        return f"{key} was deleted after it was listed; refresh() the mount to see the names of now"


class _BegunRead:
    """As ``vfsoverlay._store.protocol.Begun``."""

    __slots__ = ("_read", "close", "content", "fileno", "finish_as_it_is", "take")

    def __init__(self, begun: Begun, read: ObjectRead) -> None:
        self._read = read
        self.fileno, self.take, self.content, self.close = begun.fileno, begun.take, begun.content, begun.close
        self.finish_as_it_is = begun.finish

    def finish(self, sink: Sink) -> None:
        with self._read.telling():
            self.finish_as_it_is(sink)
