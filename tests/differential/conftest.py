"""Makes the helpers of this directory importable, behind everything that is installed."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    # At the end: the package under test comes from where it is installed.
    sys.path.append(ROOT)
