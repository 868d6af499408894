"""The command ``vfsoverlay``: what it prints, its exit codes, and how its errors read."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vfsoverlay
from vfsoverlay._mount_text import parse_mount, parse_options
from vfsoverlay.cli.app import app, main
from vfsoverlay.cli.output import counted, shown_name, shown_size, shown_time
from vfsoverlay.cli.targets import split_pattern
from vfsoverlay.testing import S3Server
from vfsoverlay.testing.sample import SAMPLE_BUCKET, sample_objects

TREE = {"a.txt": b"alpha", "deep/b.bin": b"\0" * 2048, "deep/more/c": b"c", "new\nline": b"n"}

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        running.create_bucket("bucket", public=True)
        running.create_bucket("private")
        for key, body in TREE.items():
            running.put("bucket", key, body, last_modified=1_600_000_000)
        yield running


@pytest.fixture
def call(server: S3Server, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run the command in this process, pointed at the test server."""

    def run(*words: str) -> tuple[int, str, str]:
        is_local = words[0] in {"cache", "--help"} or words[:2] in {("index", "info"), ("index", "load")}
        code = main(words if is_local else [*words, "--anon", "--endpoint-url", server.url])
        assert vfsoverlay.mounts() == ()
        return (code, *capfd.readouterr())

    return run


def test_ls_lists_names(call: Call) -> None:
    """Ls prints one name a line, directories with a slash, control characters so that they forge no line."""
    assert call("ls", "s3://bucket/") == (0, "a.txt\ndeep/\nnew\\x0aline\n", "")


def test_ls_long_and_recursive(call: Call) -> None:
    """Ls -l -R -h shows sizes and times of everything below."""
    code, out, _ = call("ls", "-l", "-R", "-h", "s3://bucket/deep/")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "2.0 KiB  2020-09-13T12:26:40Z  b.bin"
    assert lines[1].endswith("Z  more/")
    assert lines[2] == "    1 B  2020-09-13T12:26:40Z  more/c"


def test_ls_takes_files_and_paths_below_a_mount(call: Call) -> None:
    """A target is a URL, of a file as well, or a path below a mount that --mount makes."""
    assert call("ls", "s3://bucket/a.txt") == (0, "s3://bucket/a.txt\n", "")
    assert call("ls", "/content/x/more", "--mount", "s3://bucket/deep/:/content/x") == (0, "c\n", "")


def test_ls_names_each_of_several_targets(call: Call) -> None:
    """Of several targets each directory has its name above its list; a file is its own name."""
    code, out, _ = call("ls", "s3://bucket/deep/", "s3://bucket/a.txt", "s3://bucket/deep/more/")
    assert code == 0
    assert out == "s3://bucket/deep/:\nb.bin\nmore/\ns3://bucket/a.txt\n\ns3://bucket/deep/more/:\nc\n"


