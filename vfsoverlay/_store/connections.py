"""Kept-alive connections to one endpoint, used from many threads, each by one thread at a time.

``http.client`` makes them (TLS, proxies); requests and answers are short enough to be written and
read here, for a third of the CPU that urllib3 takes for a small GET. The list of idle connections
needs no lock, so a fork cannot leave one taken.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from types import TracebackType
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.http_answer import READ_TIMEOUT, HttpAnswer, broken
from vfsoverlay._store.kinds import Kind

#: Seconds to wait for a connection. Longer helps nobody: a retry takes another path.
CONNECT_TIMEOUT: Final = 5.0
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
        self._idle: list[socket.socket] = []

    def get(self, target: str, headers: dict[str, str], remaining: Callable[[], float]) -> Exchange:
        """Send a GET and read the head of its answer, within the *remaining* seconds, which also hold for its body.

        Raises ``Failure`` of kind unreachable, network, timeout, malformed or tls.
        """
        message = self._compose(target, headers)
        while (sock := self._reuse()) is not None:
            answer = self._ask_again(sock, message, remaining)
            if answer is not None:
                return answer
        return self._ask(self._connect(remaining()), message, remaining)

    def keep(self, sock: socket.socket) -> None:
        """Take back a connection whose answer was read to the end."""
        if len(self._idle) < _KEPT:
            self._idle.append(sock)
        else:
            sock.close()

    def close(self) -> None:
        """Close what is idle; what is in use is closed by its user."""
        idle, self._idle = self._idle, []
        for sock in idle:
            sock.close()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent: the bytes on them are not for us."""
        # Closing our copies of the descriptors sends nothing, not even over TLS; the parent's stay open.
        self.close()

    # -------------------------------------------------------------------------------------- request

    def _compose(self, target: str, headers: dict[str, str]) -> bytes:
        if self._proxy is not None and self._context is None:
            target, headers = f"http://{self._url.netloc}{target}", headers | _proxy_headers(self._proxy)
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\n" in line or "\r" in line for line in lines):
            # An ETag from a listing, for instance: it must not become a header of its own.
            raise Failure(Kind.REFUSED, "a header of the request would have a line break")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _ask(self, sock: socket.socket, message: bytes, remaining: Callable[[], float]) -> Exchange:
        try:
            sock.settimeout(min(READ_TIMEOUT, remaining()))
            sock.sendall(message)
            return Exchange(self, sock, HttpAnswer(sock, remaining))
        except OSError as error:
            sock.close()
            raise broken(error) from error
        except BaseException:
            sock.close()
            raise

    def _ask_again(self, sock: socket.socket, message: bytes, remaining: Callable[[], float]) -> Exchange | None:
        """The answer on a connection that was idle; None if the server had closed it meanwhile."""
        try:
            return self._ask(sock, message, remaining)
        except Failure as failure:
            if failure.kind is not Kind.NETWORK:
                raise
            return None

    # ----------------------------------------------------------------------------------- connection

    def _reuse(self) -> socket.socket | None:
        while self._idle:
            try:
                sock = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if _is_quiet(sock):
                return sock
            sock.close()
        return None

    def _connect(self, seconds: float) -> socket.socket:
        connection = self._new_connection(min(CONNECT_TIMEOUT, seconds))
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _connect_failure(error, self._url.netloc) from error
        sock: socket.socket = connection.sock
        return sock

    def _new_connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = _address(self._proxy or self._url)
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(*_address(self._url), headers=_proxy_headers(self._proxy))
        return connection


class Exchange:
    """The answer to one request; leaving it keeps the connection, or closes it when bytes are left on it."""

    __slots__ = ("_owner", "_sock", "answer")

    def __init__(self, owner: Connections, sock: socket.socket, answer: HttpAnswer) -> None:
        self._owner = owner
        self._sock = sock
        self.answer = answer

    def close(self) -> None:
        """Give up the rest of the answer, and the connection with it."""
        self._sock.close()

    def __enter__(self) -> HttpAnswer:
        return self.answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.answer.ended and self.answer.keeps_alive:
            self._owner.keep(self._sock)
        else:
            self._sock.close()


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _parse_proxy(url: str) -> SplitResult:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http":
        raise Failure(Kind.REFUSED, f"a proxy is reached over http://, not {parts.scheme}://")
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
    try:
        return ssl.create_default_context(cafile=get_cert_path(True) if verify in (None, True) else str(verify))
    except OSError as error:
        raise Failure(Kind.TLS, f"the certificate authorities in {verify!r} cannot be read: {error}") from error


def _is_quiet(sock: socket.socket) -> bool:
    """Whether an idle connection is still open: one that can be read has been closed, or is out of step."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _connect_failure(error: Exception, where: str) -> Failure:
    if isinstance(error, ssl.SSLError):
        return Failure(Kind.TLS, f"no trusted TLS connection to {where}: {error}", connecting=True)
    if isinstance(error, TimeoutError):
        return Failure(Kind.TIMEOUT, f"no connection to {where} within {CONNECT_TIMEOUT:g} s", connecting=True)
    return Failure(Kind.UNREACHABLE, f"cannot connect to {where}: {error}", connecting=True)
