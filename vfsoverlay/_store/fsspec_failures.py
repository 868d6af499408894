"""Exceptions of fsspec's file systems, told as the failures of a store."""

from __future__ import annotations

import asyncio
import errno

from vfsoverlay._store.botocore_failures import refusal_of
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import KIND_OF_EXCEPTION, Kind, kind_of


def failure_of(error: Exception) -> Failure:
    """What *error* means; any exception of any library that a file system is made of is taken."""
    if isinstance(error, Failure):
        return error
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return refusal_of(response)
        kind = KIND_OF_EXCEPTION.get(type(link).__name__)
        if kind is not None:
            return Failure(kind, str(link) or kind.value, connecting=kind is Kind.UNREACHABLE)
        status = _status_of(link)
        if status:
            return Failure(kind_of(status, "", "", has_body=False), str(link), status=status)
    detail = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return Failure(Kind.MISSING_KEY, detail)
    if isinstance(error, PermissionError):
        return Failure(Kind.DENIED, detail, next_step="allow it to this user, or to the credentials in storage_options")
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return Failure(Kind.TIMEOUT, detail)
    return Failure(Kind.NETWORK if _may_pass(error) else Kind.REFUSED, f"{type(error).__name__}: {detail}")


def _status_of(error: BaseException) -> int:
    """The HTTP status that libraries keep under different names: aiohttp, Azure, Google; 0 for none."""
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if type(value) is int and 400 <= value < 600:
            return value
    return 0


def _may_pass(error: Exception) -> bool:
    # File systems that speak to a network raise OSErrors with no number for what it does to them.
    return isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in (None, errno.EIO))


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links
