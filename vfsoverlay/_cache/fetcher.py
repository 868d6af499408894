"""Fetches of an object file in the background: readahead, whole objects over many connections, promotion."""

from __future__ import annotations

import time
from typing import Final

from vfsoverlay._cache.ahead_budget import AheadBudget
from vfsoverlay._cache.budget import DiskFull
from vfsoverlay._cache.connections import Connections
from vfsoverlay._cache.fetch_task import FetchTask
from vfsoverlay._cache.multiplexer import Multiplexer
from vfsoverlay._cache.object_file import Abandoned, Claim, ObjectFile, Ticket
from vfsoverlay._cache.read_range import ReadRange
from vfsoverlay._cache.workers import Workers
from vfsoverlay._metrics import Purpose

_MIB: Final = 1024**2

#: Bytes of one GET: below, round trips dominate; above, nothing is gained and a broken one costs more.
SMALLEST_GET: Final = 1 * _MIB
LARGEST_GET: Final = 8 * _MIB

#: Bytes of one GET where a reader waits for all of them: about as long as a round trip.
WAITING_GET: Final = _MIB // 2


class Fetcher:
    """The background threads of one cache, and how many of them are worth having."""

    __slots__ = ("_gets", "ahead", "connections", "workers")

    def __init__(self, ahead: AheadBudget) -> None:
        self.ahead = ahead
        self.connections = Connections()
        self.workers = Workers(lambda: self.connections.limit)
        self._gets = Multiplexer(self.workers)

    def start(self, task: FetchTask) -> bool:
        """Have a whole object fetched, or refuse it."""
        return task.start(self._gets, self.workers)

    def fetch(self, file: ObjectFile, claim: Claim, read_range: ReadRange, purpose: Purpose, ticket: Ticket) -> None:
        """Fetch *claim* in this thread and learn from how long it took."""
        size = min((claim.last - claim.first) * file.block_size, file.size)
        begun = time.monotonic()
        file.fetch(claim, read_range, purpose, ticket)
        self.observe(size, time.monotonic() - begun)

    def observe(self, size: int, seconds: float) -> None:
        """Learn from a GET that has just ended."""
        self.connections.observe(size, seconds, max(1, self.workers.busy))

    def start_range(
        self,
        file: ObjectFile,
        first: int,
        last: int,
        most: int,
        read_range: ReadRange,
        ticket: Ticket,
        purpose: Purpose = "readahead",
    ) -> int:
        """Begin to fetch what is missing of blocks *first* to *last*, as far as there is room.

        Returns:
            The block up to which everything is on disk or under way.
        """
        most = max(1, min(most, self.ahead.largest_get // file.block_size))
        while self.workers.has_room():
            claim = file.claim(first, last, most)
            if claim is None:
                return last
            if not self._start(file, claim, read_range, purpose, ticket):
                file.give_up(claim)
                return claim.first
            first = claim.last
        return first

    def fetch_range(self, file: ObjectFile, first: int, last: int, read_range: ReadRange, deadline: float) -> None:
        """Fetch what is missing of blocks *first* to *last* for a reader who waits; raises as ``ObjectFile.ensure``."""
        share = (last - first) * file.block_size // self.connections.limit
        most = max(1, min(max(share, WAITING_GET), LARGEST_GET) // file.block_size)
        ticket = Ticket()
        try:
            if last - first > most:
                # This thread brings the first part, others what follows it.
                self.start_range(file, first + most, last, most, read_range, ticket, "read")
            file.ensure(first, last, read_range, "read", deadline, most=most)
        finally:
            # Where this reader gives up, nobody waits for what the others try.
            ticket.cancelled = True

    def fetch_all(self, file: ObjectFile, read_range: ReadRange, purpose: Purpose, deadline: float) -> None:
        """Fetch everything that is missing over many connections; raises as ``ObjectFile.ensure``."""
        ticket = Ticket()
        most = self._blocks_of_get(file)
        try:
            while not ticket.cancelled and (claim := file.claim(0, file.blocks, most)) is not None:
                self._recruit(file, read_range, purpose, most, ticket)
                # Under a ticket of its own: a helper's failure ends the helpers, and is raised below.
                self.fetch(file, claim, read_range, purpose, Ticket())
            if ticket.failure is not None:
                # Not tried again here: the store has used up its retries.
                raise ticket.failure
            # What is left is under way elsewhere.
            file.ensure(0, file.blocks, read_range, purpose, deadline, most=most)
        finally:
            ticket.cancelled = True

    def promote(self, file: ObjectFile, read_range: ReadRange, ticket: Ticket) -> None:
        """Begin to fetch everything that is missing, if readers have waited long enough; they go on meanwhile."""
        ready = file.ready()
        missing = (file.blocks - ready) * file.block_size
        rate = self.connections.expected_rate()
        if not file.promotion.decide(ready=ready, blocks=file.blocks, missing_bytes=missing, rate=rate):
            return
        most = max(1, min(self._blocks_of_get(file), self.ahead.largest_get // file.block_size))
        self._recruit(file, read_range, "promotion", most, ticket)

    def _recruit(self, file: ObjectFile, read_range: ReadRange, purpose: Purpose, most: int, ticket: Ticket) -> None:
        """Let as many threads as there is room for fetch *file* until nothing is left."""

        def work() -> None:
            while not ticket.cancelled and (claim := file.claim(0, file.blocks, most)) is not None:
                size = _ahead_of_readers(file, claim, purpose)
                if not self.ahead.try_take(size):
                    file.give_up(claim)
                    # The next reader who waits begins anew.
                    file.promotion.decided = False
                    return
                try:
                    if not self._quietly(file, claim, read_range, purpose, ticket):
                        return
                finally:
                    self.ahead.give_back(size)
                # The number of connections may have grown meanwhile.
                self._recruit(file, read_range, purpose, most, ticket)

        for _ in range(file.unclaimed() // most):
            if not self.workers.try_start(work):
                return

    def _start(self, file: ObjectFile, claim: Claim, read_range: ReadRange, purpose: Purpose, ticket: Ticket) -> bool:
        size = _ahead_of_readers(file, claim, purpose)

        def work() -> None:
            try:
                self._quietly(file, claim, read_range, purpose, ticket)
            finally:
                self.ahead.give_back(size)

        if not self.ahead.try_take(size):
            return False
        if self.workers.try_start(work):
            return True
        self.ahead.give_back(size)
        return False

    def _quietly(self, file: ObjectFile, claim: Claim, read_range: ReadRange, purpose: Purpose, ticket: Ticket) -> bool:
        try:
            self.fetch(file, claim, read_range, purpose, ticket)
        except Abandoned:
            return False
        except (OSError, DiskFull) as error:
            # The claim is free again: a reader who needs these blocks fetches them itself, and meets the failure.
            ticket.failure = error
            ticket.cancelled = True
            return False
        return True

    def _blocks_of_get(self, file: ObjectFile) -> int:
        share = file.size // self.connections.limit
        return max(1, min(max(share, SMALLEST_GET), LARGEST_GET) // file.block_size)

    def after_fork(self) -> None:
        """In the child: begin with new threads."""
        self.connections = Connections()
        self.workers.after_fork()
        self._gets.after_fork()


def _ahead_of_readers(file: ObjectFile, claim: Claim, purpose: Purpose) -> int:
    """Bytes of *claim* that count against the bound; what a reader waits for is fetched in any case."""
    return (claim.last - claim.first) * file.block_size if purpose in ("readahead", "promotion") else 0
