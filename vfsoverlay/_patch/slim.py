"""What stands in for the shim in a child that has touched no mount: it knows the mount points and nothing else.

The whole shim takes many times as long to load as the interpreter itself, and most children of a
program with mounts (build tools, version checks, resource trackers) never look at one. So each
replaced name holds a ``Slim`` here that only asks whether a path may be below a mount point. The
first time one may be, ``wake`` builds the rest, every ``Slim`` becomes the replacement that the shim
would have put in its place (the object stays the same, wherever it was copied to), and the call is
made again.

Nothing here may import what a bare interpreter has not loaded.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock, get_ident

# Before anything is replaced: what it holds must be the originals.
from vfsoverlay import _real
from vfsoverlay._patch.replacement import Likeness, Replacement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_NOTHING = object()


class Watch:
    """The mount points to look out for, and what to do when a path may be below one."""

    __slots__ = ("_ancestors", "_build", "_inside", "_lock", "_names", "_places", "_shadowing", "needle")

    def __init__(self) -> None:
        #: In every path that leads to a mount point without links; in any path, if there are several of them.
        self.needle = "\0"
        self._names: tuple[str, ...] = ()
        self._places: tuple[str, ...] = ()
        self._ancestors: frozenset[str] = frozenset()
        #: A real directory lies at a mount point, so that a link elsewhere may lead to it and the kernel is content.
        self._shadowing = False
        self._build: Callable[[], object] | None = None
        self._inside: set[int] = set()
        self._lock = RLock()

    @property
    def on(self) -> bool:
        """Whether there are mount points that are not built yet."""
        return self._build is not None

    def begin(self, roots: Iterable[str], build: Callable[[], object]) -> None:
        """Watch *roots* instead of any before; *build* makes their mounts, and may fail and be called again."""
        self.end()
        places = {path for root in roots for path in (root, _resolved(root))}
        self._places = tuple(sorted(places))
        # The last component of a mount point is in every path that leads there, even relative to a directory above.
        self._names = tuple({place.rpartition("/")[2] for place in places})
        self._ancestors = frozenset(parent for place in places for parent in _parents(place))
        self._shadowing = any(map(_real.exists, places))
        self._build = build
        self.needle = self._names[0] if len(self._names) == 1 and not self._shadowing else ""

    def end(self) -> None:
        """Look out for nothing more."""
        self._build, self.needle, self._names, self._places = None, "\0", (), ()
        self._ancestors = frozenset()

    def wake(self) -> None:
        """Build the mounts, once; other threads that touch one meanwhile wait for it.

        Raises:
            OSError: They cannot be built in this process at all.
        """
        if not self.on or get_ident() in self._inside:
            return
        with self._lock:
            build = self._build
            if build is None:  # another thread was faster
                return
            self._inside.add(get_ident())
            try:
                build()
            finally:
                self._inside.discard(get_ident())
            self.end()

    def concerns(self, path: Any, *, walk: bool = False) -> bool:
        """Whether *path* may be a mount point, or below or above one, as far as its text tells.

        Args:
            path: Any argument of a call; what is no path concerns nobody.
            walk: Also where ``..`` makes the text undecidable.
        """
        text = self._relevant(path)
        return bool(text) and (self._is_near(text, walk=walk) or (self._shadowing and self._is_near(self._real(text))))

    def explains(self, path: Any) -> bool:
        """Whether *path*, which the kernel did not find, may lead to a mount point all the same."""
        text = self._relevant(path)
        if not text:
            return False
        return self._is_near(text, walk=True) or (not _plainly_missing(text) and self._is_near(self._real(text)))

    def is_named_in(self, value: Any) -> bool:
        """Whether *value*, a path, a URI of SQLite or a list of them, may lead to a mount point."""
        if isinstance(value, (list, tuple)):
            return any(map(self.is_named_in, value))
        text = self._relevant(value)
        if text.startswith("file:"):
            return "%" in text or any(name in text for name in self._names)
        return self.concerns(text)

    def _relevant(self, path: Any) -> str:
        """*path* as text, if it is one and we are watching in this thread."""
        if self._build is None or get_ident() in self._inside:
            return ""
        text = _text(path)
        return "" if "\0" in text else text

    def _is_near(self, text: str, *, walk: bool = False) -> bool:
        if text[0] != "/":
            try:
                text = f"{_real.getcwd()}/{text}"
            except OSError:
                return False
        if "/.." in text:
            return walk or any(name in text for name in self._names)
        text = os.path.normpath("/" + text.lstrip("/"))
        return text in self._ancestors or f"{text}/".startswith(tuple(f"{place}/" for place in self._places))

    def _real(self, text: str) -> str:
        """*text* without links, as far as it is on disk."""
        self._inside.add(get_ident())  # realpath calls what we replaced
        try:
            return os.path.realpath(text)
        finally:
            self._inside.discard(get_ident())

    def before_fork(self) -> None:
        """Let a thread that builds finish: the child could not."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """In the parent: go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """In the child: take a new lock and forget the threads of the parent."""
        self._lock = RLock()
        self._inside &= {get_ident()}


