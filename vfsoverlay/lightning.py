"""Mounts that a LightningWork declares are made where it runs, on a laptop as well; importable without Lightning.

    import vfsoverlay.lightning

    vfsoverlay.lightning.install(compat=True)

Works declare mounts by ``CloudCompute(mounts=Mount(source, mount_path))``; where an app runs locally,
Lightning itself ignores them. Tested with lightning-app 2.3.2; 1.8.1 is the first version with the hook.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vfsoverlay._options import check_options
from vfsoverlay._spec import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from vfsoverlay._vfs.mount_point import MountPoint

    #: What sources begin with -> options of mounts of them; the more specific entry wins.
    SourceOptions = Mapping[str, Mapping[str, Any]]

__all__ = ["install", "is_installed", "mount_paths", "mount_work"]

#: The package has had two names, and both may be there: nothing may rest on the identity of its classes.
_TREES = ("lightning_app", "lightning.app")

#: What a spawned process of an app runs before its main module, which may declare mounts already.
_DELIVERY = """
import sys
sys.path.insert(0, root)
try:
    from vfsoverlay import lightning
finally:
    sys.path.remove(root)
lightning.allow_root_dir()
"""

#: What ``install`` was given last; options for every source stand under the empty prefix.
_OPTIONS: SourceOptions = {}


def install(*, options: SourceOptions | None = None, compat: bool = False, **common: Any) -> None:
    """Let works that are started from now on make the mounts they declare, before their ``run()`` begins.

    May come before or after Lightning's import, and again: the last call decides. A mount that cannot be
    made is the failure of the work (status ``FAILED`` with our error), as if ``run()`` had raised it.

    Args:
        options: Options of mounts by source: ``{"s3://bucket/prefix/": {"anon": True}}`` is for this and
            all longer sources. Lightning's own ``Mount`` has room for source and path only.
        compat: Lightning's ``Mount`` takes ``root_dir=`` too, as its first documentation had it.
        **common: Options for all sources, such as ``if_exists="local"``: a sample copy of the data that
            lies at the mount point is used instead of the mount.

    Raises:
        ImportError: The package wrapt is missing.
        TypeError: An unknown option.
        ValueError: A value that an option cannot have, or a source without a slash at its end.
    """
    import wrapt

    global _OPTIONS
    _OPTIONS = _checked(options or {}, common)
    for tree in _TREES:
        wrapt.register_post_import_hook(_hook_runner, f"{tree}.utilities.proxies")
    if compat:
        allow_root_dir()


def is_installed() -> bool:
    """Whether a Lightning with apps can be imported; tells without importing it."""
    from importlib.util import find_spec

    # find_spec("lightning.app") would import its parent, and with it torch.
    return any(find_spec(tree.partition(".")[0]) is not None for tree in _TREES)


def mount_work(work: Any, options: SourceOptions | None = None) -> tuple[MountPoint, ...]:
    """Make the mounts of *work* in this process: all or none.

    For code that runs a work by itself, such as a test of it; ``install`` is for apps.

    Args:
        work: A LightningWork. Its ``cloud_compute.mounts`` may be None, one mount, a list or a tuple; a
            mount is whatever has ``source`` and ``mount_path`` or ``root_dir``.
        options: As for ``install``, whose options are the default.

    Raises:
        OSError: As ``vfsoverlay.mount``.
        ValueError: As ``vfsoverlay.mount``.
        TypeError: As ``vfsoverlay.mount``.
    """
    from vfsoverlay import _api

    given = _OPTIONS if options is None else options
    specs = [_spec(declared, given) for declared in _declared(work)]
    return _api.mount(specs) if specs else ()


def mount_paths(
    paths: Mapping[str, str], *, options: SourceOptions | None = None, **common: Any
) -> tuple[MountPoint, ...]:
    """Mount sources at the paths they have elsewhere, such as in a Lightning Studio: all or none.

    Args:
        paths: Path to source: ``{"/teamspace/s3_connections/x": "s3://bucket/prefix/"}``.
        options: As for ``install``.
        **common: As for ``install``.

    Raises:
        OSError: As ``vfsoverlay.mount``.
        ValueError: As ``vfsoverlay.mount``.
        TypeError: As ``vfsoverlay.mount``.
    """
    from vfsoverlay import _api

    given = _checked(options or {}, common)
    return _api.mount([Mount(source, path, **_options_for(source, given)) for path, source in paths.items()])


class MountingExecutor:
    """Stands where Lightning wants a class of run executors: makes the mounts of the work, then hands over to one.

    Travels to the process of the work whichever way that was started, so it holds all that is needed there.
    """

    def __init__(self, inner: Callable[..., Callable[..., Any]], options: SourceOptions) -> None:
        self.inner = inner
        self.options = options

    def __call__(self, work: Any, *arguments: Any) -> Callable[..., Any]:
        """Make the executor of one run of *work*."""
        execute = self.inner(work, *arguments)

        def run(*args: Any, **kwargs: Any) -> Any:
            # Not unmounted afterwards: hooks and threads of the work outlive a run, and the next run lists nothing.
            mount_work(work, self.options)
            return execute(*args, **kwargs)

        return run

    def __getattr__(self, name: str) -> Any:
        # Class attributes, such as enable_start_observer.
        return getattr(self.inner, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return MountingExecutor, (self.inner, self.options)


# ----------------------------------------------------------------------------------------- hooks


def allow_root_dir() -> None:
    """Let Lightning's ``Mount`` take ``root_dir=``, here and in the processes that multiprocessing spawns from here."""
    import wrapt

    for tree in _TREES:
        wrapt.register_post_import_hook(_hook_mount, f"{tree}.storage.mount")
    wrapt.register_post_import_hook(_hook_spawn, "multiprocessing.spawn")


