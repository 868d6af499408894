"""Bytes of object versions on local disk: bounded, checksummed and shared by all processes."""
