"""Mounts for the processes that this one starts: in the environment, and in what multiprocessing hands over.

``mount()`` leaves three variables, ``unmount()`` takes back what is ours of them:

* ``VFSOVERLAY_MOUNTS``: the specs as JSON, each with the file of its listing and the cache, so that a
  child neither lists nor fetches again;
* ``VFSOVERLAY_CHILD``: this interpreter and the mount points, as lines of text that need no JSON;
* an entry of ``PYTHONPATH`` with nothing but a ``sitecustomize.py``, which prepares the child.

Children of multiprocessing get the same with the data that prepares them. So a fork server that is
older than the mount has it too, and secrets, which no environment should hold, arrive as well.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from vfsoverlay._namespace.snapshot import Snapshot
from vfsoverlay._options import OPTIONS
from vfsoverlay._vfs.failed_mount import FailedMount
from vfsoverlay._vfs.inheritance import Inheritance
from vfsoverlay._vfs.mount_point import MountPoint

MOUNTS: Final = "VFSOVERLAY_MOUNTS"
MARKER: Final = "VFSOVERLAY_CHILD"
_PATH: Final = "PYTHONPATH"

_LOGGER = logging.getLogger("vfsoverlay")

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
STARTUP: Final = f"{_PACKAGE}/_startup"

#: What children of multiprocessing run before their main module is there: the package may lie where only that finds it.
_DELIVERY: Final = """
import sys
if f"{sys.implementation.cache_tag} {sys.prefix}" == identity:
    sys.path.insert(0, root)
    try:
        from vfsoverlay import _child
    finally:
        sys.path.remove(root)
    _child.receive(entries)
"""

#: Modules whose ``get_preparation_data`` says what a new process of their kind is told.
_PREPARING: Final = ("multiprocessing.spawn", "joblib.externals.loky.backend.spawn", "loky.backend.spawn")

#: Arguments of file systems that tell no secret.
_HARMLESS: Final = frozenset(
    (
        "anon",
        "config_kwargs",
        "default_block_size",
        "endpoint_url",
        "region_name",
        "requester_pays",
        "use_ssl",
        "verify",
    )
)


class _Wrapped(NamedTuple):
    """A function of another module that we put ours in the place of."""

    module: Any
    original: Callable[..., dict[str, Any]]
    ours: Callable[..., dict[str, Any]]


class _Exports:
    """What this process has put where its children find it."""

    def __init__(self) -> None:
        #: Variables as they were before the first export; None: nothing is exported.
        self.before: dict[str, str | None] | None = None
        #: Entries for multiprocessing, with secrets.
        self.entries: list[dict[str, Any]] = []
        self.wrapped: list[_Wrapped] = []


_EXPORTS = _Exports()


def export(points: Iterable[MountPoint]) -> None:
    """Let processes started from now on have *points*, unless their ``children`` option says otherwise."""
    inheritances = _for_children(points)
    _EXPORTS.entries = [inheritance.to_entry() for inheritance in inheritances]
    if not inheritances:
        _withdraw()
        return
    if _EXPORTS.before is None:
        _EXPORTS.before = {name: os.environ.get(name) for name in (MOUNTS, MARKER)}
    public = [_without_secrets(inheritance) for inheritance in inheritances]
    entries = [inheritance.to_entry() for inheritance in public]
    os.environ.update(_variables([*_foreign(entries), *entries], os.environ))
    _prepare_multiprocessing(needed=any(inheritance.withheld for inheritance in public))


def environment(points: Iterable[MountPoint]) -> dict[str, str]:
    """The variables, and nothing else, that give *points* to a Python process of this environment."""
    return _variables([_without_secrets(inheritance).to_entry() for inheritance in _for_children(points)], {})


def _for_children(points: Iterable[MountPoint]) -> list[Inheritance]:
    return [inheritance_of(point) for point in points if point.spec.option("children") and not point.is_local]


def take_over() -> None:
    """What the environment says about mounts is in force in this process: it is ours to withdraw from now on."""
    if _EXPORTS.before is None:
        _EXPORTS.before = dict.fromkeys((MOUNTS, MARKER))


def _variables(entries: list[dict[str, Any]], others: Mapping[str, str]) -> dict[str, str]:
    """The variables that give *entries* to a Python process, where it has the variables *others* already."""
    roots = [Inheritance.from_entry(entry).spec.root_dir for entry in entries]
    lines = [identity(), *roots]
    found = {
        MOUNTS: json.dumps(entries, sort_keys=True),
        MARKER: "\n".join(line.replace("%", "%25").replace("\n", "%0A") for line in lines),
    }
    if os.pathsep in STARTUP:
        _LOGGER.warning("children that are started will have no mounts: %s cannot be an entry of PYTHONPATH", STARTUP)
        return found
    path = others.get(_PATH, "")
    if STARTUP not in path.split(os.pathsep):
        found[_PATH] = f"{STARTUP}{os.pathsep}{path}" if path else STARTUP
    return found


def identity() -> str:
    """This interpreter and its packages; another one is left alone by the start-up hook."""
    return f"{sys.implementation.cache_tag} {sys.prefix}"


def inheritance_of(point: MountPoint) -> Inheritance:
    """What a child needs to have *point* as well."""
    if isinstance(point, FailedMount):
        return point.inheritance
    names = point.namespace
    snapshot = names.path if isinstance(names, Snapshot) else ""
    return Inheritance(point.spec, snapshot, point.cache.directory, point.store.origin)


def public_inheritance_of(point: MountPoint) -> Inheritance:
    """As ``inheritance_of``, without what others should not see."""
    return _without_secrets(inheritance_of(point))


def _without_secrets(inheritance: Inheritance) -> Inheritance:
    spec = inheritance.spec
    if spec.option("children") == "secrets":
        return inheritance
    secret = {name for name, value in spec.options.items() if OPTIONS[name].secret and not _is_harmless(value)}
    if not secret:
        return inheritance
    options = {name: value for name, value in spec.options.items() if name not in secret}
    return inheritance._replace(
        spec=type(spec)(spec.source, spec.root_dir, **options), withheld=tuple(sorted({*inheritance.withheld, *secret}))
    )


def _is_harmless(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(
        _is_harmless(item) if name == "client_kwargs" else name in _HARMLESS and isinstance(item, (str, int, float))
        for name, item in value.items()
    )


def _foreign(ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mounts that the environment named before, for children, and that are not in force here."""
    text = (_EXPORTS.before or {}).get(MOUNTS)
    covered = {entry["root_dir"] for entry in ours}
    try:
        given = json.loads(text) if text else []
        return [entry for entry in given if Inheritance.from_entry(entry).spec.root_dir not in covered]
    except (ValueError, TypeError) as error:
        _LOGGER.warning("children get none of the mounts that $%s named before, for it is wrong: %s", MOUNTS, error)
        return []


