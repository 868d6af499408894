"""The rules by which a call is known to be foreign at a look, and the dispatchers in C that follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vfsoverlay._compiled import compiled

if TYPE_CHECKING:
    from vfsoverlay._patch.replacement import Likeness, Replacement

# What follows is written in _dispatch.c as well.

#: The first argument is a path: foreign, if no mount point's needle is in it, or a descriptor.
PATH: Final = 1
#: ... which must not end as a directory above a mount point may: the call shows or changes the names in it.
EDGES: Final = 2
#: The second argument is a mode of ``open``, which must not create the file.
MODE: Final = 4
#: The second argument is flags of ``os.open``, which must not create the file.
FLAGS: Final = 8
#: The call says False where others raise.
FALSE: Final = 16
#: The first argument is a descriptor and no path: foreign, if it is not one of ours.
DESCRIPTOR: Final = 32
#: No argument: foreign while the working directory is real.
BARE: Final = 64

#: Modes of ``open`` that never create a file.
READING: Final = frozenset({"r", "rb", "rt", "r+", "rb+", "r+b", "br"})


def _compiled() -> Any:
    """The module in C; None where it was not built, or is not wanted."""
    module = compiled("vfsoverlay._patch._dispatch")
    if module is not None:
        # What a class statement would have done.
        module.Dispatcher.__init_subclass__()
    return module


_COMPILED: Final = _compiled()


def dispatched(replacement: Replacement) -> Likeness:
    """What to put in the place of the original: *replacement*, or what calls it when no quick test decides.

    The latter also lets the original complain about arguments that do not fit *replacement*.
    """
    if _COMPILED is None:
        return replacement
    after_all = replacement.after_all if replacement.rule & PATH else None
    # The bound method, which C reaches sooner than the object.
    call = replacement.__call__
    made: Likeness = _COMPILED.Dispatcher(replacement.real, replacement.home, call, after_all, replacement.rule)
    return made


def look_for(needle: str, edges: tuple[str, ...], names: tuple[str, ...], descriptors: dict[int, Any]) -> None:
    """Tell the dispatchers what no foreign call has in it.

    Args:
        needle: What no foreign path contains; empty: it does not decide alone.
        edges: How the path of a directory above a mount point may end.
        names: The components of mount points.
        descriptors: Those of ours are its keys.
    """
    if _COMPILED is not None:
        _COMPILED.look_for(needle, edges, names, descriptors, READING)
