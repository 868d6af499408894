"""The mount spec: a frozen value that says what is mounted where, and can travel to other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from vfsoverlay._options import OPTIONS, check_options

_DEFAULT_PARENT = "/data"


class Mount:
    """A source and the directory where its objects appear.

    Args:
        source: ``s3://bucket/`` or ``s3://bucket/prefix/``, with the trailing slash; or any other
            URL that fsspec knows, such as ``file:///dir/`` or ``memory://dir/``.
        root_dir: Absolute path of the mount point, without ``..`` and not ``/``. Default: ``/data/``
            and the last folder of the source.
        mount_path: Another name of ``root_dir`` (the one Lightning uses).
        **options: See ``docs/configuration.md``; unknown names are refused.

    Raises:
        ValueError: The source or the path breaks a rule, or an option has a value it cannot have.
        TypeError: An unknown option, a source that is no text, or ``root_dir`` and ``mount_path`` that differ.

    A ``Mount`` is immutable, hashable, picklable, and survives ``from_json(spec.to_json())``.
    Two are equal when they mount the same source at the same place with the same options.
    """

    __slots__ = ("_options", "root_dir", "source")

    source: str
    root_dir: str
    _options: dict[str, Any]

    def __init__(
        self,
        source: str,
        root_dir: str | os.PathLike[str] | None = None,
        *,
        mount_path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        source = _check_source(source)
        if mount_path is not None and root_dir is not None and _check_path(mount_path) != _check_path(root_dir):
            msg = f"root_dir and mount_path are two names of one thing, but differ: {root_dir!r}, {mount_path!r}"
            raise TypeError(msg)
        path = root_dir if root_dir is not None else mount_path
        set_ = object.__setattr__
        set_(self, "source", source)
        set_(self, "root_dir", _default_path(source) if path is None else _check_path(path))
        set_(self, "_options", check_options(options))

    @property
    def mount_path(self) -> str:
        """The same as ``root_dir``."""
        return self.root_dir

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from their default (a copy)."""
        return dict(self._options)

    def option(self, name: str) -> Any:
        """The value of the option *name*, given or default."""
        return self._options[name] if name in self._options else OPTIONS[name].default

    def to_dict(self) -> dict[str, Any]:
        """What the constructor takes, as one flat dict of JSON types."""
        return {"source": self.source, "root_dir": self.root_dir, **self._options}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Mount:
        """The inverse of ``to_dict``; checks as the constructor does."""
        return cls(**values)

    def to_json(self) -> str:
        """This spec as JSON text; raises ``TypeError`` where ``storage_options`` holds something else."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Mount:
        """The inverse of ``to_json``."""
        return cls.from_dict(json.loads(text))

    def _identity(self) -> tuple[str, str, str]:
        return (self.source, self.root_dir, json.dumps(self._options, sort_keys=True, default=repr))

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, Mount) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        shown = "".join(
            f", {name}={'...' if OPTIONS[name].secret else repr(value)}" for name, value in self._options.items()
        )
        return f"Mount({self.source!r}, {self.root_dir!r}{shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.to_dict(),))

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"a Mount is immutable; make a new one instead of setting {name!r}"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = f"a Mount is immutable; {name!r} cannot be deleted"
        raise AttributeError(msg)


def _rebuild(values: dict[str, Any]) -> Mount:
    return Mount.from_dict(values)


def _check_source(source: Any) -> str:
    if not isinstance(source, str):
        msg = f"the 'source' of a mount is a text such as 's3://bucket/prefix/', not {type(source).__name__}"
        raise TypeError(msg)
    protocol, separator, rest = source.partition("://")
    if not separator or not protocol:
        msg = (
            f"Unknown protocol for the mount 'source' argument '{source}'. The 'source' string must start with "
            "one of the following prefixes: ['s3://'], or with another protocol that fsspec knows, such as 'file://'"
        )
        raise ValueError(msg)
    if protocol != protocol.lower():
        msg = f"Unknown protocol for the mount 'source' argument '{source}'. Protocols are lower case: 's3://'"
        raise ValueError(msg)
    if protocol == "s3" and not rest.partition("/")[0]:
        msg = f"The mount 'source' argument '{source}' names no bucket; write 's3://bucket/' or 's3://bucket/prefix/'"
        raise ValueError(msg)
    if not rest.endswith("/"):
        msg = (
            "S3 mounts must end in a trailing slash (`/`) to indicate a folder is being mounted. "
            f"Received: '{source}'. Mounting a single file is not currently supported."
        )
        raise ValueError(msg if protocol == "s3" else msg.replace("S3 mounts", "Mount sources"))
    if "\0" in rest:
        msg = f"the 'source' of a mount has a NUL character: {source!r}"
        raise ValueError(msg)
    return source


def _check_path(path: Any) -> str:
    """The normal form of a mount point: absolute, no empty or '.' components, no trailing slash."""
    text = os.fspath(path)
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if not text.startswith("/"):
        msg = f"root_dir argument must be an absolute path to a location; received relative path {text}"
        raise ValueError(msg)
    if "\0" in text:
        msg = f"root_dir argument has a NUL character: {text!r}"
        raise ValueError(msg)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        msg = f"root_dir argument must not contain '..'; received {text}"
        raise ValueError(msg)
    if not parts:
        msg = "root_dir argument must not be '/': the whole file system cannot be covered"
        raise ValueError(msg)
    return "/" + "/".join(parts)


def _default_path(source: str) -> str:
    name = source.rstrip("/").rpartition("/")[2]
    if name in ("", ".", "..") or "://" not in source.rstrip("/"):
        msg = f"no default root_dir follows from the source {source!r}; give one"
        raise ValueError(msg)
    return f"{_DEFAULT_PARENT}/{name}"
