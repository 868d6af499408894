"""A range of keys that is being listed, and where to cut it in two so that others can help."""

from __future__ import annotations

import string
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from vfsoverlay._namespace.nodes import ObjectRow

#: Characters of a key that are looked at: enough for any name that has a number in it.
_DEPTH: Final = 64
#: Characters of a cut behind those that a page has in common: a page varies in three or four digits.
_PRECISION: Final = 5
#: A range is cut when this many pages seem to be left: each half then is worth its request.
_MIN_PAGES: Final = 2
_SAMPLES: Final = 20
_HIGHEST: Final = "\U0010ffff"


class OutOfOrderError(Exception):
    """Keys came in another order than that of their bytes, or from before where the listing was to start."""


class KeyRange:
    """Keys above *low* and up to *high* (``None``: to the end), of which those up to ``position`` are listed."""

    __slots__ = ("first", "high", "low", "pages", "position", "reach")

    def __init__(self, low: str, high: str | None) -> None:
        self.low = low
        self.high = high
        self.position = ""
        self.first = ""
        """The first key of the last page; with ``position`` it shows how dense keys are."""
        self.pages = 0
        """Pages since the last cut: who has listed for long has probably long to go."""
        self.reach = -1
        """How far into the key the last cut of an open end was made; the next one goes further up."""

    def take(self, rows: list[ObjectRow]) -> list[ObjectRow]:
        """Note that *rows* were listed and return those that belong to this range; raises ``OutOfOrderError``."""
        keys = [row[0] for row in rows]
        if rows and (keys[0] <= (self.position or self.low) or keys != sorted(keys)):
            raise OutOfOrderError
        if self.high is not None:
            rows = rows[: bisect_right(keys, self.high)]
        if rows:
            self.first, self.position = rows[0][0], rows[-1][0]
        self.pages += 1
        return rows

    def cut(self, at: str) -> KeyRange:
        """Give away the keys above *at*."""
        upper = KeyRange(at, self.high)
        upper.reach, self.reach = self.reach, -1
        self.high = at
        self.pages = 0
        return upper


class Cuts:
    """Knows the shape of the keys seen so far, and finds good places to cut ranges at.

    Args:
        prefix: What all keys begin with.
    """

    def __init__(self, prefix: str) -> None:
        self._skip = len(prefix)
        self._seen: list[set[str]] = []
        self._alphabets: list[str] = []
        self._folders: Sequence[str] = ()
        #: The first and the last key of the page seen last: it shows how many folders a page reaches across.
        self._page = ("", "")

    def learn(self, rows: Sequence[ObjectRow]) -> None:
        """Look at some of *rows* to see which characters stand where."""
        if rows:
            self._page = rows[0][0], rows[-1][0]
        for key, *_ in rows[:: len(rows) // _SAMPLES + 1]:
            tail = key[self._skip : self._skip + _DEPTH]
            while len(self._seen) < len(tail):
                self._seen.append(set())
                self._alphabets.append("")
            for i, character in enumerate(tail):
                if character not in self._seen[i]:
                    self._seen[i].add(character)
                    self._alphabets[i] = _alphabet(self._seen[i])

    def learn_folders(self, prefixes: Sequence[str]) -> None:
        """Remember common prefixes, in order: the best places to cut at."""
        self._folders = prefixes

    def find(self, range_: KeyRange) -> str | None:
        """Where to cut *range_*, or ``None`` if that seems not worth a request."""
        # Folders are no guess: helpers need not wait for a page of the range to begin at them.
        listed = range_.pages and range_.position
        for find in (self._at_folder, self._further_up, self._between) if listed else (self._at_folder,):
            cut = find(range_)
            if cut is not None and (range_.position or range_.low) < cut and (range_.high is None or cut < range_.high):
                return cut
        return None

    def _at_folder(self, range_: KeyRange) -> str | None:
        folders = self._folders
        start = bisect_right(folders, range_.position or range_.low)
        stop = len(folders) if range_.high is None else bisect_left(folders, range_.high)
        first, last = (range_.first, range_.position) if range_.position else self._page
        in_page = bisect_right(folders, last) - bisect_left(folders, first)
        return folders[(start + stop) // 2] if stop - start > in_page * _MIN_PAGES else None

    def _further_up(self, range_: KeyRange) -> str | None:
        """Where the end is far: cut at the tens of the names in the page, next time at the hundreds, and so on."""
        position, high = range_.position, range_.high
        lowest = self._skip
        if high is not None:
            lowest = _common(position, high)
            if position[lowest : lowest + 1].isdigit() and high[lowest : lowest + 1].isdigit():
                return None  # two numbers have a middle
            lowest += 1
        place = (range_.reach if range_.reach >= 0 else _common(range_.first, position)) - 1
        for here in range(place, lowest - 1, -1):
            above = [c for c in self._alphabet_at(here) if c > position[here : here + 1]]
            if above:
                cut = position[:here] + above[len(above) // 2]
                if high is None or cut < high:
                    range_.reach = here
                    return cut
        return None

    def _between(self, range_: KeyRange) -> str | None:
        """The middle of what is left, if characters were digits."""
        position = range_.position
        high = range_.high or self._last_of_its_kind(position)
        start = _common(range_.first, high)
        stop = _common(range_.first, position) + _PRECISION
        first, here, last = (self._number(key, start, stop) for key in (range_.first, position, high))
        if last - here < (here - first) * _MIN_PAGES:
            return None
        return position[:start] + self._text((here + last) // 2, start, stop)

    def _last_of_its_kind(self, key: str) -> str:
        """An end for the open range above *key*: where the first character that varies has its highest value."""
        for place in range(self._skip, len(key)):
            alphabet = self._alphabet_at(place)
            if len(alphabet) > 1 and key[place] < alphabet[-1]:
                return key[:place] + _HIGHEST
        return key

    def _alphabet_at(self, place: int) -> str:
        i = place - self._skip
        return self._alphabets[i] if 0 <= i < len(self._alphabets) else string.digits

    def _number(self, key: str, start: int, stop: int) -> int:
        """The characters of *key* from *start* to *stop* as digits; where all keys agree, there is only a zero."""
        number = 0
        for place in range(start, stop):
            alphabet = self._alphabet_at(place)
            single = len(alphabet) == 1
            digit = bisect_left(alphabet, key[place]) + (not single) if place < len(key) else 0
            number = number * (1 if single else len(alphabet) + 1) + digit
        return number

    def _text(self, number: int, start: int, stop: int) -> str:
        """The inverse of ``_number``."""
        text = ""
        for place in reversed(range(start, stop)):
            alphabet = self._alphabet_at(place)
            if len(alphabet) > 1:
                number, digit = divmod(number, len(alphabet) + 1)
                text = (alphabet[digit - 1] if digit else "") + text
            else:
                text = alphabet + text
        return text


def _alphabet(seen: set[str]) -> str:
    """The characters that may stand where *seen* were seen: one digit makes others likely, two letters others too."""
    more = set(string.digits) if seen & set(string.digits) else set()
    for case in (string.ascii_lowercase, string.ascii_uppercase):
        letters = seen & set(case)
        if more and letters and max(letters) <= case[5]:
            more |= set(case[:6])  # hexadecimal
        elif len(letters) > 1:
            more |= set(case)
    return "".join(sorted(seen | more))


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    length = min(len(one), len(other))
    return next((i for i in range(length) if one[i] != other[i]), length)
