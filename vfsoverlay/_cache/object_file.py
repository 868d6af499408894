"""A large object on disk: a sparse file whose blocks arrive in any order, each fetched by exactly one claimant.

Three things keep two claimants apart: this process's ``_local`` states under ``_condition``, then
an OFD lock on the block's byte of the map (other processes), then a second look at the map once
the lock is held. A claim never waits; whoever finds nothing to claim waits for the others.
"""

from __future__ import annotations

import threading
import time
from typing import Final
from zlib import crc32

from vfsoverlay import _real
from vfsoverlay._cache import blocks, layout
from vfsoverlay._cache.budget import Budget, DiskFull
from vfsoverlay._cache.locks import Held, Locks, try_acquire
from vfsoverlay._cache.presence_map import DOUBTED, HEADER_BYTE, PRESENT, PresenceMap
from vfsoverlay._cache.promotion import Promotion
from vfsoverlay._cache.read_range import FULL, ReadRange, check_length, write_all
from vfsoverlay._metrics import Purpose

# States of a block in this process; READY means on disk and its checksum compared.
_UNKNOWN: Final = 0
_READY: Final = 1
_CLAIMED: Final = 2

#: Seconds between looks at blocks that another process is fetching: far below one round trip.
_POLL: Final = 0.002


class WaitedTooLong(Exception):  # noqa: N818 - a condition that never leaves this room
    """Another process has held the wanted blocks beyond the deadline; the caller fetches for itself."""


class Abandoned(Exception):  # noqa: N818 - a condition that never leaves this room
    """Nobody wants the rest of this fetch any more."""


class Ticket:
    """Lets the one who started a fetch call it off; shared by all fetches of one purpose."""

    __slots__ = ("cancelled", "failure")

    def __init__(self) -> None:
        self.cancelled = False
        self.failure: OSError | DiskFull | None = None
        """Why a background fetch under this ticket ended, if one failed."""


class Claim:
    """Blocks *first* to *last* (exclusive) that only the holder of this claim may fetch."""

    __slots__ = ("first", "held", "last")

    def __init__(self, first: int, last: int, held: Held) -> None:
        self.first = first
        self.last = last
        self.held = held


