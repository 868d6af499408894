"""Directory readahead: loops in listing order, also strided and shuffled by threads, find their files fetched."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from vfsoverlay._cache.ahead_budget import AheadBudget
from vfsoverlay._cache.lookahead import Lookahead
from vfsoverlay._cache.stride import Stride
from vfsoverlay._cache.workers import Workers
from vfsoverlay._metrics import Metrics


class Loop:
    """Files of a listing that are opened one after the other."""

    def __init__(
        self, files: int = 200, size: int = 1000, *, ahead: AheadBudget | None = None, error: OSError | None = None
    ) -> None:
        self.files = files
        self.error = error
        self.failed: list[int] = []
        self.metrics = Metrics()
        self.fetched: list[int] = []
        self.lookahead: Lookahead[int] = Lookahead(
            self._start,
            size=lambda _: size,
            metrics=self.metrics,
            ahead=ahead or AheadBudget(),
        )

    def _start(self, item: int, ended: Callable[[object], object]) -> bool:
        """Fetch at once, so that tests see what was started."""
        (self.failed if self.error else self.fetched).append(item)
        ended(self.error)
        return True

    def item_at(self, index: int) -> int | None:
        return index if index < self.files else None

    def open(self, index: int, listing: str = "L") -> bool:
        """Open a file; whether it had been fetched ahead."""
        found = index in self.fetched
        self.lookahead.opened(listing, index, self.item_at)
        return found

    @property
    def wasted(self) -> float:
        """Bytes fetched and not opened, after everything is over."""
        self.lookahead.close()
        return self.metrics.snapshot().get("bytes.wasted", 0)


@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_loop_finds_its_files_fetched(step: int) -> None:
    """From the fourth file on, a loop in listing order or with a stride opens only files that were fetched ahead."""
    loop = Loop(files=200 * step)
    found = [loop.open(index) for index in range(0, 200 * step, step)]
    assert all(found[4:])
    assert loop.wasted == 0


def test_nothing_is_fetched_twice_or_beyond_the_listing() -> None:
    """Every file of the listing is fetched ahead at most once, and none that is not there."""
    loop = Loop(files=50)
    for index in range(50):
        loop.open(index)
    assert sorted(loop.fetched) == sorted(set(loop.fetched))
    assert max(loop.fetched) == 49


def test_threads_that_share_a_loop() -> None:
    """Opens in listing order that threads have shuffled a little still count as a loop."""
    loop, rng = Loop(files=400), random.Random(1)
    order = sorted(range(400), key=lambda index: index + rng.uniform(0, 6))
    assert sum(loop.open(index) for index in order) > 350


def test_a_shuffled_order_fetches_next_to_nothing() -> None:
    """Opens in random order are left alone: at most a few files are fetched on a wrong guess."""
    loop, order = Loop(files=1000), list(range(1000))
    random.Random(2).shuffle(order)
    for index in order[:300]:
        loop.open(index)
    assert len(loop.fetched) < 60


def test_a_loop_that_stops_wastes_a_window_at_most() -> None:
    """What was fetched and not opened is counted, and is no more than was opened before."""
    loop = Loop(size=10)
    for index in range(30):
        loop.open(index)
    assert 0 < loop.wasted <= 10 * 40


def test_large_items_are_skipped() -> None:
    """Items whose size is negative (too large to come whole) are stepped over, never fetched."""
    loop = Loop()
    loop.lookahead._size = lambda item: -1 if item % 2 else 1000
    for index in range(20):
        loop.open(index)
    assert loop.fetched
    assert not any(item % 2 for item in loop.fetched)


def test_listings_are_told_apart() -> None:
    """Two loops over two listings in turns are two loops."""
    loop = Loop()
    for index in range(20):
        loop.open(index, "one")
        loop.open(index, "two")
    assert loop.lookahead.active
    assert len(loop.fetched) > 30


def test_a_failed_fetch_is_left_to_the_reader() -> None:
    """An OSError of a fetch ahead reaches nobody; the loop goes on, and what failed counts as on its way no more."""
    ahead = AheadBudget(1000)
    loop = Loop(size=1000, ahead=ahead, error=OSError())
    assert [loop.open(index) for index in range(10)] == [False] * 10
    assert loop.failed
    assert ahead.try_take(1000)
    ahead.give_back(1000)


@pytest.mark.parametrize(
    ("opened", "step"),
    [([], 0), ([5], 0), ([5, 6], 1), ([6, 5], 1), ([0, 4], 0), ([0, 4, 8], 4), ([0, 500, 1000], 0), ([1, 9, 30], 0)],
)
def test_steps(opened: list[int], step: int) -> None:
    """Neighbours are believed at once, larger steps when seen twice, huge ones never."""
    stride = Stride()
    for index in opened:
        stride.add(index)
    assert stride.step() == step


def test_real_workers_end_by_themselves() -> None:
    """A refused task is not run, a taken one is, and a failed thread start is a refusal."""
    workers = Workers(lambda: 1)
    running, let_go = threading.Event(), threading.Event()

    def task() -> None:
        running.set()
        let_go.wait(20)

    assert workers.try_start(task)
    assert running.wait(20)
    assert not workers.try_start(task)
    assert not workers.has_room()
    let_go.set()
