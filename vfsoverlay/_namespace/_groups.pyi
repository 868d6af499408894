from collections.abc import Sequence

from vfsoverlay._namespace.groups import Group
from vfsoverlay._namespace.nodes import ObjectRow

def group_rows(rows: Sequence[ObjectRow], /) -> list[Group] | None: ...
