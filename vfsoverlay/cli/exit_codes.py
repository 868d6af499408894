"""The exit codes of all commands; docs/command-line.md shows this table."""

from __future__ import annotations

from typing import Final

EXIT_FAILED: Final = 1
#: click's own for wrong command lines is 2.
EXIT_NOT_MOUNTED: Final = 3
EXIT_INTERRUPTED: Final = 130
