"""What a child process is told about a mount of its parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vfsoverlay._spec import Mount

#: The key of an entry that holds what is not part of the spec.
_INHERITED = "inherited"


class Inheritance(NamedTuple):
    """A mount as a child gets it: it lists nothing and fetches nothing that the parent has."""

    spec: Mount
    snapshot: str = ""
    """File of the parent's listing; empty: list again."""
    cache_dir: str = ""
    """Directory of the parent's cache; empty: as the spec says."""
    origin: str = ""
    """What the parent's store says of itself, which the listing and all cached bytes hang on; empty: ask the store."""
    withheld: tuple[str, ...] = ()
    """Options that were left out, because they are secret and the way here is not."""

    def to_entry(self) -> dict[str, Any]:
        """This as JSON types (or what the options hold)."""
        more = self._asdict()
        del more["spec"]
        return {**self.spec.to_dict(), _INHERITED: {**more, "withheld": list(self.withheld)}}

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Inheritance:
        """The inverse of ``to_entry``; a plain spec, as a user writes it, will do."""
        values = dict(entry)
        more = dict(values.pop(_INHERITED, {}))
        return cls(Mount.from_dict(values), **{**more, "withheld": tuple(more.get("withheld", ()))})

    def is_of(self, spec: Mount) -> bool:
        """Whether *spec* is the parent's spec, as far as this tells."""
        options = {name: value for name, value in spec.options.items() if name not in self.withheld}
        return Mount(spec.source, spec.root_dir, **options) == self.spec
