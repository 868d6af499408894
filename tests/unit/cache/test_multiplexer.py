"""Small objects that are fetched ahead come through one thread, which waits for none of them."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.cache_source import Source, read_all
from tests.unit.cache.conftest import MakeCache
from vfsoverlay._cache.block_cache import BlockCache
from vfsoverlay._cache.connections import FIRST
from vfsoverlay._cache.fetch_task import FetchTask, WholeFetch
from vfsoverlay._cache.multiplexer import MOST, Multiplexer, Step
from vfsoverlay._cache.read_range import Sink, Wanted
from vfsoverlay._cache.workers import Workers
from vfsoverlay._metrics import Purpose
from vfsoverlay._model import ObjectId


class Answer:
    """A read that was begun: what the store sends is up to the test."""

    def __init__(self, store: Store, object_id: ObjectId) -> None:
        self.object_id = object_id
        self.closed = False
        self._store = store
        self._ours, self._theirs = socket.socketpair()
        self._came = b""

    def send(self, part: bytes = b"!") -> None:
        """Have something come: an exclamation mark is the end."""
        self._theirs.sendall(part)

    def fileno(self) -> int:
        return self._ours.fileno()

    def take(self) -> bool:
        self._came += self._ours.recv(100)
        self._store.taken.append(threading.current_thread().name)
        return self._came.endswith(b"!")

    def content(self) -> bytes | None:
        if b"?" in self._came:
            return None
        self.close()
        return self._store.source.content(self.object_id)

    def finish(self, sink: Sink) -> None:
        self._store.finished.append(threading.current_thread().name)
        self.close()
        self._store.before_finish()
        sink(memoryview(self._store.source.content(self.object_id)))

    def close(self) -> None:
        self.closed = True
        self._ours.close()
        self._theirs.close()


class Store:
    """Begins reads, as many as there are idle connections."""

    def __init__(self, source: Source, idle: int = 1 << 30) -> None:
        self.source = source
        self.idle = idle
        self.answers: list[Answer] = []
        self.begun = threading.Semaphore(0)
        self.taken: list[str] = []
        """The threads that took what came."""
        self.finished: list[str] = []
        """The threads that went on where an answer was not right, or late."""
        self.before_finish: Callable[[], object] = lambda: None
        self._answered = 0

    def begin(self, object_id: ObjectId, _: Purpose) -> Answer | None:
        if not self.idle:
            return None
        self.idle -= 1
        self.answers.append(Answer(self, object_id))
        self.begun.release()
        return self.answers[-1]

    def wanted(self, object_id: ObjectId) -> Wanted:
        return Wanted(object_id, self.source.reader(object_id), partial(self.begin, object_id))

    def answer_all(self, count: int, part: bytes = b"!") -> None:
        """Wait until *count* more reads were begun, and answer them."""
        for _ in range(count):
            assert self.begun.acquire(timeout=20)
            self.answers[self._answered].send(part)
            self._answered += 1


@pytest.fixture
def store(source: Source) -> Store:
    return Store(source)


def objects(source: Source, count: int, size: int = 1000) -> list[ObjectId]:
    return [source.object(f"key-{number}", size) for number in range(count)]


class Warming:
    """A warm that has begun, and whose consumer waits until the test has been the store."""

    def __init__(self, cache: BlockCache, store: Store, wanted: list[ObjectId]) -> None:
        self.error: OSError | None = None
        lead = store.source.object("lead", 1)
        os.close(cache.complete(lead, store.source.reader(lead)))
        store.source.ranges.clear()
        self.items: Any = cache.warm([lead, *wanted], lambda oid: oid, store.wanted)
        # What is there is given at once; by then the others were taken. A consumer who waits would fetch by itself.
        assert next(self.items) == lead

    def end(self) -> list[ObjectId]:
        """The items given, up to the first error."""
        given = []
        try:
            given.extend(self.items)
        except OSError as error:
            self.error = error
        return given


def assert_there(cache: BlockCache, source: Source, wanted: list[ObjectId]) -> None:
    for object_id in wanted:
        fd = cache.open_complete(object_id)
        assert fd is not None
        assert read_all(fd) == source.content(object_id)


def test_one_thread_fetches_many(cache: BlockCache, source: Source, store: Store) -> None:
    """Many reads are under way at once, and one thread takes all their answers, in whatever order and pieces."""
    wanted = objects(source, 20)
    warming = Warming(cache, store, wanted)
    for _ in wanted:
        assert store.begun.acquire(timeout=20)
    for part in (b"a", b"b!"):
        for answer in reversed(store.answers):
            answer.send(part)
    assert warming.end() == wanted
    assert_there(cache, source, wanted)
    assert len(set(store.taken)) == 1
    assert all(answer.closed for answer in store.answers)
    assert source.ranges == []
    assert store.finished == []


def test_what_cannot_be_begun_is_read_by_threads(cache: BlockCache, source: Source, store: Store) -> None:
    """Where the store has no idle connection, threads read as ever, and what comes later is begun when there is one."""
    store.idle = 3
    wanted = objects(source, 10)
    warming = Warming(cache, store, wanted)
    store.answer_all(3)
    assert warming.end() == wanted
    assert_there(cache, source, wanted)
    assert len(source.ranges) == 7


@pytest.mark.parametrize("size", [0, 256 * 1024 + 1, 3 * 1024**2])
def test_what_is_empty_or_large_is_not_begun(cache: BlockCache, source: Source, store: Store, size: int) -> None:
    """Only objects that may lie in memory are taken in one piece."""
    wanted = objects(source, 2, size)
    assert Warming(cache, store, wanted).end() == wanted
    assert_there(cache, source, wanted)
    assert store.answers == []


def test_an_answer_that_is_not_right_goes_on_in_a_thread(cache: BlockCache, source: Source, store: Store) -> None:
    """What the store has to say about an answer, it says in a thread that may wait; the others come meanwhile."""
    wanted = objects(source, 5)
    go_on = threading.Event()
    store.before_finish = lambda: go_on.wait(20)
    warming = Warming(cache, store, wanted)
    store.answer_all(1, b"?!")
    store.answer_all(4)
    for object_id in wanted[1:]:
        # Complete while the first one waits: nothing else would make them so.
        while (fd := cache.open_complete(object_id)) is None:
            pass
        os.close(fd)
    go_on.set()
    assert warming.end() == wanted
    assert_there(cache, source, wanted)
    assert len(store.finished) == 1
    assert not set(store.finished) & set(store.taken)


def test_a_silent_store_is_left_to_a_thread(cache: BlockCache, source: Source, store: Store) -> None:
    """A read that gets no answer for seconds goes on in a thread, which knows how long to wait and what to do then."""
    wanted = objects(source, 2)
    warming = Warming(cache, store, wanted)
    for _ in wanted:
        assert store.begun.acquire(timeout=20)
    store.answers[0].send(b"a")
    assert warming.end() == wanted
    assert_there(cache, source, wanted)
    assert len(store.finished) == 2
    assert source.ranges == []


def test_a_failure_is_raised_at_its_turn(cache: BlockCache, source: Source, store: Store) -> None:
    """What goes wrong with a read that was begun is raised when its item's turn comes."""
    wanted = objects(source, 3)

    def refuse() -> None:
        raise PermissionError(errno.EACCES, "no")

    store.before_finish = refuse
    warming = Warming(cache, store, wanted)
    store.answer_all(1)
    store.answer_all(1, b"?!")
    store.answer_all(1)
    assert warming.end() == wanted[:1]
    assert isinstance(warming.error, PermissionError)