WATCH = Watch()


class Slim(Replacement):
    __slots__ = ()

    def __call__(self, path: Any = _NOTHING, /, *rest: Any, **options: Any) -> Any:
        if path.__class__ is int or (path.__class__ is str and WATCH.needle not in path):
            try:
                return self.real(path, *rest, **options)
            except (FileNotFoundError, NotADirectoryError):
                if not WATCH.explains(path):
                    raise
            WATCH.wake()
            return self(path, *rest, **options)
        return _ask(self, path, rest, options)


def _ask(call: Any, path: Any, rest: tuple[Any, ...], options: dict[str, Any], *, walk: bool = False) -> Any:
    """Make the call, by the whole shim if any argument may lead to a mount point."""
    args = rest if path is _NOTHING else (path, *rest)
    texts = list(filter(None, map(_text, (*args, *options.values()))))
    bases = [_of_descriptor(value) for name, value in options.items() if name.endswith("dir_fd") and type(value) is int]
    texts += [f"{base}/{text}" for base in bases for text in texts if text[0] != "/"]
    if not any(WATCH.concerns(text, walk=walk) for text in texts):
        try:
            return call.real(*args, **options)
        except (FileNotFoundError, NotADirectoryError):
            if not any(map(WATCH.explains, texts)):
                raise
    WATCH.wake()
    # Either *call* is of another class now, or nothing concerns us any more.
    return call(*args, **options)


class SlimAccess(Replacement):
    # Says False where the others raise.
    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        granted = _ask(self, _NOTHING, args, options)
        if granted is False and is_slim(self):  # it may have become another meanwhile
            path = args[0] if args else options.get("path")
            if WATCH.explains(path):
                WATCH.wake()
                return self(*args, **options)
        return granted


class SlimList(Replacement):
    # Directories above a mount point show its name, so those must be recognised however they are spelled.
    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        path = args[0] if args else options.get("path")
        if path.__class__ is int:
            if WATCH.on and WATCH.concerns(_of_descriptor(path)):
                WATCH.wake()
                return self(*args, **options)
        elif path is None and WATCH.concerns("."):
            WATCH.wake()
            return self(*args, **options)
        return _ask(self, _NOTHING, args, options, walk=True)


class SlimPair(Replacement):
    # Several paths, or a call that changes what a directory above a mount point is.
    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _ask(self, _NOTHING, args, options, walk=True)


class SlimOther(Replacement):
    # No path: replaced for what descriptors and the working directory are once there is a mount.
    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.real(*args, **options)


class SlimNested(Replacement):
    # Paths within other arguments: a list of words, a URI. A look at the text decides.
    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        if WATCH.on and any(map(WATCH.is_named_in, (*args, *options.values()))):
            WATCH.wake()
            return self(*args, **options)
        return self.real(*args, **options)


class SlimExec(Replacement):
    # The last step of importing a C module: those whose names are replaced get theirs now.
    __slots__ = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        result = self.real(*args, **options)
        if WATCH.on:
            install()
        return result


_OS = ("os", "posix")

#: The names that the shim replaces (the test compares with its own table).
SLIM_NAMES: tuple[tuple[tuple[str, ...], str, type[Replacement]], ...] = (
    (("builtins", "io", "_io"), "open", Slim),
    (("io", "_io"), "open_code", Slim),
    *((_OS, name, Slim) for name in ("open", "stat", "lstat", "readlink", "statvfs", "pathconf", "getxattr", "chdir")),
    *((_OS, name, SlimOther) for name in ("fstat", "fstatvfs", "fchdir", "getcwd", "getcwdb", "dup", "dup2")),
    (_OS, "access", SlimAccess),
    *((_OS, name, SlimList) for name in ("listdir", "scandir")),
    *((_OS, name, SlimPair) for name in ("listxattr", "symlink", "link", "rename", "replace")),
    (("_imp",), "create_dynamic", SlimOther),
    *((("_imp",), name, SlimExec) for name in ("exec_dynamic", "exec_builtin")),
    (("_ctypes",), "dlopen", SlimNested),
    (("_sqlite3",), "connect", SlimNested),
    (("_posixsubprocess",), "fork_exec", SlimNested),
    *((_OS, name, SlimNested) for name in ("posix_spawn", "posix_spawnp", "execv", "execve")),
    *(
        (_OS, name, SlimPair)
        for name in (
            "mkdir", "mknod", "mkfifo", "unlink", "remove", "rmdir", "chmod", "chown", "lchown", "utime", "setxattr",
            "removexattr", "truncate", "fchmod", "fchown",
        )
    ),
)  # fmt: skip

