"""C code of the standard library that opens files by itself gets local copies, and writes nothing to a mount."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import sqlite3
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import vfsoverlay
from tests.surface.conftest import ROOT, Mounted
from vfsoverlay import _real


def database(directory: Path, *statements: str) -> bytes:
    """A small database file."""
    file = directory / "made.db"
    connection = sqlite3.connect(file)
    for statement in ("create table t (n)", "insert into t values (1), (2)", *statements):
        connection.execute(statement)
    connection.commit()
    connection.close()
    return file.read_bytes()


SPELLINGS: dict[str, Any] = {
    "text": lambda path: sqlite3.connect(path),  # noqa: PLW0108 - looked up when it is called
    "bytes": lambda path: sqlite3.connect(os.fsencode(path)),
    "PathLike": lambda path: sqlite3.connect(Path(path)),
    "by name of argument": lambda path: sqlite3.connect(database=path, timeout=1),
    "in all arguments": lambda path: sqlite3.connect(path, 5.0, 0, None, True, sqlite3.Connection, 100, False),
    "URI": lambda path: sqlite3.connect(f"file:{path}", uri=True),
    "URI with host": lambda path: sqlite3.connect(f"file://localhost{path}?cache=private", uri=True),
    "URI that asks for more": lambda path: sqlite3.connect(f"file:{path}?mode=rwc", uri=True),
    "quoted URI": lambda path: sqlite3.connect(f"file:{quote(path).replace('data', '%64ata')}?mode=ro", uri=True),
    "dbapi2": lambda path: sqlite3.dbapi2.connect(path),  # noqa: PLW0108 - as above
    "from a subdirectory": lambda path: sqlite3.connect(f"{ROOT}/dir/../{path.rpartition('/')[2]}"),
}


@pytest.mark.filterwarnings("ignore:Passing more than 1 positional argument:DeprecationWarning")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_database_is_read(spelling: str, mounted: Mounted, tmp_path: Path) -> None:
    """SQLite reads a database on a mount, however its path is given, and says that it is read-only."""
    mounted({"a b.db": database(tmp_path), "dir/x": b"x"})
    connection = SPELLINGS[spelling](f"{ROOT}/a b.db")
    assert connection.execute("select sum(n) from t").fetchone() == (3,)
    with pytest.raises(sqlite3.OperationalError, match="attempt to write a readonly database"):
        connection.execute("insert into t values (3)")
    connection.close()


def test_a_database_through_a_link(mounted: Mounted, tmp_path: Path) -> None:
    """A link on disk that leads to a database on a mount will do."""
    mounted({"a.db": database(tmp_path)})
    (tmp_path / "link").symlink_to(f"{ROOT}/a.db")
    connection = sqlite3.connect(tmp_path / "link")
    assert connection.execute("select count(*) from t").fetchone() == (2,)
    connection.close()


def test_a_database_in_the_working_directory(mounted: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name means the file in the working directory below the mount."""
    mounted({"dir/a.db": database(tmp_path)})
    monkeypatch.chdir(f"{ROOT}/dir")
    connection = sqlite3.connect("a.db")
    assert connection.execute("select count(*) from t").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize("path", ["missing.db", "dir", "", "missing/x.db", "file/x.db"])
@pytest.mark.parametrize("shadowed", [False, True])
def test_no_database_is_made(path: str, shadowed: bool, mounted: Mounted, tmp_path: Path) -> None:
    """Where no database is, none is made, not even where a real directory lies at the mount point."""
    root = tmp_path / "root"
    if shadowed:
        root.mkdir()
    mounted({"dir/x": b"x", "file": b"x"}, str(root))
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file") as caught:
        sqlite3.connect(f"{root}/{path}")
    if sys.version_info >= (3, 11):
        assert caught.value.sqlite_errorname == "SQLITE_CANTOPEN"
    assert not _real.exists(str(root)) or _real.listdir(str(root)) == []