def test_a_full_disk_is_told(make_cache: MakeCache, source: Source, store: Store) -> None:
    """Where there is no room for an object, it is not asked for, and warming says so."""
    cache = make_cache(cache_size=24_000)
    wanted = objects(source, 2, 15_000)
    pinned = cache.complete(wanted[0], source.reader(wanted[0]))
    warming = Warming(cache, store, wanted[1:])
    assert warming.end() == []
    assert warming.error is not None
    assert warming.error.errno == errno.ENOSPC
    assert (store.answers, source.ranges) == ([], [])
    os.close(pinned)


def test_two_caches_fetch_once(make_cache: MakeCache, source: Source, store: Store) -> None:
    """What another process is fetching is not asked for again, be that step by step on both sides."""
    one, other = make_cache(), make_cache()
    wanted = objects(source, 30)
    first = Warming(one, store, wanted)
    for _ in wanted:
        assert store.begun.acquire(timeout=20)
    second = Warming(other, store, wanted)
    for answer in store.answers:
        answer.send()
    assert first.end() == second.end() == wanted
    assert_there(other, source, wanted)
    assert (len(store.answers), source.ranges) == (30, [])


def test_a_reader_waits_for_what_is_under_way(cache: BlockCache, source: Source, store: Store) -> None:
    """Who reads an object that has been asked for gets it from there."""
    wanted = objects(source, 1)
    warming = Warming(cache, store, wanted)
    assert store.begun.acquire(timeout=20)
    threading.Thread(target=store.answers[0].send).start()
    assert read_all(cache.complete(wanted[0], source.reader(wanted[0]))) == source.content(wanted[0])
    assert warming.end() == wanted
    assert source.ranges == []