#: What a bare interpreter, or setuptools' hook, has imported when we come; none of it keeps copies.
_BARE = frozenset(
    (
        "__future__", "__main__", "_abc", "_codecs", "_collections_abc", "_distutils_hack", "_frozen_importlib",
        "_frozen_importlib_external", "_imp", "_io", "_signal", "_sitebuiltins", "_stat", "_thread", "_warnings",
        "_weakref", "abc", "builtins", "codecs", "genericpath", "io", "linecache", "marshal", "os", "os.path", "posix",
        "posixpath", "pwd", "site", "sitecustomize", "stat", "sys", "time", "zipimport",
    )
)  # fmt: skip
_OURS_AND_CODECS = ("vfsoverlay", "encodings")

_SLIM = (Slim, SlimAccess, SlimList, SlimPair, SlimNested, SlimExec, SlimOther)


def install() -> None:
    """Put a ``Slim`` in the place of every original: by name, then wherever early modules have copied it to."""
    known: dict[int, Replacement] = {}
    for modules, name, kind in SLIM_NAMES:
        for module in filter(None, map(sys.modules.get, modules)):
            original = getattr(module, name, None)
            if original is None or issubclass(type(original), Likeness):
                continue
            slim = known.get(id(original))
            if slim is None:
                slim = known[id(original)] = kind(original, f"{modules[0]}:{name}")
            setattr(module, name, slim)
    # A .pth file may have imported anything (coverage's brings sqlite3, an editable package pathlib).
    if not _BARE.issuperset(name for name in sys.modules if not name.startswith(_OURS_AND_CODECS)):
        from vfsoverlay._patch.references import put, references

        for holder, name, value in list(references(known, _BARE)):
            put(holder, name, known[id(value)])


def is_slim(value: Any) -> bool:
    """Whether *value* is one of ours that has not become a replacement yet."""
    return type(value) in _SLIM


def become(slim: Replacement, replacement: Likeness) -> Likeness:
    """Let *slim* be what *replacement* is, for whoever holds it, and give the object to use from now on.

    That is *slim* itself, turned into another class. Where objects of that class have a different
    layout, it is *replacement*, which *slim* calls from now on.
    """
    kind = type(replacement)
    if kind.__basicsize__ != Replacement.__basicsize__:
        slim.real = replacement
        return replacement
    # The class attribute of that name is a property that shows the original's class.
    object.__dict__["__class__"].__set__(slim, kind)
    return slim


def _text(path: Any) -> str:
    """*path* as text; empty where it is no path."""
    if path.__class__ is str:
        return str(path)
    convert = getattr(type(path), "__fspath__", None)
    if convert is not None and not isinstance(path, (str, bytes)):
        path = convert(path)
    if isinstance(path, (bytes, bytearray)):
        return os.fsdecode(bytes(path))
    return path if isinstance(path, str) else ""


def _resolved(root: str) -> str:
    """*root* as the kernel sees it where its parents have links."""
    parent, _, name = root.rpartition("/")
    return os.path.realpath(parent or "/").rstrip("/") + "/" + name


def _parents(path: str) -> Iterable[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path or "/"


def _of_descriptor(fd: int) -> str:
    try:
        return _real.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _plainly_missing(text: str) -> bool:
    """Whether the parent of *text* is on disk and *text* is no dangling link: nothing of ours is meant then."""
    try:
        _real.readlink(text)
    except OSError:
        pass
    else:
        return False
    return _real.exists(text.rstrip("/").rpartition("/")[0] or ("/" if text[0] == "/" else "."))


os.register_at_fork(
    before=WATCH.before_fork, after_in_parent=WATCH.after_fork, after_in_child=WATCH.after_fork_in_child
)
