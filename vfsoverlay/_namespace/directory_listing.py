"""One directory as a listing with the delimiter shows it."""

from __future__ import annotations

from collections.abc import Iterable

from vfsoverlay._namespace.listing import Limits
from vfsoverlay._namespace.names import MARKER, SHADOWED, why_invalid
from vfsoverlay._namespace.nodes import DirectoryNode, FileNode, Hidden, Node, Page
from vfsoverlay._namespace.schema import encode_key


class DirectoryListing:
    """The children of one directory, whole: a file and the folder that shadows it may be pages apart.

    Args:
        pages: All answers of the listing.
        prefix: What the listing was asked for; empty or ending in a slash.
        limits: Checked at each page.
        until: When this listing is too old, on the clock of who uses it.

    Directory nodes in it have no mtime yet.
    """

    __slots__ = ("exists", "hidden", "nodes", "objects", "size", "until", "used")

    def __init__(self, pages: Iterable[Page], prefix: str, limits: Limits, until: float) -> None:
        self.until = until
        self.used = True
        self.exists = not prefix
        self.hidden: list[Hidden] = []
        before = limits.objects, limits.size
        found: dict[str, Node] = {}
        folders: set[str] = set()
        for page in pages:
            limits.check(page.rows)
            self.exists = self.exists or bool(page.rows or page.prefixes)
            for key, *rest in page.rows:
                name = key[len(prefix) :]
                if self._is_name(key, name, MARKER if rest[0] else ""):
                    found[name] = FileNode._make((name, *rest))
            folders.update(name for key in page.prefixes if self._is_name(key, name := key[len(prefix) : -1], None))
        self.objects, self.size = limits.objects - before[0], limits.size - before[1]
        self.hidden += [Hidden(prefix + name, SHADOWED) for name in found.keys() & folders]
        found.update((name, DirectoryNode(name, 0)) for name in folders)
        self.nodes = {name: found[name] for name in sorted(found, key=encode_key)}

    @property
    def weight(self) -> int:
        """Entries in memory."""
        return 1 + len(self.nodes)

    def _is_name(self, key: str, name: str, marker: str | None) -> bool:
        """Whether *name* is one; if not, note the *key*, except that of an empty marker (*marker* is ``""``)."""
        reason = marker if not name and marker is not None else why_invalid(name)
        if reason:
            self.hidden.append(Hidden(key, reason))
        return bool(name) and not reason
