"""The command line: ``vfsoverlay``, also as ``python -m vfsoverlay``; click is loaded only here."""

from __future__ import annotations

from vfsoverlay.cli.app import main

__all__ = ["main"]
