"""Exceptions of fsspec's file systems, told as the failures of a store."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, Final

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind, kind_of

#: Exceptions by name: their libraries may not be installed, and need not be loaded to recognise them.
_KIND_OF_NAME: Final = {
    "NoCredentialsError": Kind.NO_CREDENTIALS,
    "PartialCredentialsError": Kind.NO_CREDENTIALS,
    "EndpointConnectionError": Kind.UNREACHABLE,
    "ClientConnectorError": Kind.UNREACHABLE,
    "ConnectTimeoutError": Kind.TIMEOUT,
    "ReadTimeoutError": Kind.TIMEOUT,
    "FSTimeoutError": Kind.TIMEOUT,
    "SSLError": Kind.TLS,
    "ClientConnectorCertificateError": Kind.TLS,
    "ClientPayloadError": Kind.NETWORK,
    "ServerDisconnectedError": Kind.NETWORK,
    "IncompleteRead": Kind.NETWORK,
    "HTTPClientError": Kind.NETWORK,
}


def failure_of(error: Exception) -> Failure:
    """What *error* means; any exception of any library that a file system is made of is taken."""
    if isinstance(error, Failure):
        return error
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return _of_s3(response)
        kind = _KIND_OF_NAME.get(type(link).__name__)
        if kind is not None:
            return Failure(kind, str(link) or kind.value, connecting=kind is Kind.UNREACHABLE)
    detail = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return Failure(Kind.MISSING_KEY, detail)
    if isinstance(error, PermissionError):
        return Failure(Kind.DENIED, detail)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return Failure(Kind.TIMEOUT, detail)
    return Failure(Kind.NETWORK if _may_pass(error) else Kind.REFUSED, f"{type(error).__name__}: {detail}")


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


def _of_s3(response: dict[str, Any]) -> Failure:
    told = response["Error"]
    about = response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    # botocore puts the status where S3 gave no code.
    code = "" if code.isdecimal() else code
    headers = about.get("HTTPHeaders", {})
    return Failure(
        kind_of(status, code, message, has_body=bool(code)),
        message or "no reason given",
        status=status,
        code=code,
        request_id=str(about.get("RequestId", "")),
        region=str(headers.get("x-amz-bucket-region", "")),
    )