def test_looking_at_nothing_says_so(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """A prefix below which there is nothing has an empty list, and a warning that says to check the spelling."""
    assert call("ls", "s3://bucket/depe/") == (0, "", "")
    assert "s3://bucket/depe/: no object has a key below this" in caplog.text
    caplog.clear()
    assert call("-q", "ls", "s3://bucket/depe/") == (0, "", "")
    assert caplog.text == ""
    code, out, _ = call("doctor", "s3://bucket/depe/")
    assert code == 1
    assert "WRONG  s3://bucket/depe/" in out


def test_json_has_a_stable_shape(call: Call) -> None:
    """--json prints one document, of the shape that --help promises."""
    code, out, _ = call("ls", "--json", "s3://bucket/")
    assert code == 0
    assert json.loads(out)[0] == {
        "target": "s3://bucket/", "path": "a.txt", "type": "file", "size": 5, "modified": "2020-09-13T12:26:40Z"
    }  # fmt: skip
    (row,) = json.loads(call("stat", "--json", "s3://bucket/deep/b.bin")[1])
    assert set(row) == {"path", "type", "size", "modified", "mode", "inode", "device", "uid", "gid"}
    assert (row["path"], row["size"], row["mode"]) == ("s3://bucket/deep/b.bin", 2048, "-r--r--r--")
    root = json.loads(call("tree", "--json", "s3://bucket/deep/")[1])
    assert root == {
        "name": "s3://bucket/deep/",
        "type": "directory",
        "entries": [
            {"name": "b.bin", "type": "file", "size": 2048},
            {"name": "more", "type": "directory", "entries": [{"name": "c", "type": "file", "size": 1}]},
        ],
    }


def test_stat_prints_attributes(call: Call) -> None:
    """Stat shows size, time and mode of a directory and a file."""
    code, out, _ = call("stat", "s3://bucket/deep/", "s3://bucket/a.txt")
    assert code == 0
    assert "s3://bucket/deep/\n  type      directory\n" in out
    assert "s3://bucket/a.txt\n  type      file\n  size      5\n  modified  2020-09-13T12:26:40Z\n" in out


def test_tree_draws_branches(call: Call) -> None:
    """Tree draws what is below a directory, and counts it."""
    code, out, _ = call("tree", "s3://bucket/")
    assert code == 0
    assert out.splitlines() == [
        "s3://bucket/",
        "├── a.txt",
        "├── deep",
        "│   ├── b.bin",
        "│   └── more",
        "│       └── c",
        "└── new\\x0aline",
        "",
        "2 directories, 4 files",
    ]
    assert "more" not in call("tree", "-L", "1", "s3://bucket/")[1]


def test_explain_tells_what_is_there_and_what_not(call: Call) -> None:
    """Explain shows key and ETag of a file, and says why there is nothing."""
    code, out, _ = call("explain", "--json", "s3://bucket/deep/b.bin", "s3://bucket/deep/absent")
    there, absent = json.loads(out)
    assert code == 0
    assert there["path"] == "s3://bucket/deep/b.bin"
    assert (there["kind"], there["key"], there["size"], there["cached"]) == ("file", "deep/b.bin", 2048, 0)
    assert (absent["kind"], absent["etag"], absent["root_dir"]) == ("missing", None, None)
    assert "deep/b.bin" in call("explain", "s3://bucket/deep/b.bin")[1]


def test_cat_writes_bytes(server: S3Server, tmp_path: Path) -> None:
    """Cat writes exactly the bytes of the files, in order."""
    words = ["cat", "s3://bucket/a.txt", "s3://bucket/deep/b.bin", "--anon", "--endpoint-url", server.url]
    done = subprocess.run([sys.executable, "-m", "vfsoverlay", *words], capture_output=True, check=True)
    assert done.stdout == TREE["a.txt"] + TREE["deep/b.bin"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["ls", "s3://bucket/absent"], 1, "vfsoverlay: No such file or directory: s3://bucket/absent\n"),
        (["cat", "s3://bucket/deep/more/"], 1, "vfsoverlay: Is a directory: s3://bucket/deep/more/\n"),
        (["ls", "s3://no-such-bucket/"], 3, "s3://no-such-bucket/"),
        (["ls", "-R", "s3://private/"], 3, "vfsoverlay: s3:ListBucket on s3://private/: HTTP 403"),
        (["ls", "s3://private/"], 1, "vfsoverlay: s3:ListBucket on s3://private/: HTTP 403"),
        (["ls", "s3x://bucket/"], 2, "s3x"),
        (["ls", "/content/x", "-m", "s3://bucket/deep:/content/x"], 2, "must end in a trailing slash"),
        (["ls", "s3://bucket/", "-o", "cache_sise=1GiB"], 2, "did you mean 'cache_size'?"),
        (["ls", "s3://bucket/", "-o", "cache_size"], 2, "NAME=VALUE"),
        (["ls", "bucket/deep/"], 1, "(a source is a URL, such as s3://bucket/prefix/): bucket/deep/\n"),
        (["ls", "/x", "-m", "s3://bucket/deep/:x"], 2, "SRC:PATH needs an absolute path: write s3://bucket/deep/:/x"),
        (["ls", "s3://bucket/", "-o", "cache_dir=/dev/null/x"], 3, "cache directory cannot be used: Not a directory"),
        (["run", "-m", "s3://bucket/:/dev/null/x", "--", "-c", "1"], 3, "a mount point is a directory; this is a file"),
        (["run", "-m", "s3://bucket/:/x", "-o", "cache_dir=/dev/null/x", "--", "-c", "1"], 3, "cache directory"),
        (["run", "-o", "cache_sise=1GiB", "--", "-c", "1"], 2, "did you mean 'cache_size'?"),
        (["index", "save", "s3://no-such-bucket/", "names"], 3, "s3://no-such-bucket/"),
        (["demo", "s3://no-such-bucket/"], 3, "s3://no-such-bucket/"),
        (["cache", "evict", "much"], 2, "not a size"),
        (["cache", "--cache-dir", "/dev/null/x", "info"], 1, "cache directory cannot be used"),
    ],
)
def test_errors_are_one_message(words: list[str], code: int, message: str, call: Call) -> None:
    """An error is told in one message without a traceback, and by the documented exit code."""
    found, out, err = call(*words)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert "vfsoverlay-command-line" not in err


