"""Kept-alive connections to one endpoint, used from many threads, each by one thread at a time.

``http.client`` rather than urllib3's pool: it costs half the CPU for each small GET, reads straight
into our buffer, and the list of idle connections below needs no lock that a fork could leave taken.
"""

from __future__ import annotations

import http.client
import select
import ssl
from base64 import b64encode
from types import TracebackType
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

#: Seconds to wait for a connection. Longer helps nobody: a retry takes another path.
CONNECT_TIMEOUT: Final = 5.0
#: Seconds of silence after which an answer is given up. S3's slowest healthy answers take about ten.
READ_TIMEOUT: Final = 20.0
#: Idle connections kept; beyond that they are closed as they come back.
_KEPT: Final = 64


class Connections:
    """The connections to *url* (scheme, host, port).

    Args:
        url: Endpoint.
        verify: CA bundle, or False for no certificate check; None: botocore's bundle.
        proxies: Proxy URL by scheme; default: from the environment, ``NO_PROXY`` honoured.
    """

    def __init__(self, url: str, *, verify: str | bool | None = None, proxies: dict[str, str] | None = None) -> None:
        self._url = urlsplit(url)
        self._context = _context(verify) if self._url.scheme == "https" else None
        found = get_environ_proxies(url) if proxies is None else proxies
        proxy = found.get(self._url.scheme)
        self._proxy = _parse_proxy(proxy) if proxy else None
        self._idle: list[http.client.HTTPConnection] = []

    def request(self, method: str, target: str, headers: dict[str, str], seconds: float) -> Exchange:
        """Send a request and read the head of its answer, within about *seconds*.

        Raises ``Failure`` of kind unreachable, network, timeout or tls.
        """
        target, headers = self._through_proxy(target, headers)
        while (connection := self._reuse()) is not None:
            answer = self._ask_again(connection, method, target, headers, seconds)
            if answer is not None:
                return answer
        return self._ask(self._connect(seconds), method, target, headers, seconds)

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Take back a connection whose answer was read to the end."""
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle; what is in use closes when it comes back to nobody."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent: the bytes on them are not for us."""
        # Closing our copies of the descriptors sends nothing; the parent's stay open.
        self.close()

    def _reuse(self) -> http.client.HTTPConnection | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if _is_quiet(connection):
                return connection
            connection.close()
        return None

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        connection = self._new_connection(min(CONNECT_TIMEOUT, seconds))
        try:
            connection.connect()
        except Exception as error:
            connection.close()
            failure = _connect_failure(error, self._url.netloc)
            if failure is None:
                raise
            raise failure from error
        return connection

    def _new_connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = _address(self._proxy or self._url)
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(*_address(self._url), headers=_proxy_headers(self._proxy))
        return connection

    def _through_proxy(self, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        if self._proxy is None or self._context is not None:
            return target, headers
        return f"http://{self._url.netloc}{target}", headers | _proxy_headers(self._proxy)

    def _ask_again(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: dict[str, str], seconds: float
    ) -> Exchange | None:
        """The answer on a connection that was idle; None if the server had closed it meanwhile."""
        try:
            return self._ask(connection, method, target, headers, seconds)
        except Failure as failure:
            if failure.kind is not Kind.NETWORK:
                raise
            return None

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: dict[str, str], seconds: float
    ) -> Exchange:
        try:
            connection.sock.settimeout(min(READ_TIMEOUT, seconds))
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise read_failure(error) from error
        return Exchange(self, connection, response)


class Exchange:
    """The answer to one request; leaving it keeps the connection, or closes it when bytes are left on it."""

    __slots__ = ("_connection", "_owner", "_response", "headers", "status")

    def __init__(
        self, owner: Connections, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def readinto(self, buffer: memoryview, seconds: float) -> int:
        """Fill *buffer* as far as the body goes; 0 at its end. Raises ``Failure``."""
        try:
            if (sock := self._connection.sock) is not None:
                sock.settimeout(min(READ_TIMEOUT, seconds))
            return self._response.readinto(buffer)
        except (OSError, http.client.HTTPException) as error:
            raise read_failure(error) from error

    def read(self, seconds: float) -> bytes:
        """The whole body, which must be as long as announced. Raises ``Failure``."""
        try:
            if (sock := self._connection.sock) is not None:
                sock.settimeout(min(READ_TIMEOUT, seconds))
            return self._response.read()
        except (OSError, http.client.HTTPException) as error:
            raise read_failure(error) from error

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response.isclosed() and not self._response.will_close:
            self._owner.keep(self._connection)
        else:
            self._response.close()
            self._connection.close()


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _parse_proxy(url: str) -> SplitResult:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http":
        msg = f"a proxy is reached over http://, not {parts.scheme}://"
        raise ValueError(msg)
    return parts


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _context(verify: str | bool | None) -> ssl.SSLContext:
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=get_cert_path(True) if verify in (None, True) else str(verify))


def _is_quiet(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection is still open: one that can be read has been closed, or is out of step."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


def _connect_failure(error: Exception, where: str) -> Failure | None:
    if isinstance(error, ssl.SSLError):
        return Failure(Kind.TLS, f"no trusted TLS connection to {where}: {error}", connecting=True)
    if isinstance(error, TimeoutError):
        return Failure(Kind.TIMEOUT, f"no connection to {where} within {CONNECT_TIMEOUT:g} s", connecting=True)
    if isinstance(error, (OSError, http.client.HTTPException)):
        return Failure(Kind.UNREACHABLE, f"cannot connect to {where}: {error}", connecting=True)
    return None


def read_failure(error: Exception) -> Failure:
    """What an exception of a connection in use means."""
    if isinstance(error, TimeoutError):
        return Failure(Kind.TIMEOUT, "the store stopped sending")
    return Failure(Kind.NETWORK, f"the connection broke ({type(error).__name__}: {error})".replace(": )", ")"))
