"""The loading of libraries by ``ctypes``, which the C library does by itself."""

from __future__ import annotations

from typing import Any

from vfsoverlay._patch.dispatch import trimmed
from vfsoverlay._patch.local_copies import copy_of, spelled_like, with_spelling
from vfsoverlay._patch.replacement import Replacement, told_as


class Dlopen(Replacement):
    __slots__ = ()

    @told_as("dlopen")
    def __call__(self, name: Any, /, *flag: Any) -> Any:
        try:
            # A name without a slash is looked for where libraries are.
            local = copy_of(name) if "/" in str(name) else None
            if local is None:
                return self.real(name, *flag)
            with local:
                return with_spelling(self.real, local, name, spelled_like(local, name), *flag)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames
