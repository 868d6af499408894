"""Reading, and listing 100,000 names, from a server that answers like S3: vfsoverlay beside its peers.

    python benchmarks/bench_data.py                              # all cases and all peers that are installed
    python benchmarks/bench_data.py --case A,C --peers raw,vfsoverlay,obstore --runs 5
    python benchmarks/bench_data.py --quick                      # small sizes: does everything work?

Each measurement is a process of its own; "cold" begins with an empty cache of the client, "warm" is a
further process (and a new daemon, for kernel mounts) that finds what the cold one left. Imports, clients and
mounts are made before the clock starts, except in E, where listing is what is measured. Contenders take
turns, so that a busy minute meets them all. Requests and bytes are those that the server logged. Every
piece that was read is compared with the local file after the clock has stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from contenders import CONTENDERS, MIB, Contender, Raw, Target, VFSOverlay, VFSOverlayListing
from s3_like_server import S3LikeServer

KIB = 1024
LARGE, TABLE = "large.bin", "table.parquet"
RANDOM_READ = 64 * KIB

#: Where each measurement ends up: case, contender, "cold" or "warm".
Key = tuple[str, str, str]


class Sizes(NamedTuple):
    """How much there is to read."""

    large: int = 512 * MIB
    rows: int = 1_700_000
    tree: int = 10
    """Directories in a directory, three levels deep, with 100 files in each of the lowest."""


QUICK = Sizes(large=64 * MIB, rows=200_000, tree=3)

#: Buckets of small objects: their names say how many there are.
SMALL = (200, 400, 2000)


# ------------------------------------------------------------------------------------------------- what is read


def small_keys(count: int) -> list[str]:
    """Objects of 16 KiB, a hundred in each directory, in the order of a listing."""
    return [f"d{i // 100:02d}/f{i % 100:02d}" for i in range(count)]


def make_data(directory: str, sizes: Sizes) -> None:
    """Write the buckets as directories below ``buckets``, unless they are there."""
    done = Path(directory, f"made-{'-'.join(map(str, sizes))}")
    if done.exists():
        return
    buckets = Path(directory, "buckets")
    shutil.rmtree(buckets, ignore_errors=True)
    source = random.Random(1)
    for bucket in ("large", "table", "tree"):
        (buckets / bucket).mkdir(parents=True)
    with open(buckets / "large" / LARGE, "wb") as file:
        file.writelines(source.randbytes(MIB) for _ in range(sizes.large // MIB))
    for count in SMALL:
        for key in small_keys(count):
            path = buckets / f"small{count}" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.randbytes(16 * KIB))
    for number in range(sizes.tree**3):
        parts = number // sizes.tree**2, number // sizes.tree % sizes.tree, number % sizes.tree
        lowest = buckets.joinpath("tree", *(f"d{part}" for part in parts))
        lowest.mkdir(parents=True)
        for name in range(100):
            (lowest / f"f{name:02d}").write_bytes(b"x")
    if not CONTENDERS["pyarrow"].missing():
        make_table(str(buckets / "table" / TABLE), sizes.rows)
    done.touch()


def make_table(path: str, rows: int) -> None:
    """A Parquet file of 20 columns of float64, neither compressed nor encoded."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = np.random.default_rng(1)
    table = pa.table({f"c{i:02d}": source.random(rows) for i in range(20)})
    pq.write_table(table, path, row_group_size=rows // 10, compression="none", use_dictionary=False)


# ------------------------------------------------------------------------------------------------- the cases


class Work:
    """One case's work by one contender; remembers samples of what was read, to be compared later."""

    def __init__(self, contender: Contender, sizes: Sizes) -> None:
        self.contender = contender
        self.sizes = sizes
        self.seen: list[tuple[str, int, int, int]] = []

    def note(self, key: str, offset: int, piece: Any) -> None:
        """A piece was read."""
        self.seen.append((key, offset, len(piece), crc32(memoryview(piece)[:4096])))

    def note_whole(self, key: str) -> None:
        """Read a small object whole."""
        self.note(key, 0, self.contender.read(key))

    def compare(self, directory: str) -> None:
        """Raise unless everything that was read is what the local files have."""
        for key, offset, length, checksum in self.seen:
            with open(f"{directory}/{key}", "rb") as file:
                file.seek(offset)
                if (length, checksum) != _sample(file.read(max(length, 1))):
                    msg = f"wrong bytes of {key} at {offset}"
                    raise AssertionError(msg)

    def in_order(self) -> None:
        """A: a large object from beginning to end."""
        self.contender.read_in_order(LARGE, self.sizes.large, self.note)

    def small_files(self, *, count: int, threads: int) -> None:
        """B: small objects in the order of their listing."""
        self.note_all(small_keys(count), threads)

    def note_all(self, keys: list[str], threads: int) -> None:
        """Read small objects with as many threads."""
        if threads == 1:
            for key in keys:
                self.note_whole(key)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self.note_whole, keys))

    def shuffled(self, *, count: int) -> None:
        """B1S: small objects in a random order that is known in advance."""
        keys = small_keys(count)
        random.Random(2).shuffle(keys)
        for key in self.contender.known_order(keys):
            self.note_whole(key)

    def at_random(self, *, count: int) -> None:
        """C: pieces of a large object."""
        source = random.Random(3)
        offsets = [source.randrange(self.sizes.large - RANDOM_READ) for _ in range(count)]
        self.contender.read_at(LARGE, offsets, RANDOM_READ, self.note)

    def column(self) -> None:
        """F: one column of a Parquet file."""
        values = self.contender.column(TABLE, "c07")
        if len(values) != self.sizes.rows:
            msg = f"{len(values)} values"
            raise AssertionError(msg)

    def walk(self) -> None:
        """E: all names with their attributes."""
        found = self.contender.walk()
        if found != self.sizes.tree**3 * 100:
            msg = f"{found} names"
            raise AssertionError(msg)

    def workers(self, *, processes: int, connections: int) -> None:
        """W: small objects in a random order, dealt out to forked processes as a training loop's workers have them."""
        keys = small_keys(2000)
        random.Random(4).shuffle(keys)
        shares = [keys[first::processes] for first in range(processes)]
        readers, ends = [], []
        for share in shares:
            end, other = Pipe(duplex=False)
            readers.append(get_context("fork").Process(target=self._work, args=(share, connections, other)))
            readers[-1].start()
            ends.append(end)
        for reader, end in zip(readers, ends, strict=True):
            self.seen += end.recv()
            reader.join()

    def _work(self, share: list[str], connections: int, end: Connection) -> None:
        if isinstance(self.contender, Raw):
            # The limit of the network is reached by requests in flight, not by one after the other.
            self.note_all(share, connections)
        else:
            for key in self.contender.known_order(share):
                self.note_whole(key)
        end.send(self.seen)