def _withdraw() -> None:
    if _EXPORTS.before is None:
        return
    for name, value in _EXPORTS.before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    entries = os.environ.get(_PATH, "").split(os.pathsep)
    if STARTUP in entries:
        entries.remove(STARTUP)
        if entries:
            os.environ[_PATH] = os.pathsep.join(entries)
        else:
            del os.environ[_PATH]
    for wrapped in _EXPORTS.wrapped:
        # Somebody else may have wrapped ours; it then passes through.
        if wrapped.module.get_preparation_data is wrapped.ours:
            wrapped.module.get_preparation_data = wrapped.original
    _EXPORTS.wrapped = []
    # Last: after Ctrl-C all of it is done again.
    _EXPORTS.before = None


# --- multiprocessing


class Delivery:
    """Gives *entries* to the process that unpickles it."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self.entries = entries

    def __reduce__(self) -> tuple[Any, ...]:
        names = {"identity": identity(), "root": os.path.dirname(_PACKAGE), "entries": self.entries}
        return exec, (_DELIVERY, names)


def _prepare_multiprocessing(*, needed: bool) -> None:
    """Add the mounts to what new processes are told.

    Where multiprocessing is not imported yet, all its helpers will be younger than the mounts and
    have them from the environment; then only secrets are worth the import, or children that ignore
    the environment as this process does.
    """
    if needed or sys.flags.ignore_environment or "multiprocessing" in sys.modules:
        import multiprocessing.spawn  # noqa: F401 - found below
    done = [wrapped.module for wrapped in _EXPORTS.wrapped]
    for module in map(sys.modules.get, _PREPARING):
        # One that is being imported at this moment has no function yet, nor helpers: they get the environment.
        original = getattr(module, "get_preparation_data", None)
        if module is not None and original is not None and module not in done:
            ours = _telling(original)
            module.get_preparation_data = ours  # type: ignore[attr-defined]
            _EXPORTS.wrapped.append(_Wrapped(module, original, ours))


def _telling(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def get_preparation_data(*args: Any, **kwargs: Any) -> dict[str, Any]:
        data = original(*args, **kwargs)
        if _EXPORTS.entries:
            data["vfsoverlay"] = Delivery(_EXPORTS.entries)
        return data

    return get_preparation_data
