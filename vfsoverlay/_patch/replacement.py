"""What stands in for a builtin: a callable that looks, compares, pickles and binds like the original."""

from __future__ import annotations

# Children load this at every start: nothing heavy, typing included, is imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Call = TypeVar("Call", bound=Callable[..., Any])


def told_as(name: str) -> Callable[[Call], Call]:
    """A decorator of a call that stands in for *name*: TypeErrors about its arguments begin with that."""

    def named(call: Call) -> Call:
        call.__qualname__ = name
        return call

    return named


def copied_as(name: str, call: Any) -> Any:
    """What *call* does, as *name*."""
    copy = type(call)(call.__code__, call.__globals__, name, call.__defaults__, call.__closure__)
    copy.__kwdefaults__ = call.__kwdefaults__
    return told_as(name)(copy)


class Likeness:
    # No docstring, and properties where a function has attributes: help(), inspect and users see
    # the original's. An instance of a class without __get__ does not bind when it is stored as a
    # class attribute, which is how builtins behave and plain functions do not (python bug shape:
    # ``class C: open = io.open``).
    __slots__ = ()

    #: The original.
    real: Any
    #: "module:name", where pickles find it in a process without us.
    home: str

    def __init_subclass__(cls) -> None:
        # Every class statement sets these two anew.
        cls.__doc__ = _DOC  # type: ignore[assignment]
        cls.__module__ = _MODULE  # type: ignore[assignment]

    # isinstance(os.stat, types.BuiltinFunctionType) and inspect.isbuiltin() ask this.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.real)

    # __name__, __qualname__, __self__, __text_signature__ (which inspect.signature reads) and the like.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __repr__(self) -> str:
        return repr(self.real)

    # Equal to the original and with its hash, so that ``os.stat in os.supports_dir_fd`` stays true.
    def __eq__(self, other: object) -> bool:
        return self is other or self.real == other

    def __hash__(self) -> int:
        return hash(self.real)

    def __reduce__(self) -> Any:
        from pkgutil import resolve_name

        return resolve_name, (self.home,)

    def __copy__(self) -> Likeness:
        return self

    def __deepcopy__(self, memo: Any) -> Likeness:
        return self


_DOC = property(lambda self: self.real.__doc__)
_MODULE = property(lambda self: self.real.__module__)
Likeness.__doc__ = _DOC  # type: ignore[assignment]


class Replacement(Likeness):
    # Answers by itself. A weak reference to a builtin can be had, so one to this as well.
    __slots__ = ("__weakref__", "home", "real")

    #: How a dispatcher in C may tell that a call is foreign (see ``quick``); 0: in no way.
    rule = 0

    def __init__(self, real: Any, home: str) -> None:
        self.real = real
        self.home = home