def _hook_runner(proxies: ModuleType) -> None:
    """Every process of a work begins with a ``WorkRunner``, which the process that starts it has made."""
    _wrap(proxies.WorkRunner, "__init__", _compose_executor)


def _hook_mount(mount: ModuleType) -> None:
    _wrap(mount.Mount, "__init__", _accept_root_dir)


def _hook_spawn(spawn: ModuleType) -> None:
    _wrap(spawn, "get_preparation_data", _tell_children)


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    import wrapt

    if getattr(vars(owner)[name], "_self_wrapper", None) is not wrapper:
        wrapt.wrap_function_wrapper(owner, name, wrapper)


def _compose_executor(wrapped: Callable[..., None], runner: Any, args: Any, kwargs: Any) -> None:
    wrapped(*args, **kwargs)
    # Not in setup() or on_start(): an error there ends the process of the work, and the app waits for ever.
    if any(_declared(runner.work)):
        runner.run_executor_cls = MountingExecutor(runner.run_executor_cls, _OPTIONS)


def _accept_root_dir(wrapped: Callable[..., None], _mount: Any, args: Any, kwargs: dict[str, Any]) -> None:
    if "root_dir" in kwargs:
        root_dir = kwargs.pop("root_dir")
        path = kwargs.setdefault("mount_path", root_dir)
        if path != root_dir:
            msg = f"root_dir and mount_path are two names of one thing, but differ: {root_dir!r}, {path!r}"
            raise TypeError(msg)
    wrapped(*args, **kwargs)


def _tell_children(wrapped: Callable[..., dict[str, Any]], _instance: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    data = wrapped(*args, **kwargs)
    data["vfsoverlay.lightning"] = _Delivery()
    return data


class _Delivery:
    """Runs ``_DELIVERY`` where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_DELIVERY, {"root": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))})


# ----------------------------------------------------------------------------------------- specs


def _declared(work: Any) -> Iterator[Any]:
    """The mounts that *work* declares, as they are."""
    mounts = getattr(getattr(work, "cloud_compute", None), "mounts", None)
    if isinstance(mounts, (list, tuple)):
        yield from mounts
    elif mounts is not None:
        yield mounts


def _spec(declared: Any, options: SourceOptions) -> Mount:
    # An empty text is upstream's way of saying "the default".
    root_dir = getattr(declared, "root_dir", None) or None
    mount_path = getattr(declared, "mount_path", None) or None
    source = getattr(declared, "source", declared)
    return Mount(source, root_dir, mount_path=mount_path, **_options_for(str(source), options))


def _options_for(source: str, options: SourceOptions) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for prefix in sorted(options, key=len):
        if source.startswith(prefix):
            chosen.update(options[prefix])
    return chosen


def _checked(options: SourceOptions, common: Mapping[str, Any]) -> SourceOptions:
    """All of it in one table, without what would only fail in a work; options of no source are not there."""
    for prefix, values in options.items():
        if not prefix.endswith("/"):
            msg = f"options are given for a source with a slash at its end, not for {prefix!r}"
            raise ValueError(msg)
        check_options(values)
    check_options(common)
    return {"": dict(common), **{prefix: dict(values) for prefix, values in options.items()}}