class ObjectFile:
    """The data file and map of one object version, shared by all handles of the process."""

    __slots__ = (
        "_budget", "_claims", "_closing", "_condition", "_local", "_locks", "_map", "_sealing", "_stem",
        "block_size", "blocks", "data_fd", "promotion", "references", "sealed",
    )  # fmt: skip

    def __init__(self, stem: str, data_fd: int, presence: PresenceMap, locks: Locks, budget: Budget) -> None:
        self._stem = stem
        self.data_fd = data_fd
        self._map = presence
        self._locks = locks
        self._budget = budget
        self.blocks = presence.blocks
        self.block_size = presence.header.block_size
        self.sealed = presence.header.complete
        self.references = 0
        self.promotion = Promotion(presence.add_waited)
        self._claims = 0
        self._closing = False
        self._sealing = threading.Lock()
        self._local = bytearray([_READY if self.sealed else _UNKNOWN]) * self.blocks
        self._condition = threading.Condition(threading.Lock())

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._map.header.size

    def is_ready(self, first: int, last: int) -> bool:
        """Whether all these blocks may be read from the data file right now."""
        return self._local.count(_READY, first, last) == last - first

    def ensure(
        self, first: int, last: int, read_range: ReadRange, purpose: Purpose, deadline: float, *, most: int
    ) -> None:
        """Return when blocks *first* to *last* are ready; fetch those that nobody else is fetching.

        Args:
            first: First block wanted.
            last: The block behind the last one wanted.
            read_range: Gives bytes of this version.
            purpose: Why, for the counters.
            deadline: ``time.monotonic`` value until which to wait for others.
            most: Blocks of one GET.

        Raises:
            OSError: What *read_range* raised.
            DiskFull: The disk took no more.
            WaitedTooLong: The deadline passed while others had the blocks.
        """
        while not self.is_ready(first, last):
            claim = self.claim(first, last, most)
            if claim is not None:
                self.fetch(claim, read_range, purpose)
            else:
                self._wait(first, last, deadline)

    def claim(self, first: int, last: int, most: int) -> Claim | None:
        """Claim the first blocks of the range that are not ready, up to *most*; None if there are none to have."""
        at = first
        while True:
            with self._condition:
                at = self._local.find(_UNKNOWN, at, last)
                if at < 0 or self._closing:
                    return None
                self._claims += 1
                stop = at + blocks.run_length(self._local, _UNKNOWN, at, min(last, at + most))
                self._local[at:stop] = bytes([_CLAIMED]) * (stop - at)
            # Without the lock, so that blocks of a GET in another process are used while it still runs.
            claim = None
            try:
                self._adopt(at, stop, (PRESENT,))
                claim, go_on = self._lock(at, stop)
            finally:
                if claim is None:
                    self._end(at, stop)
            if claim is not None:
                return claim
            at = go_on

    def ready(self) -> int:
        """How many blocks may be read from the data file right now."""
        return self._local.count(_READY)

    def unclaimed(self) -> int:
        """How many blocks nobody in this process has or is fetching."""
        return self._local.count(_UNKNOWN)

    def give_up(self, claim: Claim) -> None:
        """End *claim*; what is missing of it may be claimed again."""
        claim.held.release()
        self._end(claim.first, claim.last)

    def fetch(self, claim: Claim, read_range: ReadRange, purpose: Purpose, ticket: Ticket | None = None) -> None:
        """Bring the blocks of *claim* to disk, and end the claim whatever happens.

        Raises:
            OSError: What *read_range* raised; blocks that came before stay.
            DiskFull: The disk took no more.
            Abandoned: *ticket* was cancelled.
        """
        try:
            # Between the look at the map and the lock, another process may have fetched them.
            self._adopt(claim.first, claim.last, (PRESENT, DOUBTED))
            at = claim.first
            while (at := self._local.find(_CLAIMED, at, claim.last)) >= 0:
                if ticket is not None and ticket.cancelled:
                    raise Abandoned
                stop = at + blocks.run_length(self._local, _CLAIMED, at, claim.last)
                self._fetch_run(at, stop, read_range, purpose, ticket or Ticket())
                at = stop
            self.seal()
        finally:
            self.give_up(claim)

    def seal(self) -> None:
        """If all blocks are there, record how the complete file looks, so that it can be opened as a plain file.

        Nothing happens while another process does the same.
        """
        with self._sealing:
            if self.sealed or not self.is_ready(0, self.blocks):
                return
            held = try_acquire(self._locks, _reopenable(self._map.fd, self._stem + layout.MAP), HEADER_BYTE)
            if held is None:
                return
            with held:
                # Another process may have done it: its record stays true, since nothing touches the file again.
                if not self._map.describes(_real.fstat(self.data_fd)):
                    _real.fchmod(self.data_fd, 0o400)
                    self._map.seal(_real.fstat(self.data_fd))
            self.sealed = True

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill *buffer* from the data file at *offset*; short only if somebody truncated the file."""
        done = 0
        while done < len(buffer):
            got = _real.preadv(self.data_fd, [buffer[done:]], offset + done)
            if not got:
                break
            done += got
        return done

    def descriptor(self, flags: int) -> int:
        """Another descriptor of the data file, which may have been unlinked meanwhile."""
        return _real.open(_reopenable(self.data_fd, self._stem + layout.DATA), flags)

    def close(self) -> None:
        """Close both files, once the last claim has ended: a late write must not meet a number that was used again."""
        with self._condition:
            self._closing = True
            if self._claims or self.data_fd < 0:
                return
            fd, self.data_fd = self.data_fd, -1
        _real.close(fd)
        self._map.close()

    def after_fork(self) -> None:
        """In the child: the parent's threads, who hold the claims, are not here; their locks still count."""
        self._condition = threading.Condition(threading.Lock())
        self._local = self._local.replace(bytes([_CLAIMED]), bytes([_UNKNOWN]))
        self._claims = 0
        self._sealing = threading.Lock()
        self.promotion.after_fork()

    def publish(self, first: int, checksums: list[int]) -> None:
        """Blocks from *first* on are in the data file; called by the holder of their claim."""
        self._map.mark_present(first, checksums)
        self._set(first, first + len(checksums), _CLAIMED, _READY)

    def _set(self, first: int, last: int, old: int, new: int) -> None:
        with self._condition:
            self._local[first:last] = self._local[first:last].replace(bytes([old]), bytes([new]))
            self._condition.notify_all()

    def _end(self, first: int, last: int) -> None:
        with self._condition:
            self._local[first:last] = self._local[first:last].replace(bytes([_CLAIMED]), bytes([_UNKNOWN]))
            self._claims -= 1
            self._condition.notify_all()
            if self._claims or not self._closing:
                return
        self.close()

    def _adopt(self, first: int, last: int, believed: tuple[int, ...]) -> None:
        """Make claimed blocks ready that are on disk already and match their checksum."""
        states = self._map.states(first, last)
        if not any(state in states for state in believed):
            return
        checksums = self._map.checksums(first, last)
        for block in range(first, last):
            state = states[block - first]
            if state in believed and self._local[block] == _CLAIMED and self._matches(block, checksums[block - first]):
                if state == DOUBTED:
                    self._map.mark_present(block, [checksums[block - first]])
                self._set(block, block + 1, _CLAIMED, _READY)

    def _matches(self, block: int, checksum: int) -> bool:
        start, stop = blocks.span(block, block + 1, self.size, self.block_size)
        content = _real.pread(self.data_fd, stop - start, start)
        return len(content) == stop - start and crc32(content) == checksum

    def _lock(self, first: int, last: int) -> tuple[Claim | None, int]:
        """Lock the first claimed blocks of the range against other processes; else give up all, and say where to go on.

        Blocks that are ready by now stay so; claimed ones outside the lock become unknown again.
        """
        start = self._local.find(_CLAIMED, first, last)
        if start < 0:
            return None, last
        stop = start + blocks.run_length(self._local, _CLAIMED, start, last)
        path = _reopenable(self._map.fd, self._stem + layout.MAP)
        held = try_acquire(self._locks, path, start, stop - start)
        go_on = stop
        if held is None:
            taken, go_on = self._locks.conflict(self._map.fd, start, stop - start) or (start, start + 1)
            if taken > start and (held := try_acquire(self._locks, path, start, taken - start)):
                stop = taken
        if held is None:
            return None, go_on
        self._set(stop, last, _CLAIMED, _UNKNOWN)
        return Claim(start, stop, held), stop

    def _fetch_run(self, first: int, last: int, read_range: ReadRange, purpose: Purpose, ticket: Ticket) -> None:
        """Fetch claimed blocks; if the disk takes no more, make room once and fetch what is left."""
        for is_last_try in (False, True):
            start, stop = blocks.span(first, last, self.size, self.block_size)
            self._budget.reserve(stop - start)
            sink = _BlockSink(self, first, start, stop, ticket)
            try:
                read_range(start, stop, sink, purpose)
            finally:
                self._budget.settle(stop - start, unwritten=stop - sink.offset)
            if sink.error is None:
                check_length("a range", sink.given, stop - start)
                return
            if sink.error.errno not in FULL:
                raise sink.error
            first = sink.block
            if is_last_try or not self._budget.evict(stop - sink.offset):
                raise DiskFull from sink.error

    def _wait(self, first: int, last: int, deadline: float) -> None:
        with self._condition:
            if self.is_ready(first, last):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitedTooLong
            # Only threads of this process notify; for others' blocks, look again soon.
            elsewhere = self._local.find(_UNKNOWN, first, last) >= 0
            self._condition.wait(min(left, _POLL) if elsewhere else left)