def test_leaving_a_warm_begins_nothing_more(cache: BlockCache, source: Source, store: Store) -> None:
    """A consumer who stops leaves what was begun to its end; what waits for a thread is not begun any more."""
    store.idle = 0
    wanted, last = objects(source, 40), source.object("last", 1000)
    gate, at_gate = threading.Event(), threading.Semaphore(0)

    def wait(*_: object) -> None:
        at_gate.release()
        gate.wait(20)

    warming = Warming(cache, store, wanted)
    source.before = wait
    for _ in range(FIRST):
        assert at_gate.acquire(timeout=20)
    warming.items.close()
    gate.set()
    # Behind all that waited.
    assert Warming(cache, store, [last]).end() == [last]
    assert len(source.ranges) <= FIRST + 1


def test_a_child_fetches_what_the_parent_has_begun(cache: BlockCache, source: Source, store: Store) -> None:
    """A process forked in the middle of a warm goes on with it, by itself, and the parent by its own thread."""
    wanted = objects(source, 4)
    items = Warming(cache, store, wanted).items
    for _ in wanted:
        assert store.begun.acquire(timeout=20)
    store.answers[0].send()
    assert next(items) == wanted[0]
    child = os.fork()
    if not child:
        code = 1
        try:
            cache.after_fork()
            store.idle = 0
            assert all(answer.closed for answer in store.answers)
            # The parent has the locks: it is to be waited for, or its answers would be asked for again.
            assert next(items) == wanted[1]
            assert list(items) == wanted[2:]
            code = 0
        finally:
            os._exit(code)
    for answer in store.answers[1:]:
        answer.send()
    assert list(items) == wanted[1:]
    assert os.waitpid(child, 0)[1] == 0
    assert_there(cache, source, wanted)


# ------------------------------------------------------------------------------- the multiplexer by itself


class Steps:
    """A task that is never done."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.begun = threading.Event()
        self.done = threading.Event()

    def begin(self) -> Step:
        self.begun.set()
        return Step.WAIT

    def fileno(self) -> int:
        return self.ours.fileno()

    def advance(self) -> Step:
        self.close()
        self.done.set()
        return Step.DONE

    def run(self) -> None:
        raise NotImplementedError

    go_on = run

    def abandon(self) -> None:
        self.close()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def many() -> Iterator[list[Steps]]:
    tasks = [Steps() for _ in range(MOST + 1)]
    yield tasks
    for task in tasks:
        task.close()


def test_more_than_enough_is_refused(many: list[Steps]) -> None:
    """A task beyond the bound is refused, and taken once another has ended."""
    gets = Multiplexer(Workers(lambda: 0))
    assert [gets.try_start(task) for task in many] == [True] * MOST + [False]
    assert many[0].begun.wait(20)
    many[0].theirs.sendall(b"x")
    assert many[0].done.wait(20)
    while not gets.try_start(many[-1]):
        pass
    assert many[-1].begun.wait(20)


def test_nobody_waits_for_a_thread_that_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the thread dies of something, all that it had in hand is done to its end, and the next task has another."""
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: died.set())
    gets, ended = Multiplexer(Workers(lambda: 0)), threading.Semaphore(0)

    class Flying(Steps):
        def run(self) -> None:
            ended.release()

        go_on = run

    class Fatal(Flying):
        def fileno(self) -> int:
            raise MemoryError

    flying = Flying()
    assert gets.try_start(flying)
    assert flying.begun.wait(20)
    fatal, late = Fatal(), Steps()
    assert gets.try_start(fatal)
    for _ in (flying, fatal):
        assert ended.acquire(timeout=20)
    assert died.wait(20)
    assert gets.try_start(late)
    assert late.begun.wait(20)
    late.theirs.sendall(b"x")
    assert late.done.wait(20)
    flying.close()
    fatal.close()


def test_without_threads_and_connections_the_consumer_fetches(source: Source) -> None:
    """A task that can neither be begun nor run waits in its place, and whoever needs it takes it."""
    gets, done = Multiplexer(Workers(lambda: 0)), threading.Event()
    task = FetchTask(WholeFetch(done.set))
    assert gets.try_start(task)
    task.run()
    assert done.is_set()


@pytest.mark.parametrize("what", ["epoll", "thread"])
def test_where_there_is_no_more_of_something(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor or a thread to be had, a task is refused and not lost."""
    error: Exception = OSError(errno.EMFILE, "too many") if what == "epoll" else RuntimeError("can't start new thread")

    def fail(*_: object, **__: object) -> None:
        raise error

    if what == "epoll":
        monkeypatch.setattr(select, "epoll", fail)
    else:
        monkeypatch.setattr(threading.Thread, "start", fail)
    assert not Multiplexer(Workers(lambda: 1)).try_start(FetchTask(WholeFetch(lambda: None)))
