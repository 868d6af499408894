"""Connections: TLS with a given authority, proxies, IPv6, and what they never let through."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vfsoverlay import errors
from vfsoverlay._store.connections import Connections
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay.testing import S3Server

Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[S3Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with S3Server(ssl_context=context) as running:
        running.create_bucket("data", public=True)
        running.put("data", "o", b"12345" * 100_000)
        yield running


def test_tls_with_the_authority_of_the_environment(
    tls_server: S3Server, opened: Opener, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_CA_BUNDLE names the authority to trust; through TLS the bytes are the same."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    one = opened("s3://data/", **tls_server.mount_options())
    assert one.read(one.info("o")) == b"12345" * 100_000


def test_unknown_authority_is_told(tls_server: S3Server, opened: Opener) -> None:
    """A certificate of an unknown authority fails the mount at once, as TLS, and names AWS_CA_BUNDLE."""
    with pytest.raises(errors.CannotAccessSource, match="AWS_CA_BUNDLE") as caught:
        opened("s3://data/", **tls_server.mount_options()).rows()
    assert caught.value.reason == "tls"


def test_verification_is_off_only_when_asked(tls_server: S3Server, opened: Opener) -> None:
    """client_kwargs verify=False, as for s3fs, trusts any certificate."""
    options = {**tls_server.mount_options(), "storage_options": {"client_kwargs": {"verify": False}}}
    one = opened("s3://data/", **options)
    assert one.info("o").size == 500_000


def test_authorities_that_cannot_be_read(tls_server: S3Server, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA bundle that does not exist is told by name."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(errors.CannotAccessSource, match=r"/no/such\.pem") as caught:
        opened("s3://data/", **tls_server.mount_options()).rows()
    assert caught.value.reason == "tls"


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy that forwards to one server whatever it is asked, and remembers the first lines."""

    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.lines: list[str] = []
        super().__init__(("127.0.0.1", 0), _Forward)


class _Forward(socketserver.StreamRequestHandler):
    server: Proxy  # type: ignore[mutable-override]  # as socketserver documents it

    def handle(self) -> None:

        first = self.rfile.readline()
        self.server.lines.append(first.decode().strip())
        head = [first]
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            self.server.lines.append(line.decode().strip())
            head.append(line)
        with socket.create_connection(self.server.target) as onward:
            if first.startswith(b"CONNECT"):
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = first.split(b" ")[1].split(b"/", 3)[3]
                rest = [line for line in head[1:] if not line.lower().startswith(b"proxy-")]
                onward.sendall(b"".join([b"GET /" + path + b" HTTP/1.1\r\nConnection: close\r\n", *rest, b"\r\n"]))
            back = threading.Thread(target=self.copy, args=(onward, self.connection))
            back.start()
            self.copy(self.connection, onward)
            back.join()

    @staticmethod
    def copy(source: Any, sink: Any) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(1)
        except OSError:
            pass


@pytest.fixture
def proxied() -> Iterator[Callable[[S3Server], Proxy]]:
    running: list[tuple[Proxy, threading.Thread]] = []

    def start(server: S3Server) -> Proxy:
        proxy = Proxy((server.host, server.port))
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((proxy, thread))
        return proxy

    yield start
    for proxy, thread in running:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


def test_http_proxy(server: S3Server, proxied: Callable[[S3Server], Proxy]) -> None:
    """Plain HTTP goes through a proxy with the whole URL, and the proxy's own credentials."""
    server.create_bucket("data", public=True)
    server.put("data", "o", b"12345")
    proxy = proxied(server)
    url = f"http://user:pass%20word@127.0.0.1:{proxy.server_address[1]}"
    connections = Connections(server.url, proxies={"http": url})
    with connections.get("/data/o", {"host": f"{server.host}:{server.port}"}, lambda: 5.0) as answer:
        assert answer.read() == b"12345"
    connections.close()
    assert proxy.lines[0] == f"GET {server.url}/data/o HTTP/1.1"
    assert "proxy-authorization: Basic dXNlcjpwYXNzIHdvcmQ=" in proxy.lines


def test_tunnel_through_a_proxy(
    tls_server: S3Server, proxied: Callable[[S3Server], Proxy], opened: Opener, certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """HTTPS_PROXY is honoured by a tunnel, and NO_PROXY takes a host out."""
    proxy = proxied(tls_server)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
    one = opened("s3://data/", **tls_server.mount_options())
    assert one.read(one.info("o"), 0, 5) == b"12345"
    assert proxy.lines[0].startswith(f"CONNECT 127.0.0.1:{tls_server.port} ")
    one.store.close()
    seen = len(proxy.lines)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert len(opened("s3://data/", **tls_server.mount_options()).rows()) == 1
    assert len(proxy.lines) == seen


@pytest.mark.parametrize("proxy", ["http://user:s3cret@127.0.0.1:1", "http://user:s3cret@a..b:80"])
def test_proxy_that_is_not_there(proxy: str) -> None:
    """A proxy that cannot be reached, or can have no such name, is told beside the endpoint, without its password."""
    with pytest.raises(Failure, match=r"to store\.example through the proxy (127\.0\.0\.1:1|a\.\.b:80)") as caught:
        Connections("http://store.example", proxies={"http": proxy}).get("/", {}, lambda: 5.0)
    assert caught.value.kind is Kind.UNREACHABLE
    assert "s3cret" not in caught.value.detail


@pytest.mark.skipif(sys.version_info < (3, 11), reason="http.client leaves the socket of a refused tunnel unclosed")
def test_proxy_that_asks_who(certificate: Path) -> None:
    """A tunnel that is refused because nobody said who asks is told as that, and is not tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connections = Connections("https://store.example", verify=str(certificate), proxies={"https": proxy})
        with pytest.raises(Failure, match=r"through the proxy .* 407") as caught:
            connections.get("/", {}, lambda: 5.0)
        thread.join()
    assert not caught.value.meaning.retried
    assert "http://NAME:PASSWORD@HOST:PORT" in caught.value.next_step


def test_proxy_of_a_kind_we_cannot_use() -> None:
    """A proxy that is not reached over HTTP is refused by name."""
    with pytest.raises(Failure, match="socks5"):
        Connections("http://host", proxies={"http": "socks5://127.0.0.1:1"})


def test_ipv6(opened: Opener) -> None:
    """An endpoint may be an IPv6 address, also signed."""
    with S3Server(host="::1") as server:
        server.create_bucket("data")
        server.put("data", "o", b"12345")
        one = opened("s3://data/", **server.mount_options(anon=False))
        assert one.read(one.info("o")) == b"12345"
        one.store.close()


@pytest.mark.parametrize("bad", ["a\r\nx: y", "a\ny"])
def test_header_cannot_smuggle_another(server: S3Server, bad: str) -> None:
    """A value with a line break, such as a forged ETag of a listing, is refused before anything is sent."""
    with pytest.raises(Failure) as caught:
        Connections(server.url, proxies={}).get("/", {"host": "h", "if-match": bad}, lambda: 5.0)
    assert caught.value.kind is Kind.REFUSED
    assert len(server.requests) == 0
