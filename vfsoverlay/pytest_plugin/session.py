"""What options of pytest ask for during a whole run: mounts, no network, a recording, a summary."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from vfsoverlay import _api
from vfsoverlay._metrics import ended_counts
from vfsoverlay._mount_text import parse_mount, parse_options
from vfsoverlay._spec import Mount
from vfsoverlay._vfs.cache_directory import VARIABLE as CACHE_DIR
from vfsoverlay._vfs.offline import VARIABLE as OFFLINE
from vfsoverlay._vfs.progress import shown_size
from vfsoverlay._vfs.recording import load_recording, save_recording

_KEY = "vfsoverlay"


class Session:
    """The hooks of a run that uses one of the options; registered as a plugin of its own.

    Workers of pytest-xdist have one as well. They find the cache directory and whether to be offline in
    the environment, where the process that starts them has put it, and have its mounts already.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.is_worker = hasattr(config, "workerinput")
        self.offline: bool = config.getoption("vfs_offline")
        self.record: str | None = config.getoption("vfs_record")
        self.replay: str | None = config.getoption("vfs_replay")
        self.shows_summary: bool = config.getoption("vfs_summary")
        self.lines: list[str] = config.getini("vfs_mounts")
        self.counts: Counter[str] = Counter()
        self.counts.subtract(_counts_of_process())
        self.recorded = ""
        self._mounts = ExitStack()
        self._cleanup = ExitStack()
        if sum(map(bool, (self.offline, self.record, self.replay))) > 1:
            msg = "--vfs-offline, --vfs-record and --vfs-replay exclude each other"
            raise pytest.UsageError(msg)
        if not self.is_worker:
            self._set_up(config)

    def _set_up(self, config: pytest.Config) -> None:
        if self.record or self.replay:
            self._directory = tempfile.mkdtemp(prefix="vfsoverlay-pytest-")
            self._cleanup.callback(shutil.rmtree, self._directory, ignore_errors=True)
            self._set_variable(CACHE_DIR, self._directory)
        if self.replay:
            file = os.path.join(config.invocation_params.dir, self.replay)
            self._usage("--vfs-replay", lambda: load_recording(file, self._directory))
        if self.offline or self.replay:
            self._set_variable(OFFLINE, "1")
        if self.record:
            self.record = os.path.join(config.invocation_params.dir, self.record)

    def _set_variable(self, name: str, value: str) -> None:
        before = os.environ.get(name)
        os.environ[name] = value
        if before is None:
            self._cleanup.callback(os.environ.pop, name, None)
        else:
            self._cleanup.callback(os.environ.__setitem__, name, before)

    def _usage(self, what: str, call: Callable[[], object]) -> None:
        """Run *call*; what it raises ends pytest with one line instead of a traceback."""
        try:
            call()
        except (OSError, ValueError, TypeError) as error:
            self.pytest_unconfigure()
            place = getattr(error, "filename", None)
            reason = getattr(error, "strerror", None) or str(error)
            msg = f"{what}: {reason}{f': {place}' if place else ''}"
            raise pytest.UsageError(msg) from error

    def adjusted(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a mount of ours: in a recording are all its names, and its bytes in the one directory."""
        without = ("cache_dir", "listing", "ttl") if self.record or self.replay else ()
        return {name: value for name, value in options.items() if name not in without}

    # ----------------------------------------------------------------------------------- hooks

    def pytest_sessionstart(self) -> None:
        """Make the mounts of the configuration, before tests are collected: all or none."""
        if self.lines:
            self._usage("vfs_mounts", self._mount)

    def _mount(self) -> None:
        for point in _api.mount([self._spec(line) for line in self.lines]):
            self._mounts.enter_context(point)

    def _spec(self, line: str) -> Mount:
        what, *assignments = shlex.split(line)
        return parse_mount(what, self.adjusted(parse_options(assignments)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """End the mounts, after fixtures have ended; keep what was counted and recorded."""
        self._mounts.close()
        self.counts.update(_counts_of_process())
        if self.is_worker:
            session.config.workeroutput[_KEY] = dict(self.counts)  # type: ignore[attr-defined]  # of pytest-xdist
        elif self.record and exitstatus == pytest.ExitCode.OK:
            objects, size = save_recording(os.path.realpath(self._directory), self.record)
            what = "1 object" if objects == 1 else f"{objects} objects"
            self.recorded = f"recorded {what} in {self.record} ({shown_size(size)})"
        elif self.record:
            self.recorded = f"nothing was recorded in {self.record}, since not all tests passed"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker of pytest-xdist has counted; one that crashed tells nothing."""
        self.counts.update(getattr(node, "workeroutput", {}).get(_KEY, {}))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was asked for and what was recorded."""
        if self.shows_summary:
            terminalreporter.write_line(f"vfsoverlay: {summary(self.counts)}")
        if self.recorded:
            terminalreporter.write_line(f"vfsoverlay: {self.recorded}")

    def pytest_unconfigure(self) -> None:
        """Leave mounts, variables and directories as they were."""
        self._mounts.close()
        self._cleanup.close()


def _counts_of_process() -> Counter[str]:
    counts: Counter[str] = Counter()
    counts.update(_api.metrics())
    counts.update(ended_counts())
    return counts


def summary(counts: Mapping[str, float]) -> str:
    """Requests, bytes and hits in one line."""

    def total(kind: str, *left_out: str) -> int:
        return int(sum(n for name, n in counts.items() if name.startswith(f"{kind}.") and name not in left_out))

    requests, names = total("requests"), int(counts.get("requests.list", 0))
    fetched = shown_size(total("bytes", "bytes.asked", "bytes.wasted"))
    hits, misses = int(counts.get("hits", 0)), int(counts.get("misses", 0))
    return f"{requests} requests ({names} of them listings), {fetched} fetched, {hits} hits, {misses} misses"