def _sample(piece: Any) -> tuple[int, int]:
    return len(piece), crc32(memoryview(piece)[:4096])


class Case(NamedTuple):
    """What is done, and what the server is like meanwhile."""

    title: str
    run: Callable[[Work], None]
    latency: float = 0.02
    rate: int = 50
    bucket: str = "large"
    is_repeated: bool = False
    """Done a second time in the same process."""
    skips: tuple[str, ...] = ()
    """Contenders that cannot do it, or not as a program would."""


def _small(count: int, threads: int) -> Callable[[Work], None]:
    return partial(Work.small_files, count=count, threads=threads)


CASES: dict[str, Case] = {
    "A": Case("512 MiB read in order", Work.in_order),
    "B16": Case("400 files of 16 KiB, 16 threads", _small(400, 16), bucket="small400"),
    "B1": Case("200 files, one thread, listing order", _small(200, 1), bucket="small200"),
    "B1S": Case("200 files, one thread, shuffled, known order", partial(Work.shuffled, count=200), bucket="small200"),
    "B2000": Case("2,000 files, 16 threads, no latency", _small(2000, 16), latency=0, rate=0, bucket="small2000"),
    "C": Case("300 random reads of 64 KiB in 512 MiB", partial(Work.at_random, count=300)),
    "C20": Case("20 random reads of 64 KiB in 512 MiB", partial(Work.at_random, count=20)),
    "E": Case(
        "100,000 names in 1,110 directories",
        Work.walk,
        bucket="tree",
        is_repeated=True,
        skips=("cloudpathlib", "filecache"),
    ),
    "F": Case("one of 20 Parquet columns of 272 MB", Work.column, bucket="table", skips=("raw", "boto3", "obstore")),
    "W": Case(
        "2,000 files, 8 processes, shuffled, known order",
        partial(Work.workers, processes=8, connections=4),
        bucket="small2000",
        skips=tuple(CONTENDERS.keys() - {"local", "raw", "vfsoverlay"}),
    ),
}


