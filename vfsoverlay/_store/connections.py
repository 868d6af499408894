"""Kept-alive connections to one endpoint, used from many threads, each by one thread at a time.

``http.client`` makes them, through proxies and TLS, and llhttp reads what comes over them. urllib3 has a pool
as well, and takes several times the CPU for a small GET. The list of idle connections needs no lock, so a
fork cannot leave one taken.
"""

from __future__ import annotations

# The first look-up of an address imports it, and a child that is forked meanwhile would wait for it forever.
import encodings.idna  # noqa: F401
import http.client
import select
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from vfsoverlay._store.errno_map import MEANINGS, Failure
from vfsoverlay._store.exchange import Exchange
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
        self._keeps = True

    def get(self, target: str, headers: dict[str, str], remaining: Callable[[], float]) -> Exchange:
        """Send a GET and read the head of its answer, within the *remaining* seconds, which also hold for its body.

        Raises ``Failure`` of kind unreachable, network, timeout, malformed, refused or tls.
        """
        target, headers = self._as_sent(target, headers)
        while (sock := self._reuse()) is not None:
            try:
                return Exchange(sock, target, headers, remaining, self._keep).head()
            except Failure as failure:  # noqa: PERF203 - the loop ends with the first answer
                # The server may have closed it meanwhile: that is no failure of the request.
                if failure.kind is not Kind.NETWORK:
                    raise
        return Exchange(self._connect(remaining()), target, headers, remaining, self._keep).head()

    def begin(self, target: str, headers: dict[str, str], remaining: Callable[[], float]) -> Exchange | None:
        """Send a GET over an idle connection and do not wait for its answer; None: there is none that takes it.

        Raises ``Failure`` of kind network or refused.
        """
        sock = self._reuse()
        if sock is None:
            return None
        target, headers = self._as_sent(target, headers)
        return Exchange(sock, target, headers, remaining, self._keep, at_once=True)

    def _as_sent(self, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """What the request says, where a proxy passes it on."""
        if self._proxy is None or self._context is not None:
            return target, headers
        return f"http://{self._url.netloc}{target}", headers | _proxy_headers(self._proxy)

    def close(self) -> None:
        """Close what is idle, and what is in use when its user is done with it."""
        self._keeps = False
        self._close_idle()

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for sock in idle:
            sock.close()

    def __del__(self) -> None:
        # A store that nobody closed goes quietly: sockets of its own would each warn.
        if hasattr(self, "_idle"):
            self.close()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent: the bytes on them are not for us."""
        # Closing our copies of the descriptors sends nothing, not even over TLS; the parent's stay open.
        self._close_idle()

    def _keep(self, sock: socket.socket) -> None:
        if len(self._idle) < _KEPT:
            self._idle.append(sock)
        else:
            sock.close()
        if not self._keeps:
            # A close() that came between would not see it; after the fact, somebody does.
            self._close_idle()

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
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last of a name that DNS cannot have
            connection.close()
            raise _connect_failure(error, self._where()) from error
        sock: socket.socket = connection.sock
        return sock

    def _where(self) -> str:
        """The endpoint as messages name it; never the proxy's password."""
        if self._proxy is None:
            return self._url.netloc
        return "{} through the proxy {}:{}".format(self._url.netloc, *_address(self._proxy))

    def _new_connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = _address(self._proxy or self._url)
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
        if self._proxy is not None:
            connection.set_tunnel(*_address(self._url), headers=_proxy_headers(self._proxy))
        return connection


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _parse_proxy(url: str) -> SplitResult:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http":
        told = f"a proxy is reached over http://, not {parts.scheme}://"
        raise Failure(Kind.REFUSED, told, next_step="change HTTP_PROXY and HTTPS_PROXY")
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
        told = f"the certificate authorities in {verify!r} cannot be read: {error}"
        raise Failure(Kind.TLS, told, next_step="set AWS_CA_BUNDLE to a file in PEM format") from error


def _is_quiet(sock: socket.socket) -> bool:
    """Whether an idle connection is still open: one that can be read has been closed, or is out of step."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _connect_failure(error: Exception, where: str) -> Failure:
    if isinstance(error, ssl.SSLError):
        return Failure(Kind.TLS, f"no trusted TLS connection to {where}: {error}", connecting=True)
    if isinstance(error, TimeoutError):
        told = f"no connection to {where} within {CONNECT_TIMEOUT:g} s"
        return Failure(Kind.TIMEOUT, told, connecting=True, next_step=MEANINGS[Kind.UNREACHABLE].next_step)
    if "407" in str(error) and isinstance(error, OSError) and error.errno is None:
        # All that http.client says of a tunnel that was refused.
        return Failure(Kind.PROXY, f"cannot connect to {where}: {error}", connecting=True)
    return Failure(Kind.UNREACHABLE, f"cannot connect to {where}: {error}", connecting=True)
