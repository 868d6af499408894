"""Every option of a mount: its name, default, allowed values and the reason for the default."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

MIB: Final = 1024**2
GIB: Final = 1024**3

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(value: int | str) -> int:
    """Bytes from a number or a text such as ``"20GiB"``, ``"512 MB"`` (decimal) or ``"4096"``.

    Raises ``ValueError`` for anything else, and for negative numbers.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            msg = f"a size is not negative: {value}"
            raise ValueError(msg)
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        msg = f"not a size: {value!r}; write a number of bytes, or a text such as '20GiB'"
        raise ValueError(msg)
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWER[unit.lower()])


def _size(value: Any) -> int:
    return parse_size(value)


def _optional_size(value: Any) -> int | None:
    return None if value is None else parse_size(value)


def _positive_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"a whole number above 0 is wanted, not {value!r}"
        raise ValueError(msg)
    return value


def _optional_id(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        msg = f"a numeric id is wanted, not {value!r}"
        raise ValueError(msg)
    return value


def _block_size(value: Any) -> int:
    size = parse_size(value)
    if not 4096 <= size <= 16 * MIB or size & (size - 1):
        msg = f"a power of two from 4 KiB to 16 MiB is wanted, not {value!r}"
        raise ValueError(msg)
    return size


def _memory_budget(value: Any) -> int:
    size = parse_size(value)
    if size < MIB:
        msg = f"1 MiB or more is wanted, not {value!r}; readahead=False fetches nothing ahead"
        raise ValueError(msg)
    return size


def _mode(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 0o777:
        msg = f"permission bits between 0 and 0o777 are wanted, not {value!r}"
        raise ValueError(msg)
    return value


def _seconds(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
        msg = f"seconds (0 or more) are wanted, not {value!r}"
        raise ValueError(msg)
    return float(value)


def _positive_seconds(value: Any) -> float:
    if not _seconds(value):
        msg = f"seconds above 0 are wanted, not {value!r}"
        raise ValueError(msg)
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        msg = f"True or False is wanted, not {value!r}"
        raise ValueError(msg)
    return value


def _optional_flag(value: Any) -> bool | None:
    return None if value is None else _flag(value)


def _optional_text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        msg = f"a text is wanted, not {value!r}"
        raise ValueError(msg)
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        msg = f"a dict with text keys is wanted, not {value!r}"
        raise ValueError(msg)
    return dict(value)


def _timestamp(value: Any) -> str | None:
    """A point in time as ISO 8601 text in UTC, from such a text or a ``datetime``, both with a time zone."""
    if value is None:
        return None
    from datetime import datetime, timezone  # rare, and nothing else here needs it

    try:
        when = datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    except ValueError:
        when = None
    if not isinstance(when, datetime) or when.tzinfo is None:
        msg = f"a time with its zone, such as '2024-05-01T12:00:00Z', is wanted, not {value!r}"
        raise ValueError(msg)
    return when.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _children(value: Any) -> bool | str:
    return value if value == "secrets" else _flag(value)


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            msg = f"one of {', '.join(map(repr, allowed))} is wanted, not {value!r}"
            raise ValueError(msg)
        return str(value)

    return check


class Option(NamedTuple):
    """One keyword of ``mount()``."""

    name: str
    default: Any
    check: Callable[[Any], Any]
    """Gives the normalised value or raises ``ValueError``."""
    meaning: str
    reason: str
    """Why the default is what it is."""
    secret: bool = False
    """Never shown in a repr, a log or an error."""


_TABLE: Final[tuple[Option, ...]] = (
    # --- source
    Option("anon", None, _optional_flag,
           "True: unsigned requests; False: signed ones; None: signed if credentials are found, else unsigned",
           "public buckets work with no AWS set-up at all, private ones as soon as there are credentials"),
    Option("profile", None, _optional_text, "profile of the AWS configuration files", "as the AWS tools choose it"),
    Option("region", None, _optional_text, "region of the bucket", "found by asking the bucket"),
    Option("endpoint_url", None, _optional_text, "URL of an S3-compatible server",
           "AWS, or what AWS_ENDPOINT_URL and the profile say"),
    Option("requester_pays", False, _flag, "agree to pay for requests to a requester-pays bucket",
           "costs are never incurred unasked"),
    Option("version_at", None, _timestamp, "a versioned bucket as it was at this time (ISO 8601 with its zone)",
           "the bucket as it is now"),
    Option("sse_customer_key", None, _optional_text, "key of objects encrypted with SSE-C: base64 of 32 bytes",
           "S3 holds the keys of nearly all objects", secret=True),
    Option("transport", "auto", _one_of("auto", "s3fs"),
           "'auto': the built-in S3 client; 's3fs': all requests through s3fs",
           "the built-in client uses half the CPU and pins versions on every request"),
    Option("storage_options", {}, _mapping, "arguments for the fsspec file system, as s3fs and others take them",
           "nothing needs them by default", secret=True),
    Option("deadline", 120.0, _positive_seconds, "seconds one operation may take, retries included",
           "longer than S3's worst minute, shorter than a user's patience"),
    # --- names
    Option("listing", "eager", _one_of("eager", "lazy"),
           "'eager': list all names at mount(); 'lazy': list a directory when it is first touched",
           "limits are checked before work begins, and names need no request afterwards"),
    Option("ttl", 60.0, _seconds, "lazy only: seconds a directory's listing is used for",
           "as long as a program's idea of 'now' while it walks a tree"),
    Option("reuse_listing", 0.0, _seconds, "eager only: seconds; a listing of an earlier run up to this age will do",
           "a mount shows what is there now unless asked otherwise"),
    Option("index", None, _optional_text, "eager only: a file that 'vfsoverlay index save' wrote, instead of listing",
           "names come from the source"),
    Option("offline", None, _optional_flag,
           "True: no request is made: names come from 'index' or the newest listing in the cache, whatever its age, "
           "bytes from the cache, and what is missing is refused by name; None: as $VFSOVERLAY_OFFLINE says",
           "the source is asked for what is not on local disk"),
    Option("max_objects", 1_000_000, _positive_int, "objects the prefix may hold; more fails the mount",
           "the limit of the original product; beyond it a longer prefix is nearly always meant"),
    Option("max_object_size", 5 * GIB, _size, "bytes one object may have; a larger one fails the mount",
           "the limit of the original product"),
    Option("if_exists", "overlay", _one_of("overlay", "local", "error"),
           "what a real directory at root_dir means: shadow it, leave it and do not mount, or raise FileExistsError",
           "a kernel mount shadows it as well"),
    # --- data
    Option("cache_dir", None, _optional_text, "directory of the cache, on local disk",
           "$VFSOVERLAY_CACHE_DIR, else the XDG cache home, else the temp directory: the first that is writable"),
    Option("cache_size", None, _optional_size, "bytes the cache may use on disk",
           "$VFSOVERLAY_CACHE_SIZE, else 20 GiB or half of the free space, whichever is less"),
    Option("min_free", None, _optional_size, "bytes that stay free on the cache's disk",
           "5 % of the disk, at most 5 GiB: a full disk hurts every other program"),
    Option("block_size", 128 * 1024, _block_size,
           "bytes of a block, the least that a random read fetches: a power of two from 4 KiB to 16 MiB",
           "measured: random reads fetch little more than asked for, and a map of 5 GiB stays small"),
    Option("readahead", True, _flag, "fetch ahead of sequential readers and of loops over small files",
           "one request at a time is slow; what is fetched in vain is bounded and counted (bytes.wasted)"),
    Option("promotion", True, _flag, "fetch an object whole when waiting for random reads has cost as much",
           "never much more than twice the best that could have been done in hindsight"),
    Option("memory_budget", 256 * MIB, _memory_budget,
           "bytes that this process, over all its mounts, may have on their way before a reader waits for them; at "
           "least 1 MiB",
           "what 32 connections carry; where the page cache counts as memory (containers), less may be wanted"),
    Option("on_change", "error", _one_of("error", "reopen"),
           "an object changed since it was listed: raise ESTALE, or read the new version",
           "a changed object is never read as if it were the listed one unless asked for"),
    # --- appearance
    Option("file_mode", 0o444, _mode, "permission bits of files", "read-only for all, as the data is"),
    Option("dir_mode", 0o555, _mode, "permission bits of directories", "read-only for all, as the data is"),
    Option("uid", None, _optional_id, "numeric owner shown by stat", "the current user"),
    Option("gid", None, _optional_id, "numeric group shown by stat", "the current group"),
    # --- reach
    Option("children", True, _children,
           "processes started by this one have the mount as well; 'secrets': also where that puts storage_options and "
           "sse_customer_key into the environment",
           "a program does not care which of its processes reads a file; others may see its environment"),
    Option("strict", False, _flag,
           "warn (BypassWarning) about each call that reached a path below the mount behind our back",
           "it costs an audit hook, which every opened file of the process passes"),
)  # fmt: skip

OPTIONS: Final[dict[str, Option]] = {option.name: option for option in _TABLE}


def check_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Normalised copies of the *given* options without those that equal their default.

    Raises ``TypeError`` for an unknown name (with the nearest known one) and ``ValueError`` for a
    value that is not allowed.
    """
    checked = {}
    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None:
            raise TypeError(_unknown(name))
        try:
            normal = option.check(value)
        except (ValueError, TypeError) as error:
            shown = "its value is not allowed" if option.secret else str(error)
            msg = f"mount option {name!r}: {shown}"
            raise ValueError(msg) from None
        if normal != option.default:
            checked[name] = normal
    return checked


def _unknown(name: str) -> str:
    from difflib import get_close_matches  # only on the way to an error

    near = get_close_matches(name, OPTIONS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; the options are {', '.join(OPTIONS)}"
    return f"mount() has no option {name!r}{hint}"
