"""The command line, as ``python -m vfsoverlay``."""

from __future__ import annotations

import sys

from vfsoverlay.cli import main

if __name__ == "__main__":
    sys.exit(main())