# ------------------------------------------------------------------------------------------------- one measurement


def measure(case: str, name: str, target: Target, sizes: Sizes) -> dict[str, Any]:
    """Do the work of *case* once, in this process."""
    kind = CONTENDERS[name]
    if case == "E" and kind is VFSOverlay:
        kind = VFSOverlayListing
    if case == "F":
        import pyarrow.parquet  # noqa: F401 - takes longer than what is measured
    begun = time.perf_counter()
    result: dict[str, Any] = {}
    contender = kind(target)
    with contender:
        result["setup"] = time.perf_counter() - begun
        work = Work(contender, sizes)
        result["seconds"] = _timed(CASES[case].run, work)
        result["peak"] = _peak("self")
        daemon = getattr(contender, "process", None)
        if daemon is not None:
            result["peak"] += _peak(daemon.pid)
        if CASES[case].is_repeated:
            result["again"] = _timed(CASES[case].run, work)
        if hasattr(contender, "point"):
            result["metrics"] = contender.point.metrics()
    work.compare(target.directory)
    return result


def _timed(run: Callable[[Work], None], work: Work) -> float:
    start = time.perf_counter()
    run(work)
    return time.perf_counter() - start


def _peak(process: int | str) -> float:
    """Most memory that *process* had, in MiB; getrusage would count that of the process before exec as well."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / KIB


# ------------------------------------------------------------------------------------------------- all of them


class Bench:
    """Runs measurements and keeps their results."""

    def __init__(self, directory: str, sizes: Sizes, timeout: float, *, verbose: bool) -> None:
        self.directory = directory
        self.sizes = sizes
        self.timeout = timeout
        self.verbose = verbose
        self.results: dict[Key, list[dict[str, float]]] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self._servers: dict[tuple[float, int], S3LikeServer] = {}
        self._ends = ExitStack()
        self._scratch = self._ends.enter_context(tempfile.TemporaryDirectory(dir=directory, prefix="scratch-"))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def server(self, case: Case) -> S3LikeServer:
        """The server with the latency and rate of *case*."""
        setting = case.latency, case.rate
        if setting not in self._servers:
            server = S3LikeServer(f"{self.directory}/buckets", latency=case.latency, rate=case.rate)
            self._servers[setting] = self._ends.enter_context(server)
        return self._servers[setting]

    def run(self, case: str, names: Iterable[str], runs: int) -> None:
        """Measure *case* with the contenders *names*, in turns."""
        for _ in range(runs):
            for name in names:
                if (case, name) not in self.failures and name not in CASES[case].skips:
                    self._run_once(case, name)

    def _run_once(self, case: str, name: str) -> None:
        # Kept to the end: ext4 takes half a millisecond to make a file where others were deleted seconds before.
        scratch = tempfile.mkdtemp(dir=self._scratch)
        try:
            self._measure(case, name, "cold", scratch)
            if CONTENDERS[name].has_cache and case != "E":
                self._measure(case, name, "warm", scratch)
        except (subprocess.SubprocessError, RuntimeError) as error:
            self.failures[case, name] = _reason(error)
        for directory, _, files in os.walk(scratch):
            for file in files:
                if os.lstat(path := f"{directory}/{file}").st_size > MIB:
                    os.unlink(path)

    def _measure(self, case: str, name: str, state: str, scratch: str) -> None:
        server, bucket = self.server(CASES[case]), CASES[case].bucket
        target = Target(server.url, bucket, f"{self.directory}/buckets/{bucket}", scratch)
        request = json.dumps([case, name, target, self.sizes])
        before = server.counts()
        done = subprocess.run(
            [sys.executable, __file__, "--measure", request],
            check=True, capture_output=True, text=True, timeout=self.timeout,
        )  # fmt: skip
        after = server.counts()
        result = json.loads(done.stdout.splitlines()[-1])
        result["requests"] = after.requests - before.requests
        result["bytes"] = after.sent - before.sent
        self.results.setdefault((case, name, state), []).append(result)
        if self.verbose:
            print(f"# {case} {name} {state}: {result}", file=sys.stderr, flush=True)

    def value(self, case: str, name: str, state: str = "cold", what: str = "seconds") -> float:
        """The median of what was measured; NaN if nothing was."""
        found = [result[what] for result in self.results.get((case, name, state), ()) if what in result]
        return statistics.median(found) if found else float("nan")


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not done after {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        return (str(error.stderr).strip().splitlines() or ["failed"])[-1][:120]
    return str(error)[-120:]


# ------------------------------------------------------------------------------------------------- the report


class Demand(NamedTuple):
    """What a figure of vfsoverlay must be at most, in units of another figure."""

    case: str
    what: str
    figure: Callable[[Bench], float]
    unit: Callable[[Bench], float]
    must: float
    goal: float


def _demands() -> list[Demand]:
    def ours(case: str, state: str = "cold", what: str = "seconds") -> Callable[[Bench], float]:
        return lambda bench: bench.value(case, "vfsoverlay", state, what)

    def theirs(case: str, name: str, what: str = "seconds") -> Callable[[Bench], float]:
        return lambda bench: bench.value(case, name, "cold", what)

    def best_of_c(bench: Bench) -> float:
        return min(bench.value("C", "raw"), bench.value("A", "vfsoverlay"))

    def plain(unit: float) -> Callable[[Bench], float]:
        return lambda _: unit

    return [
        Demand("A", "time / raw with 8 streams", ours("A"), theirs("A", "raw"), 0.8, 0.4),
        Demand("A", "peak memory, MiB", ours("A", what="peak"), plain(1), 120, 80),
        Demand("A", "warm, new process: time / local file", ours("A", "warm"), theirs("A", "local"), 1.2, 1.05),
        Demand("B16", "time / raw with 16 threads", ours("B16"), theirs("B16", "raw"), 1, 0.7),
        Demand("B16", "requests a file, listing included", ours("B16", what="requests"), plain(400), 1.05, 1),
        Demand("B1", "time / raw", ours("B1"), theirs("B1", "raw"), 0.15, 0.07),
        Demand("B1S", "time / raw", ours("B1S"), theirs("B1S", "raw"), 0.25, 0.1),
        Demand("B2000", "time / raw with 16 threads", ours("B2000"), theirs("B2000", "raw"), 5, 2),
        Demand("C", "time / better of raw serial and our A", ours("C"), best_of_c, 2.2, 1.6),
        Demand("C", "peak memory, MiB", ours("C", what="peak"), plain(1), 120, 80),
        Demand("C20", "bytes / bytes asked for", ours("C20", what="bytes"), plain(20 * RANDOM_READ), 8, 4),
        Demand("E", "mount and walk / raw sequential listing", ours("E"), theirs("E", "raw"), 0.7, 0.38),
        Demand("E", "second walk / walk of local tree", ours("E", what="again"), theirs("E", "local", "again"), 1, 1),
        Demand("F", "time / pyarrow's own S3", ours("F"), theirs("F", "pyarrow"), 1.5, 1),
        Demand("F", "MB", ours("F", what="bytes"), plain(1e6), 30, 15),
        Demand("W", "first epoch / raw with 32 in flight", ours("W"), theirs("W", "raw"), 1.3, 1.3),
        Demand("W", "second epoch / local files", ours("W", "warm"), theirs("W", "local"), 1.1, 1.1),
    ]


def report(bench: Bench, names: list[str]) -> Iterator[str]:
    """The figures as Markdown."""
    for case in dict.fromkeys(key[0] for key in bench.results):
        about = CASES[case]
        rate = f", {about.rate} MiB/s a response" if about.rate else ""
        yield f"\n### {case}: {about.title} ({about.latency * 1000:.0f} ms{rate})\n"
        yield "| contender | cold s | of raw | requests | MB | peak MiB | warm s | warm requests |"
        yield "|---|---|---|---|---|---|---|---|"
        for name in names:
            if (case, name, "cold") in bench.results:
                yield _row(bench, case, name)
            if (case, name) in bench.failures:
                yield f"| {name} | {bench.failures[case, name]} | | | | | | |"
    yield "\n### What is asked of vfsoverlay\n"
    yield "| case | figure | measured | must | goal |"
    yield "|---|---|---|---|---|"
    for demand in _demands():
        ratio = demand.figure(bench) / demand.unit(bench)
        if ratio == ratio:  # noqa: PLR0124 - NaN: it was not measured
            mark = "" if ratio <= demand.must else " (missed)"
            yield f"| {demand.case} | {demand.what} | {ratio:.2f}{mark} | {demand.must} | {demand.goal} |"


def _row(bench: Bench, case: str, name: str) -> str:
    def number(what: str, form: str, state: str = "cold", unit: float = 1) -> str:
        value = bench.value(case, name, state, what)
        return format(value / unit, form) if value == value else ""  # noqa: PLR0124 - NaN: it was not measured

    of_raw = number("seconds", ".2f", unit=bench.value(case, "raw")).replace("nan", "")
    again = number("again", ".3f") or number("seconds", ".3f", "warm")
    cells = [name, number("seconds", ".3f"), of_raw, number("requests", ".0f"), number("bytes", ".1f", unit=1e6)]
    cells += [number("peak", ".0f"), again, number("requests", ".0f", "warm")]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Report, or do one measurement for the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES), help="default: %(default)s")
    parser.add_argument("--peers", default=",".join(CONTENDERS), help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of each contender (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one run (default: %(default)s)")
    parser.add_argument("--data", help="directory in which the objects are kept for the next time")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--verbose", action="store_true", help="tell of each run")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        case, name, target, sizes = json.loads(options.measure)
        print(json.dumps(measure(case, name, Target(*target), Sizes(*sizes))))
        return
    wanted = options.peers.split(",")
    for unknown in [*(set(wanted) - set(CONTENDERS)), *(set(options.case.split(",")) - set(CASES))]:
        parser.error(f"there is no {unknown}")
    absent = {name: reason for name in wanted if (reason := CONTENDERS[name].missing())}
    names = [name for name in wanted if name not in absent]
    sizes = QUICK if options.quick else Sizes()
    with ExitStack() as ends:
        directory = options.data or ends.enter_context(tempfile.TemporaryDirectory())
        make_data(directory, sizes)
        bench = ends.enter_context(Bench(directory, sizes, options.timeout, verbose=options.verbose))
        print(
            f"server: {bench.server(CASES['A']).engine}; {os.cpu_count()} CPUs; load {os.getloadavg()[0]:.1f}", end=""
        )
        for case in options.case.split(","):
            bench.run(case, names, options.runs)
        print(f" to {os.getloadavg()[0]:.1f}; medians of {options.runs}")
        for name, reason in absent.items():
            print(f"left out: {name} ({reason})")
        for line in report(bench, names):
            print(line)


if __name__ == "__main__":
    main()