def test_debug_shows_the_traceback(server: S3Server) -> None:
    """--debug lets the error through."""
    with pytest.raises(FileNotFoundError):
        main(["--debug", "ls", "s3://bucket/absent", "--anon", "--endpoint-url", server.url])


def test_a_closed_pipe_is_no_crash(server: S3Server) -> None:
    """A reader that goes away ends the command quietly."""
    command = f"{sys.executable} -m vfsoverlay cat s3://bucket/deep/b.bin --anon --endpoint-url {server.url} | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_an_interrupt_ends_serving(tmp_path: Path) -> None:
    """Serve prints its URL, serves the directory, and Ctrl-C ends it without a traceback."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "key").write_text("served")
    command = [sys.executable, "-m", "vfsoverlay", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        with vfsoverlay.mount("s3://bucket/", "/content/x", endpoint_url=url, anon=True):
            assert Path("/content/x/key").read_text() == "served"
        serving.send_signal(signal.SIGINT)
        assert serving.communicate(timeout=10) == ("", "")
    assert serving.returncode == 0


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_an_interrupt_of_a_listing_is_130(server: S3Server) -> None:
    """Ctrl-C while a command waits for the store ends it with code 130 and one line."""
    with S3Server(latency=30) as slow:
        slow.create_bucket("bucket", public=True)
        command = [sys.executable, "-m", "vfsoverlay", "ls", "s3://bucket/", "--anon", "--endpoint-url", slow.url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
            # Connected and asleep: any Python notices an interrupt just before a system call only after that.
            while not (slow._connections and _sleeps(waiting.pid)):
                assert waiting.poll() is None
            waiting.send_signal(signal.SIGINT)
            _, err = waiting.communicate(timeout=10)
    assert (waiting.returncode, err) == (130, "\nvfsoverlay: interrupted\n")


def test_run_mounts_for_a_program(server: S3Server, tmp_path: Path) -> None:
    """Run mounts, then runs the program, whose exit status is its own; the program may lie on the mount."""
    server.put(
        "bucket", "deep/script.py", "import os, sys\nprint(open('/content/x/more/c').read(), sys.argv[1:])\nsys.exit(5)"
    )
    words = ["run", "--anon", "--endpoint-url", server.url, "--mount", "s3://bucket/deep/:/content/x", "--"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "vfsoverlay", *words, "/content/x/script.py", "--mount", "y"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (5, "c ['--mount', 'y']\n", "")
    server.delete("bucket", "deep/script.py")


@pytest.mark.parametrize("words", [["/etc/passwd"], ["missing.py"], ["/etc/shadowed/x"], []])
def test_run_refuses_what_cannot_run(words: list[str]) -> None:
    """A program that is not there, or is none, is a usage error."""
    assert main(["run", "--", *words]) == 2


def test_run_becomes_any_other_command(server: S3Server) -> None:
    """Another command takes the process over, with its status; Python programs that it starts have the mounts."""
    reader = f"{sys.executable} -c \"print(open('/content/x/c').read())\""
    words = ["run", "--anon", "--endpoint-url", server.url, "--mount", "s3://bucket/deep/more/:/content/x", "--"]
    done = subprocess.run(
        [sys.executable, "-m", "vfsoverlay", "-v", *words, "sh", "-c", f"{reader}; echo $0; exit 5"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "c\nsh\n")
    assert "s3://bucket/deep/more/ is mounted at /content/x" in done.stderr
    assert "sh is no Python program: it finds files of the mounts only if" in done.stderr


def test_run_prepares_lightning(tmp_path: Path) -> None:
    """Run --lightning lets works make their mounts, with the options of the command line; --no-lightning does not."""
    code = "from vfsoverlay import lightning; print(lightning._OPTIONS)"
    for flag, expected in (("--lightning", "{'': {'anon': True}}"), ("--no-lightning", "{}")):
        words = ["run", flag, "--anon", "--", "-c", code]
        done = subprocess.run([sys.executable, "-m", "vfsoverlay", *words], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_looking_at_a_url_lists_only_its_directory(call: Call, server: S3Server) -> None:
    """A URL is listed directory by directory, so a look into a huge bucket costs a request, not a listing of it all."""
    for command in ("ls", "stat", "cat", "explain"):
        server.requests.reset()
        assert call(command, "s3://bucket/deep/more/c")[0] == 0
        lists = server.requests.select("list")
        assert 0 < len(lists) <= 3, command
        assert all(request.query.get("delimiter") == "/" or request.query["max-keys"] == "1" for request in lists)


def test_warm_fetches_files(call: Call, server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Warm fetches directories, patterns and files up to a limit, says where it stopped, and works offline after it."""
    cache = ("-o", f"cache_dir={tmp_path}")
    code, out, err = call("warm", "--json", "s3://bucket/deep/*/c", "s3://bucket/a.txt", *cache)
    assert (code, json.loads(out), err) == (0, {"files": 2, "bytes": 6, "fetched": 6}, "")
    assert call("warm", "s3://bucket/", *cache) == (0, "4 files, 2.0 KiB (2.0 KiB fetched now)\n", "")
    server.requests.reset()
    assert call("cat", "s3://bucket/a.txt", *cache, "-o", "offline=true") == (0, "alpha", "")
    assert len(server.requests) == 0
    limited = call("warm", "--json", "--max-bytes", "2KB", "s3://bucket/a.txt", "s3://bucket/deep/")
    assert json.loads(limited[1]) == {"files": 1, "bytes": 5, "fetched": 5}
    assert "warm stopped before s3://bucket/deep/b.bin, with which it would exceed max_bytes=2000" in caplog.text


