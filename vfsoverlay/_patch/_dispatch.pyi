from typing import Any

from vfsoverlay._patch.replacement import Likeness

class Dispatcher(Likeness):
    def __init__(self, real: Any, home: str, handler: Any, after_all: Any, rule: int, /) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def look_for(
    needle: str,
    edges: tuple[str, ...],
    names: tuple[str, ...],
    descriptors: dict[int, Any],
    reading: frozenset[str],
    /,
) -> None: ...
