"""One small object on its way into the cache, fetched step by step without a wait."""

from __future__ import annotations

import time
from collections.abc import Callable

from vfsoverlay._cache.budget import DiskFull
from vfsoverlay._cache.multiplexer import Step
from vfsoverlay._cache.read_range import Begun, Sink, Wanted
from vfsoverlay._cache.records import Record
from vfsoverlay._cache.small_claim import IN_MEMORY, SmallClaim
from vfsoverlay._cache.small_objects import SmallObjects
from vfsoverlay._metrics import Purpose


class SmallFetch:
    """Fetches *wanted*; see ``fetch_task.Fetch``.

    Args:
        small: The small objects of the cache.
        stem: Where this one is to lie.
        wanted: The object, and how to come by its bytes.
        purpose: Why.
        counted: Runs what it is given as a miss that began at a time; it may run it again.
    """

    __slots__ = (
        "_begun", "_begun_at", "_claim", "_content", "_counted", "_purpose", "_record", "_small", "_stem", "_wanted",
        "has_steps",
    )  # fmt: skip

    def __init__(
        self,
        small: SmallObjects,
        stem: str,
        wanted: Wanted,
        purpose: Purpose,
        counted: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._small = small
        self._stem = stem
        self._wanted = wanted
        self._purpose = purpose
        self._counted = counted
        self._claim: SmallClaim | None = None
        self._record: Record | None = None
        self._begun: Begun | None = None
        self._begun_at = 0.0
        self._content: bytes | None = None
        self.has_steps = wanted.begin is not None and 0 < wanted.object_id.size <= IN_MEMORY

    def begin(self) -> Step:
        """Claim the object and ask for it, unless it is there."""
        step = Step.THREAD
        try:
            step = self._claim_and_ask()
        except (OSError, DiskFull):
            # Met again by a thread that can wait, try again and tell.
            pass
        finally:
            if step is not Step.WAIT:
                self._release()
        return step

    def _claim_and_ask(self) -> Step:
        object_id, begin = self._wanted.object_id, self._wanted.begin
        self._claim = claim = self._small.claim(object_id, self._stem)
        if claim is None or begin is None:
            return Step.THREAD
        self._record = claim.found()
        if self._record is not None:
            return Step.DONE
        # Before it is asked for: where there is no room, somebody else has to say so.
        claim.reserve()
        self._begun_at = time.monotonic()
        self._begun = begin(self._purpose)
        return Step.THREAD if self._begun is None else Step.WAIT

    def fileno(self) -> int:
        """Of what the answer comes over."""
        assert self._begun is not None  # noqa: S101
        return self._begun.fileno()

    def advance(self) -> Step:
        """Take what has come; once that is the whole object, put it into the cache."""
        assert self._begun is not None  # noqa: S101
        if not self._begun.take():
            return Step.WAIT
        self._content = self._begun.content()
        if self._content is None:
            return Step.THREAD
        self.finish()
        return Step.DONE

    def finish(self) -> None:
        """Fetch it, from wherever it is; raises OSError."""
        claim, wanted = self._claim, self._wanted
        if claim is None:
            fetch = self._small.fetch
            begun_at = time.monotonic()
            self._counted(begun_at, lambda: fetch(wanted.object_id, self._stem, wanted.read_range, self._purpose))
            return
        try:
            self._counted(self._begun_at, lambda: self._fetch(claim))
        finally:
            if self._begun is not None and self._content is None:
                # Nobody has asked for it: the file could not be made.
                self._begun.close()
            self._begun = self._content = None
            self._release()

    def _fetch(self, claim: SmallClaim) -> None:
        self._record = claim.fetch(self._read_range, self._purpose)

    def _read_range(self, start: int, stop: int, sink: Sink, purpose: Purpose) -> None:
        """The ``ReadRange`` of what was begun."""
        if self._content is not None:
            sink(memoryview(self._content)[start:stop])
        elif self._begun is not None:
            begun, self._begun = self._begun, None
            begun.finish(sink)
        else:
            # Again: the disk was full, or the cache was deleted, when it came.
            self._wanted.read_range(start, stop, sink, purpose)

    def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            self._small.release(claim, self._wanted.object_id, self._stem, self._record)

    def abandon(self) -> None:
        """In a forked child: close our end of the parent's connection; its locks are closed already."""
        if self._begun is not None:
            self._begun.close()
        self._begun = self._claim = self._content = None