@pytest.mark.parametrize(
    ("url", "split"),
    [
        ("s3://b/p/", ("s3://b/p/", "")),
        ("s3://b/p/x", ("s3://b/p/", "x")),
        ("s3://b/p/*.txt", ("s3://b/p/", "*.txt")),
        ("s3://b/**/x?/y", ("s3://b/", "**/x?/y")),
        ("s3://b/[a]/", ("s3://b/", "[a]/")),
    ],
)
def test_a_pattern_mounts_what_is_spelled_out(url: str, split: tuple[str, str]) -> None:
    """Of a pattern, the folder above its first special character is mounted."""
    assert split_pattern(url) == split


def test_a_listing_can_be_kept(call: Call, server: S3Server, tmp_path: Path) -> None:
    """Index save writes a listing, info shows it, a mount uses it without a request, and load puts it into a cache."""
    file = str(tmp_path / "listing")
    code, out, _ = call("index", "save", "--json", "s3://bucket/deep/", file)
    saved = json.loads(out)
    assert code == 0
    assert saved | {"listed": ""} == {
        "file": file, "origin": f"{server.url}/bucket", "prefix": "deep/", "version_at": None,
        "objects": 2, "bytes": 2049, "hidden": 0, "listed": "",
    }  # fmt: skip
    assert json.loads(call("index", "info", "--json", file)[1]) == saved
    assert "objects     2\nbytes       2.0 KiB\n" in call("index", "info", "-h", file)[1]
    server.requests.reset()
    assert call("ls", "-R", "s3://bucket/deep/", "-o", f"index={file}") == (0, "b.bin\nmore/\nmore/c\n", "")
    cache = str(tmp_path / "cache")
    assert call("index", "load", file, "--cache-dir", cache)[0] == 0
    for option in ("offline=true", "reuse_listing=3600"):
        assert call("ls", "s3://bucket/deep/", "-o", f"cache_dir={cache}", "-o", option) == (0, "b.bin\nmore/\n", "")
    assert len(server.requests) == 0


