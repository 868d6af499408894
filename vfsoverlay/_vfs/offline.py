"""Whether a mount may ask its store: what its option says, else what the environment says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vfsoverlay._spec import Mount

VARIABLE: Final = "VFSOVERLAY_OFFLINE"

_MEANING: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


def is_offline(spec: Mount) -> bool:
    """Whether the mount of *spec* makes no request.

    Raises:
        ValueError: The variable is neither yes nor no.
    """
    given: bool | None = spec.option("offline")
    if given is not None:
        return given
    text = os.environ.get(VARIABLE, "")
    try:
        return _MEANING[text.strip().lower()]
    except KeyError:
        msg = f"${VARIABLE} is 1 or 0, not {text!r}"
        raise ValueError(msg) from None
