from collections.abc import Callable

from vfsoverlay._store.protocol import ObjectRow

def read_rows(
    body: bytes,
    start: int,
    stop: int,
    literals: tuple[bytes, ...],
    kinds: bytes,
    encoded: bool,
    parse_date: Callable[[str], int],
    /,
) -> list[ObjectRow] | None: ...