def test_a_file_that_is_no_listing_is_told(call: Call, tmp_path: Path) -> None:
    """Index info and load of another file, and of a listing of another source, are errors that name it."""
    (tmp_path / "file").write_text("something else")
    for command in ("info", "load"):
        code, _, err = call("index", command, str(tmp_path / "file"))
        assert (code, err) == (1, f"vfsoverlay: {tmp_path}/file is no listing saved by this version of vfsoverlay\n")
    assert call("index", "info", str(tmp_path / "absent"))[0] == 1
    code, _, err = call("index", "save", "s3://bucket/", str(tmp_path / "absent" / "file"))
    assert (code, err) == (1, f"vfsoverlay: No such file or directory: {tmp_path}/absent/file\n")
    assert call("index", "save", "s3://bucket/", str(tmp_path / "file"), "-o", "listing=lazy")[0] == 2
    assert call("index", "save", "s3://bucket/", str(tmp_path / "file"), "-m", "s3://bucket/")[0] == 2
    assert call("index", "save", "s3://bucket/", str(tmp_path / "file"))[0] == 0
    assert "not of" in call("ls", "s3://bucket/deep/", "-o", f"index={tmp_path}/file")[2]


def test_verbose_and_quiet(call: Call, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """-v logs what was fetched, -q leaves warnings out; both stand before the command."""
    told = call("-v", "cat", "s3://bucket/a.txt")[2]
    assert told.startswith("vfsoverlay: bytes.list=")
    assert " bytes.read=5 " in told
    (tmp_path / "there").write_text("")
    mount = ("ls", str(tmp_path), "--mount", f"s3://bucket/deep/:{tmp_path}")
    assert call(*mount)[0] == 0
    assert "is shadowed" in caplog.text
    caplog.clear()
    assert call("-q", *mount) == (0, "b.bin\nmore/\n", "")
    assert caplog.text == ""
    assert logging.getLogger("vfsoverlay").handlers == []


@pytest.mark.parametrize(
    ("shell", "words", "expected"),
    [
        ("bash", "vfsoverlay in", "plain,index\n"),
        ("bash", "vfsoverlay index sa", "plain,save\n"),
        ("bash", "vfsoverlay ls --re", "--recursive"),
        ("zsh", "vfsoverlay in", "plain\nindex\n"),
        ("fish", "vfsoverlay in", "plain,index\t"),
    ],
)
def test_the_shell_completes(
    shell: str, words: str, expected: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, sub-commands and options are completed by the shell, in the way that click offers."""
    monkeypatch.setenv("_VFSOVERLAY_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    last = words.rsplit(maxsplit=1)[-1] if shell == "fish" else str(len(words.split()) - 1)
    monkeypatch.setenv("COMP_CWORD", last)
    with pytest.raises(SystemExit):
        main([])
    assert expected in capfd.readouterr().out


def test_the_cache_can_be_looked_after(call: Call, tmp_path: Path) -> None:
    """Cache info, check, evict and clear tell what is there and make it smaller."""
    assert call("cat", "s3://bucket/a.txt", "-o", f"cache_dir={tmp_path}")[0] == 0
    cache = ("cache", "--cache-dir", str(tmp_path))
    info = json.loads(call(*cache, "info", "--json")[1])
    assert (info["directory"], info["objects"]) == (str(tmp_path), 1)
    assert call(*cache, "check") == (0, "1 object and 0 listings checked, 0 wrong\n", "")
    assert call(*cache, "evict", "1")[0] == 0
    assert call(*cache, "clear", "--json") == (0, '{\n  "freed": 0\n}\n', "")
    assert "objects    0\n" in call(*cache, "info", "-h")[1]


_LOOKING: dict[str, tuple[str, ...]] = {
    "directory": ("info", "--json"),
    "0 objects and 0 listings checked, 0 wrong": ("check",),
    '"freed": 0': ("clear", "--json"),
    "0 B freed": ("evict", "1GiB"),
}


@pytest.mark.parametrize("words", _LOOKING.values())
def test_a_cache_directory_that_is_not_there(call: Call, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A misspelt --cache-dir is a usage error that names it and the next step, and makes no directory."""
    code, out, err = call("cache", "--cache-dir", f"{tmp_path}/typo", *words)
    assert (code, out) == (2, "")
    assert f"there is no directory {tmp_path}/typo; name one that mounts use, or leave --cache-dir out" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shown", _LOOKING)
@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "VFSOVERLAY_CACHE_DIR", ""])
def test_a_cache_that_was_never_filled(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, shown: str
) -> None:
    """Looking after a cache that was never there says so, finds nothing in it, and makes none."""
    monkeypatch.delenv("VFSOVERLAY_CACHE_DIR", raising=False)
    # Where the home has no cache, one in the temp directory would be found.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = {"XDG_CACHE_HOME": tmp_path / "vfsoverlay", "VFSOVERLAY_CACHE_DIR": tmp_path / "own"}.get(variable)
    given: tuple[str, ...] = ()
    if variable == "VFSOVERLAY_CACHE_DIR":
        monkeypatch.setenv(variable, str(directory))
    elif variable == "XDG_CACHE_HOME":
        (tmp_path / "vfsoverlay").mkdir()
    else:
        directory, given = tmp_path, ("--cache-dir", str(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("cache", *given, *_LOOKING[shown])
    assert (code, err) == (0, f"vfsoverlay: no object was ever cached in {directory}\n")
    assert shown in out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_cache_is_told(call: Call, tmp_path: Path) -> None:
    """Cache check names what is wrong, in JSON as well, and exits with 1."""
    assert call("cat", "s3://bucket/a.txt", "-o", f"cache_dir={tmp_path}")[0] == 0
    (data,) = tmp_path.rglob("*.data")
    status = data.stat()
    data.chmod(0o600)
    data.write_bytes(b"ALPHA")
    data.chmod(0o400)
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    code, out, _ = call("cache", "--cache-dir", str(tmp_path), "check", "--json")
    report = json.loads(out)
    # Its time of change shows the damage, so it would be compared with its checksum before it is served.
    assert (code, report["objects"], len(report["problems"])) in {(1, 1, 1), (0, 1, 0)}


@pytest.mark.parametrize("objects_are_there", [True, False])
def test_a_damaged_listing_is_told(call: Call, tmp_path: Path, objects_are_there: bool) -> None:
    """Cache check compares the kept listings as well, names a damaged one, drops it, and exits with 1."""
    assert call("warm", "s3://bucket/deep/more/", "-o", f"cache_dir={tmp_path}")[0] == 0
    (listing,) = tmp_path.rglob("*.sqlite")
    content = listing.read_bytes()
    listing.write_bytes(content[:5000] + b"?" + content[5001:])
    if not objects_are_there:
        shutil.rmtree(tmp_path / "v1" / "objects")
    cache = ("cache", "--cache-dir", str(tmp_path), "check")
    code, out, _ = call(*cache, "--json")
    report = json.loads(out)
    assert (code, report["objects"], report["listings"]) == (1, int(objects_are_there), 1)
    assert [problem["name"] for problem in report["problems"]] == [listing.name]
    assert not listing.exists()
    code, out, _ = call(*cache)
    assert (code, out.partition(" and ")[2]) == (0, "0 listings checked, 0 wrong\n")


def test_doctor_examines(call: Call, tmp_path: Path) -> None:
    """Doctor tells what works and what does not, and exits with 1 if something is wrong."""
    code, out, _ = call("doctor", "s3://bucket/", "-o", f"cache_dir={tmp_path}")
    assert code == 0
    assert all(line.startswith("ok ") for line in out.splitlines())
    assert "4 objects, 2.0 KiB" in out
    code, out, _ = call("doctor", "--json", "s3://no-such-bucket/")
    found = {finding["subject"]: finding["is_fine"] for finding in json.loads(out)}
    assert code == 1
    subjects = ("python", "cache", "credentials", "reach")
    assert found == {**dict.fromkeys(subjects, True), "s3://no-such-bucket/": False}


@pytest.mark.parametrize(
    ("variables", "words", "expected"),
    [
        ({}, [], "ok     credentials  none; requests are unsigned"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, [], "ok     credentials  found by env; "),
        ({}, ["--anon"], "ok     credentials  not looked for; "),
        ({}, ["-o", 'storage_options={"key": "a", "secret": "b"}'], "ok     credentials  found by storage_options; "),
        ({}, ["--profile", "absent"], "WRONG  credentials  The config profile (absent) could not be found"),
    ],
)
def test_doctor_finds_credentials_as_a_mount_does(
    variables: dict[str, str],
    words: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Doctor says where credentials come from: the very place where a mount finds them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    main(["doctor", *words])
    assert expected in capfd.readouterr().out


def test_the_demo_needs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Demo lists and reads the sample, from a server of its own, and tells what was fetched."""
    assert main(["demo"]) == 0
    out = capfd.readouterr().out
    assert "esRedditJson4\n" in out
    assert '{"date": "2012-01-01", "precipitation": 0.0' in out
    assert "fetched: 2 requests, 40.1 KiB" in out


def test_the_demo_takes_a_bucket(call: Call) -> None:
    """Demo shows another bucket if one is named."""
    code, out, _ = call("demo", "s3://bucket/")
    assert code == 0
    assert "4 names" not in out
    assert "    alpha\n" in out


@pytest.mark.parametrize(
    ("text", "source", "root_dir"),
    [
        ("s3://b/p/:/content/x", "s3://b/p/", "/content/x"),
        ("s3://b/p/", "s3://b/p/", "/data/p"),
        ("s3://b/", "s3://b/", "/data/b"),
        ("file:///a:/b/:/content", "file:///a:/b/", "/content"),
    ],
)
def test_a_mount_is_source_and_path(text: str, source: str, root_dir: str) -> None:
    """SRC:PATH is split at the last ``:/``; without a path the default one is taken."""
    found = parse_mount(text, {"anon": True})
    assert (found.source, found.root_dir, found.options) == (source, root_dir, {"anon": True})


def test_options_are_json_or_text() -> None:
    """NAME=VALUE is JSON where it is JSON, octal for permission bits, and a text otherwise."""
    texts = ["cache_size=20GiB", "deadline=5", "requester_pays=true", "file_mode=0640", 'storage_options={"key": "k"}']
    assert parse_options(texts) == {
        "cache_size": "20GiB", "deadline": 5, "requester_pays": True, "file_mode": 0o640,
        "storage_options": {"key": "k"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "human"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 1024**3, "5.0 GiB"), (1024**6, "1048576.0 TiB")],
)
def test_sizes_have_units(size: int, human: str) -> None:
    """Sizes for people are rounded to a unit of 1024 bytes; others are exact."""
    assert (shown_size(size, human=True), shown_size(size, human=False)) == (human, str(size))


def test_counts_have_their_noun() -> None:
    """One file is no files, and directories are spelled right."""
    assert [counted(1, "file"), counted(2, "file"), counted(0, "directory")] == ["1 file", "2 files", "0 directories"]


def test_names_stay_on_their_line() -> None:
    """Control characters of names are shown by their number, and times are in UTC."""
    assert shown_name("a\x1b[2Jb\x85") == "a\\x1b[2Jb\\x85"
    assert shown_time(0) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("name", ["", *app.commands])
def test_every_command_helps(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """--help fits into 80 columns and exits with 0."""
    assert main([*name.split(), "--help"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("Usage: vfsoverlay")
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.partition("Commands:")[2]


def test_the_sample_is_what_the_example_expects() -> None:
    """The sample has the names of the seed's example, is valid, and stays small."""
    objects = sample_objects()
    assert SAMPLE_BUCKET == "ryft-public-sample-data"
    assert [key for key in objects if key.startswith("esRedditJson/")] == [
        f"esRedditJson/esRedditJson{n}" for n in (1, 2, 3, 4)
    ]
    assert sum(len(objects[f"esRedditJson/esRedditJson{n}"].splitlines()) for n in (1, 2, 3, 4)) == 1461
    assert sum(map(len, objects.values())) < 1_000_000