@pytest.mark.parametrize(("beside", "content"), [("-wal", b"log"), ("-journal", b"\xd9\xd5\x05\xf9")])
def test_an_unfinished_database_is_refused(beside: str, content: bytes, mounted: Mounted, tmp_path: Path) -> None:
    """A database with a log of other transactions beside it is refused with the reason."""
    mounted({"a.db": database(tmp_path), f"a.db{beside}": content})
    with pytest.raises(sqlite3.OperationalError, match=f"beside it lies a.db{beside}"):
        sqlite3.connect(f"{ROOT}/a.db")


@pytest.mark.parametrize(("beside", "content"), [("-wal", b""), ("-journal", b""), ("-journal", bytes(512))])
def test_a_finished_database_is_read(beside: str, content: bytes, mounted: Mounted, tmp_path: Path) -> None:
    """A log that is empty or was finished does no harm, nor does the mode of a database whose log was closed."""
    mounted({"a.db": database(tmp_path, "commit", "pragma journal_mode=wal"), f"a.db{beside}": content})
    connection = sqlite3.connect(f"{ROOT}/a.db")
    assert connection.execute("select count(*) from t").fetchone() == (2,)
    connection.close()


def test_other_databases_are_left_alone(mounted: Mounted, tmp_path: Path) -> None:
    """Databases elsewhere, in memory and temporary ones are opened as ever."""
    mounted({"a.txt": b"x"})
    for name in (tmp_path / "new.db", ":memory:", "", "file::memory:?cache=shared"):
        connection = sqlite3.connect(name, uri=str(name).startswith("file:"))
        connection.execute("create table t (n)")
        connection.close()
    assert (tmp_path / "new.db").exists()
    with pytest.raises(TypeError):
        sqlite3.connect()  # type: ignore[call-overload]
    assert pickle.loads(pickle.dumps(sqlite3.connect)) == sqlite3.connect


def library(directory: Path) -> bytes:
    """A shared library that has a function ``answer``."""
    (directory / "library.c").write_text("int answer(void) { return 42; }")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "library.c", "-o", "library.so"], cwd=directory, check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    return (directory / "library.so").read_bytes()


def test_libraries(mounted: Mounted, tmp_path: Path) -> None:
    """``ctypes`` loads a library from a mount; what cannot be loaded is told with the caller's path."""
    mounted({"lib/answer.so": library(tmp_path), "lib/text.so": b"no library"})
    loaded = ctypes.CDLL(f"{ROOT}/lib/answer.so")
    assert loaded.answer() == 42
    assert loaded._name == f"{ROOT}/lib/answer.so"
    assert ctypes.cdll.LoadLibrary(f"{ROOT}/lib/answer.so").answer() == 42
    assert ctypes.CDLL(None).abs(-3) == 3
    with pytest.raises(OSError, match=f"^{ROOT}/lib/text.so: "):
        ctypes.CDLL(f"{ROOT}/lib/text.so")
    with pytest.raises(OSError, match=f"^{ROOT}/lib/missing.so: cannot open shared object file"):
        ctypes.CDLL(f"{ROOT}/lib/missing.so")