class _BlockSink:
    """Writes a body to the data file and publishes each block as it becomes whole; raises only ``Abandoned``."""

    __slots__ = ("_checksum", "_file", "_stop", "_ticket", "block", "error", "given", "offset")

    def __init__(self, file: ObjectFile, block: int, start: int, stop: int, ticket: Ticket) -> None:
        self._file = file
        self._stop = stop
        self._ticket = ticket
        self.block = block
        self._checksum = 0
        self.offset = start
        self.given = 0
        self.error: OSError | None = None

    def __call__(self, piece: memoryview) -> None:
        if self._ticket.cancelled:
            raise Abandoned
        self.given += len(piece)
        # Never into blocks that are not claimed, whatever a server sends.
        piece = piece[: self._stop - self.offset]
        if self.error is None:
            try:
                write_all(self._file.data_fd, piece, self.offset)
                self._count(piece)
            except OSError as error:
                self.error = error

    def _count(self, piece: memoryview) -> None:
        first, whole = self.block, []
        while piece:
            end = min((self.block + 1) * self._file.block_size, self._file.size)
            part = piece[: end - self.offset]
            self._checksum = crc32(part, self._checksum)
            self.offset += len(part)
            piece = piece[len(part) :]
            if self.offset == end:
                whole.append(self._checksum)
                self._checksum = 0
                self.block += 1
        if whole:
            self._file.publish(first, whole)


#: Without it (a bare chroot), names must do: a file that was replaced meanwhile then costs a second fetch.
_HAS_PROC: Final = _real.exists("/proc/self/fd")


def _reopenable(fd: int, path: str) -> str:
    """A path of the very file that *fd* has open, even if its name is gone: opening it makes a new description."""
    return f"/proc/self/fd/{fd}" if _HAS_PROC else path
