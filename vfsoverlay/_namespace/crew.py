"""Several threads that list one prefix together, each a range of its keys."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from vfsoverlay._namespace.key_range import Cuts, KeyRange
from vfsoverlay._namespace.nodes import ListPages, ObjectRow, Page

#: Pages that wait to be taken; more would only cost memory (half a MiB each).
_MAX_READY: Final = 16
#: Cuts behind which nothing was found: some at once, and one in so many pages after that.
_FREE_MISSES: Final = 8
_PAGES_A_MISS: Final = 8
#: Folders of folders to look through for one that has more than one child.
_MAX_DESCENT: Final = 4


class Crew:
    """Lists what is left of a listing that was begun; each key is given once, in no certain order.

    An idle worker cuts the range that another is busy with. A cut is a guess, and a page that was
    listed for nothing its only cost: which keys are given does not depend on it.

    Args:
        list_pages: Lists the store; called from all workers at once. Pages are in byte order of keys.
        prefix: What all keys begin with.
        page_size: Keys to ask for at once.
        keys_wanted: Once so many were given, nothing more is asked for: whoever takes them stops there.
    """

    def __init__(self, list_pages: ListPages, prefix: str, page_size: int, *, keys_wanted: int = sys.maxsize) -> None:
        self._list_pages = list_pages
        self._prefix = prefix
        self._page_size = page_size
        self._keys_wanted = keys_wanted
        self._cuts = Cuts(prefix)
        self._busy: list[KeyRange] = []
        self._ready: deque[list[ObjectRow]] = deque()
        self._failure: BaseException | None = None
        self._stopped = False
        self._pages = self._misses = 0
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._output = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)

    def run(self, begun: Iterator[Page], seen: list[ObjectRow], workers: int) -> Iterator[list[ObjectRow]]:
        """Give the rest of *begun*, of which *seen* was the last page, with *workers* threads."""
        whole = KeyRange("", None)
        whole.take(seen)
        self._cuts.learn(seen)
        self._busy.append(whole)
        works: list[Callable[[], None]] = [partial(self._list, whole, begun), self._explore]
        works[1:] += [self._help] * (workers - 2)
        threads = [threading.Thread(target=self._guard, args=(work,), daemon=True) for work in works]
        try:
            for thread in threads:
                thread.start()
            yield from self._take()
        finally:
            with self._lock:
                self._stopped = True
                for condition in (self._work, self._room):
                    condition.notify_all()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _take(self) -> Iterator[list[ObjectRow]]:
        while True:
            with self._lock:
                while not self._ready and self._busy and self._failure is None:
                    self._output.wait()
                if self._failure is not None:
                    raise self._failure
                if not self._ready:
                    return
                rows = self._ready.popleft()
                self._room.notify()
            yield rows

    def _guard(self, work: Callable[[], None]) -> None:
        """Do *work*, then help others; what goes wrong is raised where the pages are taken."""
        try:
            work()
            self._help()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must not be lost with this thread
            with self._lock:
                self._failure = self._failure or error
                self._stopped = True
                for condition in (self._work, self._room, self._output):
                    condition.notify_all()

    def _help(self) -> None:
        """Cut ranges of others and list the upper part, until nothing is left to do."""
        while True:
            with self._lock:
                range_ = self._cut()
                while range_ is None and self._busy and not self._stopped:
                    self._work.wait()
                    range_ = self._cut()
                if range_ is None or self._stopped:
                    self._work.notify_all()
                    return
                self._work.notify()
            self._list(range_, self._list_pages(self._prefix, start_after=range_.low, page_size=self._page_size))

    def _cut(self) -> KeyRange | None:
        if self._keys_wanted <= 0 or self._misses > _FREE_MISSES + self._pages // _PAGES_A_MISS:
            return None
        for range_ in sorted(self._busy, key=lambda range_: -range_.pages):
            at = self._cuts.find(range_)
            if at is not None:
                upper = range_.cut(at)
                self._busy.append(upper)
                return upper
        return None

    def _list(self, range_: KeyRange, pages: Iterator[Page]) -> None:
        try:
            for page in pages:
                if not self._give(range_, page.rows):
                    break
        finally:
            close_pages(pages)
            with self._lock:
                self._busy.remove(range_)
                self._misses += not range_.position
                self._work.notify()
                self._output.notify()

    def _give(self, range_: KeyRange, rows: list[ObjectRow]) -> bool:
        """Hand out those of *rows* that belong to *range_*; return whether it may have more."""
        with self._lock:
            while len(self._ready) >= _MAX_READY and not self._stopped:
                self._room.wait()
            if self._stopped:
                return False
            taken = range_.take(rows)
            self._pages += 1
            self._keys_wanted -= len(taken)
            self._cuts.learn(taken)
            if taken:
                self._ready.append(taken)
                self._output.notify()
            self._work.notify()
            if self._keys_wanted <= 0:
                return False
            return len(taken) == len(rows) and (range_.high is None or not rows or rows[-1][0] < range_.high)

    def _explore(self) -> None:
        """Look for folders, which are the best places to cut at."""
        prefix = self._prefix
        for _ in range(_MAX_DESCENT):
            pages = self._list_pages(prefix, delimiter="/", page_size=self._page_size)
            page = next(pages, None)
            if page is None or not page.prefixes or self._stopped:
                return
            if len(page.prefixes) > 1:
                with self._lock:
                    self._cuts.learn_folders(page.prefixes)
                    self._work.notify()
                return
            prefix = page.prefixes[0]


def close_pages(pages: Iterator[Page]) -> None:
    """Stop a listing early; generators know how."""
    close = getattr(pages, "close", None)
    if close is not None:
        close()
