"""Random keys, pages and operations: the real namespaces show what the naive model shows."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.model.listed_store import ListedStore
from tests.model.namespace_model import NamespaceModel
from vfsoverlay._namespace.crew import Crew
from vfsoverlay._namespace.generations import build_snapshot, refresh_snapshot
from vfsoverlay._namespace.lazy import LazyNamespace
from vfsoverlay._namespace.nodes import FileNode, Namespace
from vfsoverlay._namespace.snapshot import Snapshot, open_snapshot
from vfsoverlay._namespace.snapshot_writer import SnapshotWriter

LIMITS: dict[str, Any] = {"max_objects": 10_000, "max_object_size": 10_000}

KEYS = st.text(alphabet="ab/.-\0é0", min_size=0, max_size=6)
BUCKETS = st.dictionaries(KEYS.map("p/".__add__), st.integers(0, 2), max_size=25)
PATHS = st.text(alphabet="ab/.-\0é0\ud800", max_size=6)


def check(real: Namespace, model: NamespaceModel, *odd: str) -> None:
    """Compare all that can be asked of a whole namespace."""
    for path in {*model.directories, *model.files, *odd}:
        check_path(real, model, path)
    for directory in model.directories:
        check_directory(real, model, directory)


def check_path(real: Namespace, model: NamespaceModel, path: str) -> None:
    node = real.lookup(path)
    if isinstance(node, FileNode):
        key = model.prefix + path
        assert model.lookup(path) == node.size
        assert node == (path.rpartition("/")[2], model.sizes[key], 10**18, f"etag of {key}", "", "")
    else:
        assert (node and "directory") == model.lookup(path)
        assert node is None or node.name == path.rpartition("/")[2]


def check_directory(real: Namespace, model: NamespaceModel, directory: str) -> None:
    assert real.names(directory) == model.names(directory)
    above = directory + "/" if directory else ""
    assert list(real.scan(directory)) == [real.lookup(above + name) for name in model.names(directory)]


def check_hidden(real: Snapshot, model: NamespaceModel) -> None:
    assert list(real.hidden()) == sorted(model.hidden.items(), key=lambda row: row[0].encode())
    assert real.hidden_count == len(model.hidden)


@pytest.fixture(scope="module")
def directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield directory


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=BUCKETS, page_size=st.integers(1, 4), odd=PATHS)
# A directory shadows the file of its name, however many keys sort between them.
@example(sizes={"p/a": 1, "p/a-1": 1, "p/a-2": 1, "p/a/b": 1}, page_size=1, odd="")
# What stands in front of an empty component exists.
@example(sizes={"p/a//b": 1, "p//c": 1, "p/": 0}, page_size=1, odd="a/")
def test_a_snapshot_shows_what_the_model_shows(directory: str, sizes: dict[str, int], page_size: int, odd: str) -> None:
    """Whatever the keys and the size of pages, a snapshot is the tree of the model."""
    store = ListedStore(sizes, page_size)
    real = build_snapshot(store.list_pages, "p/", directory, identity="x", page_size=page_size, **LIMITS)
    try:
        model = NamespaceModel(sizes, "p/")
        with closing(open_snapshot(real.path, load_share=0)) as unloaded:
            for path in {*model.directories, *model.files, odd}:
                check_path(unloaded, model, path)
        check(real, model, odd)
        check_hidden(real, model)
        assert (real.object_count, real.total_size) == (len(sizes), sum(sizes.values()))
    finally:
        real.close()


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=BUCKETS, page_size=st.integers(1, 8), again=st.integers(0, 8), order=st.randoms(use_true_random=False))
# The second page of a directory lies between two files of its first.
@example(sizes={f"p/{i}": 1 for i in range(4)}, page_size=2, again=4, order=random.Random(1))
def test_the_order_of_rows_does_not_matter(
    directory: str, sizes: dict[str, int], page_size: int, again: int, order: random.Random
) -> None:
    """Whatever order objects come in, and if some come twice, a snapshot is the tree of the model."""
    rows = [ListedStore(sizes).row(key) for key in sizes]
    order.shuffle(rows)
    # What comes later is newer: an object listed again counts as it was listed last.
    rows = [(row[0], row[1] + 5, *row[2:]) for row in rows[:again]] + rows
    path = f"{directory}/any order"
    writer = SnapshotWriter(path, "p/")
    for start in range(0, len(rows), page_size):
        writer.add(rows[start : start + page_size])
    info = dict.fromkeys(("identity", "generation", "boot_id"), "x")
    writer.finish({**info, "prefix": "p/", "listed_at_ns": "1"}, now_ns=1)
    with closing(open_snapshot(path)) as real:
        model = NamespaceModel(sizes, "p/")
        check(real, model)
        check_hidden(real, model)
        assert (real.object_count, real.total_size) == (len(sizes), sum(sizes.values()))
    os.unlink(path)


@settings(deadline=None, max_examples=100)
@given(keys=st.sets(KEYS.map("p/".__add__), min_size=1, max_size=60), page_size=st.integers(1, 4))
def test_workers_give_each_key_once(keys: set[str], page_size: int) -> None:
    """Wherever workers cut the ranges of others, each key of the listing is given exactly once."""
    store = ListedStore(sorted(keys), page_size)
    begun = store.list_pages("p/", page_size=page_size)
    first = next(begun).rows
    pages = [first, *Crew(store.list_pages, "p/", page_size).run(begun, first, 4)]
    assert sorted(row[0] for rows in pages for row in rows) == sorted(keys)


@settings(deadline=None, max_examples=200)
@given(sizes=BUCKETS, page_size=st.integers(1, 4), odd=PATHS, order=st.randoms(use_true_random=False))
def test_lazy_names_are_what_the_model_shows(
    sizes: dict[str, int], page_size: int, odd: str, order: random.Random
) -> None:
    """Whatever was asked before, and in which order, lazy names are the tree of the model."""
    real = LazyNamespace(ListedStore(sizes, page_size).list_pages, "p/", **LIMITS)
    model = NamespaceModel(sizes, "p/")
    questions: list[tuple[Callable[..., None], str]] = [
        (check_path, path) for path in sorted({*model.directories, *model.files, odd})
    ]
    questions += [(check_directory, path) for path in sorted(model.directories)]
    order.shuffle(questions)
    for question, path in questions:
        question(real, model, path)
    check(real, model, odd)
    seen = {hidden.key for hidden in real.hidden()}
    assert {key for key in model.hidden if not any(key.startswith(folder) for folder in seen)} == set()


class Changes(RuleBasedStateMachine):
    """Objects come and go, and listings are refreshed as a whole or in part."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.store = ListedStore({}, 2)
        self.listed: dict[str, int] = {}
        self.snapshot: Snapshot | None = None
        self.clock = 0.0

    @initialize(sizes=BUCKETS)
    def mount(self, sizes: dict[str, int]) -> None:
        self.store.sizes = dict(sizes)
        self.listed = dict(sizes)
        self.snapshot = build_snapshot(self.store.list_pages, "p/", self.home.name, identity="x", **LIMITS)
        self.lazy = LazyNamespace(self.store.list_pages, "p/", clock=lambda: self.clock, **LIMITS)

    @rule(key=KEYS, size=st.integers(0, 2))
    def put(self, key: str, size: int) -> None:
        self.store.sizes["p/" + key] = size

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.store.sizes:
            del self.store.sizes[data.draw(st.sampled_from(sorted(self.store.sizes)))]

    @rule(data=st.data())
    def refresh(self, data: st.DataObject) -> None:
        old, before = self.snapshot, NamespaceModel(self.listed, "p/")
        assert old is not None
        path = data.draw(st.sampled_from([*sorted(before.directories), *sorted(before.files)]))
        self.snapshot = refresh_snapshot(old, self.store.list_pages, path, **LIMITS)
        while path not in before.directories:
            path = path.rpartition("/")[0]
        below = f"p/{path}/" if path else "p/"
        self.listed = {key: size for key, size in self.listed.items() if not key.startswith(below)}
        self.listed |= {key: size for key, size in self.store.sizes.items() if key.startswith(below)}
        self._check_mtimes(old, before, NamespaceModel(self.listed, "p/"))
        old.close()

    def _check_mtimes(self, old: Snapshot, before: NamespaceModel, after: NamespaceModel) -> None:
        def kinds(model: NamespaceModel, path: str) -> list[tuple[str, bool]]:
            above = path + "/" if path else ""
            return [(name, above + name in model.directories) for name in model.names(path)]

        assert self.snapshot is not None
        for path in before.directories & after.directories:
            was, now = old.lookup(path), self.snapshot.lookup(path)
            assert was is not None
            assert now is not None
            assert (was.mtime_ns == now.mtime_ns) == (kinds(before, path) == kinds(after, path)), path

    @rule(path=PATHS)
    def ask_lazily(self, path: str) -> None:
        self.lazy.lookup(path)

    @rule(seconds=st.sampled_from([1, 5, 61]))
    def wait(self, seconds: int) -> None:
        self.clock += seconds

    @rule()
    def refresh_lazily(self) -> None:
        self.lazy.refresh()
        check(self.lazy, NamespaceModel(self.store.sizes, "p/"))

    @rule()
    def let_all_expire(self) -> None:
        self.clock += 61
        check(self.lazy, NamespaceModel(self.store.sizes, "p/"))

    @invariant()
    def snapshot_is_what_was_listed(self) -> None:
        if self.snapshot is not None:
            model = NamespaceModel(self.listed, "p/")
            check(self.snapshot, model)
            check_hidden(self.snapshot, model)
            assert self.snapshot.object_count == len(self.listed)

    def teardown(self) -> None:
        if self.snapshot is not None:
            again = open_snapshot(self.snapshot.path)
            assert again.is_sound()
            again.close()
            self.snapshot.close()
        self.home.cleanup()


Changes.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=15)
TestChanges = Changes.TestCase
TestChanges.__doc__ = "Through any series of changes and refreshes, names, hidden keys and mtimes follow the model."
