"""How many GETs are worth having in flight: grown while the total rate grows with it."""

from __future__ import annotations

import threading
import time
from typing import Final

#: Where the number begins, and its ceiling (measured: beyond 24-32 connections nothing grows but CPU and memory).
FIRST: Final = 16
MOST: Final = 32

#: A step up must raise the total rate by this factor to be kept; less is noise, and CPU time.
_GAIN: Final = 1.2

#: Seconds after which a settled number is tried again, since networks change.
_TRY_AGAIN: Final = 10.0

#: GETs below this say more about latency than about bandwidth (bytes).
_LARGE: Final = 1024 * 1024

#: Bytes a second of one connection until one was observed; a careful guess for S3 from within the same region.
_ASSUMED: Final = 32e6


class Connections:
    """A number that adapts to what the network and this machine can do.

    While each GET keeps its rate when there are more of them, the network is the limit of one
    connection and more help; once rates fall in proportion, they only share what there is.
    """

    __slots__ = ("_mutex", "_on_trial", "_rate", "_rates", "_settled_at", "_total", "limit")

    def __init__(self) -> None:
        self.limit = FIRST
        self._rate = 0.0
        self._mutex = threading.Lock()
        self._rates: list[float] = []
        self._total = 0.0
        self._settled_at = 0.0
        self._on_trial = False

    def observe(self, size: int, seconds: float, in_flight: int) -> None:
        """One GET of *size* bytes took *seconds* while *in_flight* were under way, itself included."""
        with self._mutex:
            rate = size / max(seconds, 1e-6)
            if size >= _LARGE:
                self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate
            # Only a full house tells what this number of connections can do.
            if in_flight < self.limit * 3 // 4 or self._is_settled():
                return
            self._rates.append(rate)
            if len(self._rates) >= self.limit // 2:
                self._judge(self.limit * sum(self._rates) / len(self._rates))
                self._rates.clear()

    def expected_rate(self) -> float:
        """Bytes a second that all connections together are likely to reach."""
        return self.limit * (self._rate or _ASSUMED)

    def _is_settled(self) -> bool:
        return bool(self._settled_at) and time.monotonic() - self._settled_at < _TRY_AGAIN

    def _judge(self, total: float) -> None:
        """This number of connections reached *total* bytes a second: keep it, try more, or take the last step back."""
        on_trial, self._on_trial = self._on_trial, False
        if on_trial and total <= self._total * _GAIN:
            self.limit //= 2
            self._settled_at = time.monotonic()
            return
        self._total = total
        if self.limit < MOST:
            self.limit = min(MOST, self.limit * 2)
            self._on_trial = True
        else:
            self._settled_at = time.monotonic()
