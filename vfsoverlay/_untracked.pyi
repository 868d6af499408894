import os
from collections.abc import Sequence
from typing import TypeVar

_Row = TypeVar("_Row", bound=tuple[object, ...])

def make_stat(
    mode: int, inode: int, device: int, owner: tuple[int, int], size: int, mtime_ns: int, /
) -> os.stat_result: ...
def make_rows(type: type[_Row], columns: tuple[Sequence[object], ...], /) -> list[_Row]: ...
