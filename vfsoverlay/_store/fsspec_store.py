"""Any file system of fsspec as an ``ObjectStore``."""
