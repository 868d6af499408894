"""A read-only POSIX file system as plain functions; works and is tested without any patching."""
