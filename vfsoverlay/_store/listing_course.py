"""Where one listing has been, so that one without an end is noticed."""

from __future__ import annotations

from typing import Final

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind

#: Pages in a row that begin with no new key, after which a listing that still goes on is given up. S3 sends some
#: without a key where objects were deleted; nothing is known to send so many.
_IDLE_PAGES: Final = 1000

#: A token, or what stands for one: the parameters that say where a page begins.
Place = list[tuple[str, str]]


class ListingCourse:
    """The pages of one listing; each may be known only by its beginning, for buckets may be listed in any order."""

    def __init__(self) -> None:
        self._places: set[tuple[tuple[str, str], ...]] = set()
        self._beginnings: set[tuple[str, str]] = set()
        self._idle = 0

    def goes_on(self, beginning: tuple[str, str] | None, place: Place) -> None:
        """Note how a page began (with a key and its version; None: it was empty), and where the next one begins.

        Raises ``Failure`` where that has no end.
        """
        if tuple(place) in self._places or not place[0][1]:
            raise Failure(
                Kind.MALFORMED, "the listing says that it goes on, but not where, or where it has been before"
            )
        self._places.add(tuple(place))
        if beginning is None or beginning in self._beginnings:
            self._idle += 1
        else:
            self._idle = 0
            self._beginnings.add(beginning)
        if self._idle == _IDLE_PAGES:
            raise Failure(Kind.MALFORMED, f"the listing goes on after {_IDLE_PAGES} pages without a new key")
