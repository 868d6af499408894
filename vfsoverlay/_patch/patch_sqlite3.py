"""Opening a database by ``sqlite3.connect``, which SQLite does by itself: read-only and unchanging, as a mount is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from vfsoverlay import _real
from vfsoverlay._namespace.nodes import FileNode
from vfsoverlay._patch.dispatch import STATE, answer, text_of, trimmed
from vfsoverlay._patch.local_copies import copy_at, is_missing, place_of
from vfsoverlay._patch.replacement import Replacement

if TYPE_CHECKING:
    from vfsoverlay._vfs.location import Location

_DATABASE: Final = 0
_URI: Final = 7

#: What lies beside a database that is in use, and what it holds that the database itself does not.
_BESIDE: Final = {
    "-wal": "a write-ahead log with transactions that are not in the database itself",
    "-journal": "a journal of a transaction that was not finished",
}


class Connect(Replacement):
    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._serve(args, kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

    def _serve(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        database = args[_DATABASE] if args else kwargs.get("database")
        uri = bool(args[_URI] if len(args) > _URI else kwargs.get("uri", False))
        if database in ("", ":memory:"):
            return self.real(*args, **kwargs)
        path, query = _parts(database, uri=uri)
        place = place_of(path)
        if place is None and not is_missing(path):
            return self.real(*args, **kwargs)
        if place is None or type(place.node) is not FileNode or place.slash:
            raise _cannot_open()
        _refuse_unfinished(place)
        with copy_at(place) as copy:
            unchanging = {**query, "mode": "ro", "immutable": "1"}
            name = f"file:{quote(copy)}?{urlencode(unchanging, quote_via=quote)}"
            return self._connect(name, args, kwargs)

    def _connect(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The real call with *name*, a URI, in the place of the caller's database."""
        if len(args) > _URI:
            return self.real(name, *args[1:_URI], True, *args[_URI + 1 :], **kwargs)
        if args:
            return self.real(name, *args[1:], **{**kwargs, "uri": True})
        return self.real(**{**kwargs, "database": name, "uri": True})


def _parts(database: Any, *, uri: bool) -> tuple[Any, dict[str, str]]:
    """The path that *database* names, and the parameters of a URI."""
    text = text_of(database)
    if not uri or not isinstance(text, (str, bytes)):
        return text, {}
    name = text if isinstance(text, str) else os.fsdecode(text)
    if not name.startswith("file:"):
        return name, {}
    rest, _, query = name[len("file:") :].partition("#")[0].partition("?")
    if rest.startswith("//"):
        # An authority, empty or "localhost".
        rest = "/" + rest[2:].partition("/")[2]
    return unquote(rest), dict(parse_qsl(query))


def _refuse_unfinished(place: Location) -> None:
    """A database is not all there is where a log lies beside it, and what it holds alone may be wrong."""
    for suffix, meaning in _BESIDE.items():
        beside = place_of(place.absolute + suffix)
        if beside is not None and type(beside.node) is FileNode and _is_hot(beside, beside.node, suffix):
            message = (
                f"{place.spelled}: beside it lies {beside.last}, {meaning}; "
                "close the database where it is written (PRAGMA wal_checkpoint(TRUNCATE)) and upload it again"
            )
            raise _operational_error()(message)


def _is_hot(beside: Location, node: FileNode, suffix: str) -> bool:
    """Whether SQLite would read it: an empty log is none, and a journal that begins with zero is finished."""
    if not node.size or suffix == "-wal":
        return bool(node.size)
    fd: int = answer(STATE.files.open_file, beside, node, os.O_RDONLY)
    try:
        return _real.pread(fd, 1, 0) != b"\0"
    finally:
        _real.close(fd)


def _operational_error() -> Any:
    """``sqlite3.OperationalError``; whoever calls ``connect`` has its module loaded."""
    return sys.modules["_sqlite3"].OperationalError


def _cannot_open() -> Exception:
    """What SQLite says of a missing database where it may not make one, and of a directory."""
    error: Exception = _operational_error()("unable to open database file")
    if sys.version_info >= (3, 11):
        error.sqlite_errorcode = 14  # type: ignore[attr-defined]
        error.sqlite_errorname = "SQLITE_CANTOPEN"  # type: ignore[attr-defined]
    return error