def test_attaching_a_local_copy(mounted: Mounted, tmp_path: Path) -> None:
    """``ATTACH`` takes the URI of a local copy; given the path below a mount, it fails and makes no file."""
    mounted({"a.db": database(tmp_path)})
    connection = sqlite3.connect(":memory:", uri=True)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connection.execute("ATTACH ? AS a", [f"{ROOT}/a.db"])
    with vfsoverlay.local_path(f"{ROOT}/a.db") as copy:
        connection.execute("ATTACH ? AS a", [f"file:{quote(copy)}?immutable=1"])
        assert connection.execute("SELECT sum(n) FROM a.t").fetchone() == (3,)
        connection.close()
    assert not _real.exists(ROOT)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new certificate and its key in one file."""
    directory = tmp_path_factory.mktemp("tls")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *curve, "-subj", "/CN=test", "-keyout", "key.pem", "-out", "certificate.pem"]
    try:
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    both = directory / "both.pem"
    both.write_bytes((directory / "certificate.pem").read_bytes() + (directory / "key.pem").read_bytes())
    return both


def test_certificates(mounted: Mounted, certificate: Path) -> None:
    """``ssl`` loads authorities, certificates and keys from a mount."""
    mounted({"tls/both.pem": certificate.read_bytes()})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{ROOT}/tls/both.pem")
    context.load_cert_chain(Path(ROOT, "tls", "both.pem"), keyfile=f"{ROOT}/tls/both.pem")
    context.load_verify_locations(f"{ROOT}/tls/both.pem")
    assert context.cert_store_stats()["x509"] == 1
    assert ssl.create_default_context(cafile=f"{ROOT}/tls/both.pem").get_ca_certs()
    with pytest.raises(FileNotFoundError):
        context.load_verify_locations(f"{ROOT}/tls/missing.pem")
    context.load_verify_locations(certificate, cadata=certificate.read_text().partition("-----BEGIN PRIVATE")[0])


def test_methods_are_given_back(mounted: Mounted) -> None:
    """After the last unmount classes have their own methods again."""
    point = mounted({"a": b"x"})
    assert "load_cert_chain" in vars(ssl.SSLContext)
    assert ssl.SSLContext.load_cert_chain.__name__ == "load_cert_chain"
    point.unmount()
    assert "load_cert_chain" not in vars(ssl.SSLContext)


def test_copies_are_let_go(mounted: Mounted, certificate: Path, tmp_path: Path) -> None:
    """What C code has opened or read needs no copy of ours any more: no descriptor stays."""
    mounted({"a.db": database(tmp_path), "tls/both.pem": certificate.read_bytes()})

    def use() -> int:
        sqlite3.connect(f"{ROOT}/a.db").close()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(f"{ROOT}/tls/both.pem")
        gc.collect()
        return len(_real.listdir("/proc/self/fd"))

    first = use()
    # A thread of an earlier test may end meanwhile, and close its own.
    assert use() <= first


LATE_TLS = """
import sys, types, vfsoverlay
(point,) = vfsoverlay.mounts()
for name in ("ssl", "_ssl"):
    sys.modules.pop(name, None)
import ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
assert type(ssl) is types.ModuleType
context.load_cert_chain(point.root_dir + "/both.pem")
assert ssl.create_default_context(cafile=point.root_dir + "/both.pem").get_ca_certs()
for name in ("ssl", "_ssl"):
    del sys.modules[name]
import ssl
point.unmount()
assert type(ssl) is types.ModuleType
assert "load_cert_chain" not in vars(ssl.SSLContext)
print("done")
"""


def test_certificates_when_ssl_comes_late(mounted: Mounted, certificate: Path) -> None:
    """A program that imports ``ssl`` after the mount is served as well, and sees an ordinary module."""
    mounted({"both.pem": certificate.read_bytes()})
    done = subprocess.run([sys.executable, "-c", LATE_TLS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


LATE = """
import sys, vfsoverlay
point = vfsoverlay.mounts()[0]
for name in ("_sqlite3", "sqlite3", "sqlite3.dbapi2", "_ctypes", "ctypes"):
    sys.modules.pop(name, None)
import sqlite3, ctypes
print(sqlite3.connect(point.root_dir + "/a.db").execute("select sum(n) from t").fetchone())
print(ctypes.CDLL(point.root_dir + "/answer.so").answer())
"""
UNTOUCHED = """
import sqlite3, ctypes, sys
assert "vfsoverlay._api" not in sys.modules
print(sqlite3.connect("file:/content/data/a.db", uri=True).execute("select sum(n) from t").fetchone())
print(ctypes.CDLL("/content/data/answer.so").answer())
"""


@pytest.mark.parametrize("program", [LATE, UNTOUCHED], ids=["late", "untouched"])
def test_modules_that_come_after_the_mount(program: str, mounted: Mounted, tmp_path: Path) -> None:
    """Modules that are imported after the mount are served as well, also as the first touch of a child."""
    # The listing is a database as well, and its path may have the mount point's name in it.
    cache = str(tmp_path / "cache of data")
    mounted({"a.db": database(tmp_path), "answer.so": library(tmp_path)}, cache_dir=cache)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(3,)\n42\n", "")
