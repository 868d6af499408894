"""The order in which files of a listing are opened: found from the last few opens, also when workers take turns."""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise
from typing import Final

#: Opens that are looked at together: threads that share a loop shuffle their opens by about that much.
_RECENT: Final = 8

#: Two neighbours are a loop over the listing; a larger step must be seen more often to be believed.
_ENOUGH: Final = 3

#: Steps beyond this are not taken for a plan (a machine has fewer workers than that).
_LARGEST: Final = 256


class Stride:
    """The last opened indexes of one listing, and the step between them if there is one."""

    __slots__ = ("_recent",)

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=_RECENT)

    def add(self, index: int) -> None:
        """The item *index* was opened."""
        self._recent.append(index)

    def step(self) -> int:
        """The step at which opens go on; 0 while there is none to see."""
        opened = sorted(set(self._recent))
        steps = Counter(later - earlier for earlier, later in pairwise(opened))
        if not steps:
            return 0
        step, times = steps.most_common(1)[0]
        if step > _LARGEST or 3 * times < 2 * sum(steps.values()):
            return 0
        return step if step == 1 or len(opened) >= _ENOUGH else 0

    def front(self) -> int:
        """The furthest of the recent opens."""
        return max(self._recent)
