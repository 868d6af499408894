"""What the import system does past ``open``: extension modules, compiled modules, and modules that come late."""

from __future__ import annotations

import _io
import copy
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch.dispatch import trimmed
from vfsoverlay._patch.local_copies import copy_of, place_of, with_spelling
from vfsoverlay._patch.replacement import Replacement, copied_as, told_as

if TYPE_CHECKING:
    from collections.abc import Callable


class CreateDynamic(Replacement):
    # The loader hands the file to the C library, which opens it; spec.origin is the caller's.
    __slots__ = ()

    @told_as("create_dynamic")
    def __call__(self, spec: Any, file: Any = None, /) -> Any:
        try:
            local = copy_of(getattr(spec, "origin", None))
            if local is None:
                return self.real(spec, file)
            with local:
                other = copy.copy(spec)
                other.origin = str(local)
                module = with_spelling(self.real, local, spec.origin, other, file)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames
        if getattr(module, "__file__", None) == local:
            # Modules of the older kind are told by the C code.
            module.__file__ = spec.origin
        return module


class Arrivals:
    """Who is told when a C module is ready, before anything has copied names from it."""

    def __init__(self) -> None:
        self.tell: Callable[[str], object] = lambda _: None


ARRIVALS = Arrivals()


class ExecDynamic(Replacement):
    # The last step of importing a C module.
    __slots__ = ()

    @told_as("exec_dynamic")
    def __call__(self, module: Any, /) -> Any:
        try:
            result = self.real(module)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above
        ARRIVALS.tell(getattr(module, "__name__", ""))
        return result


class ExecBuiltin(ExecDynamic):
    __slots__ = ()
    __call__ = copied_as("exec_builtin", ExecDynamic.__call__)


def get_data(real: Callable[[Any, Any], bytes]) -> Callable[[Any, Any], bytes]:
    """``FileLoader.get_data``, which opens all but source files by ``io.FileIO``."""

    def get_data(self: Any, path: Any) -> bytes:
        if place_of(path) is None:
            return real(self, path)
        # Looked up now: a replacement of ours, perhaps with a wrapper of somebody else over it.
        with _io.open_code(str(path)) as file:
            return bytes(file.read())

    return get_data
