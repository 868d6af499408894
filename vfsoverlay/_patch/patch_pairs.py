"""The calls of ``os`` with two paths: rename, replace, link and symlink."""

from __future__ import annotations

import os
import sys
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch.dispatch import STATE, answer, found_after_all, locate, text_of
from vfsoverlay._patch.replacement import Replacement
from vfsoverlay._vfs import refusals
from vfsoverlay._vfs.location import Foreign, Location

_state = STATE


def _surely_foreign(path: Any) -> bool:
    return (
        path.__class__ is str
        and _state.needle not in path
        and (_state.quiet or _state.foreign_text(path))
        and not path.endswith(_state.tails)
    )


def _both(
    source: Any, target: Any, source_fd: Any, target_fd: Any, *, follow: bool
) -> tuple[Location | Foreign | None, Location | Foreign | None]:
    """What the two paths are; an error of the walk names both, as the kernel's errors do."""
    try:
        return locate(source, source_fd, follow=follow), locate(target, target_fd, follow=False)
    except OSError as error:
        error.filename, error.filename2 = source, target
        raise


def _text(path: Any, place: Location | Foreign | None) -> Any:
    return place.path if isinstance(place, Foreign) else path


class Rename(Replacement):
    __slots__ = ()

    def __call__(self, src: Any, dst: Any, *, src_dir_fd: Any = None, dst_dir_fd: Any = None) -> Any:
        if _surely_foreign(src) and _surely_foreign(dst):
            try:
                return self.real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            except FileNotFoundError:
                places = found_after_all(src, src_dir_fd, follow=False), found_after_all(dst, dst_dir_fd, follow=False)
                if places == (None, None):
                    raise
        try:
            source, target = text_of(src), text_of(dst)
            places = _both(source, target, src_dir_fd, dst_dir_fd, follow=False)  # type: ignore[assignment]
            if any(isinstance(place, Location) for place in places):
                sys.audit("os.rename", src, dst, *_numbers(src_dir_fd, dst_dir_fd))
                ends = tuple(place or Foreign(None) for place in places)
                return answer(refusals.rename, *ends, (source, target))
            return self.real(
                _text(source, places[0]), _text(target, places[1]), src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd
            )
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - the same exception, without our inner frames


class Link(Replacement):
    __slots__ = ()

    def __call__(
        self,
        src: Any,
        dst: Any,
        *,
        src_dir_fd: Any = None,
        dst_dir_fd: Any = None,
        follow_symlinks: Any = True,
    ) -> Any:
        rest = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd, "follow_symlinks": follow_symlinks}
        if _surely_foreign(src) and _surely_foreign(dst):
            return self.real(src, dst, **rest)
        try:
            source, target = text_of(src), text_of(dst)
            places = _both(source, target, src_dir_fd, dst_dir_fd, follow=bool(follow_symlinks))
            if not any(isinstance(place, Location) for place in places):
                return self.real(_text(source, places[0]), _text(target, places[1]), **rest)
            sys.audit("os.link", src, dst, *_numbers(src_dir_fd, dst_dir_fd))
            return self._refuse(places, source, target, src_dir_fd, dst_dir_fd)
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above

    def _refuse(self, places: Any, source: Any, target: Any, source_fd: Any, target_fd: Any) -> Any:
        old, new = (place or Foreign(None) for place in places)
        if isinstance(old, Foreign):
            # The kernel looks at the old name first; its own error is the right one.
            _real.lstat(_text(source, old)) if source_fd is None else os.stat(source, dir_fd=source_fd)
        exists = new.node is not None if isinstance(new, Location) else _lexists(_text(target, new), target_fd)
        return answer(refusals.link, old, new, (source, target), target_exists=exists)


def _lexists(path: Any, dir_fd: Any) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except (OSError, ValueError):
        return False
    return True


class Symlink(Replacement):
    __slots__ = ()

    def __call__(self, src: Any, dst: Any, target_is_directory: Any = False, *, dir_fd: Any = None) -> Any:
        place: Any = None
        if _surely_foreign(dst) and dir_fd is None:
            try:
                return self.real(src, dst, target_is_directory)
            except FileNotFoundError:
                place = found_after_all(dst, follow=False)
                if place is None:
                    raise
        try:
            target = text_of(dst)
            if place is None:
                (place,) = _both(target, "", dir_fd, None, follow=False)[:1]
            if not isinstance(place, Location):
                return self.real(src, _text(target, place), target_is_directory, dir_fd=dir_fd)
            sys.audit("os.symlink", src, dst, -1 if dir_fd is None else dir_fd)
            return answer(_refuse_symlink, place, text_of(src))
        except (OSError, ValueError, TypeError) as error:
            raise error.with_traceback(None)  # noqa: B904 - as above


def _refuse_symlink(place: Location, source: Any) -> None:
    try:
        refusals.create(place)
    except OSError as error:
        error.filename, error.filename2 = source, place.spelled
        raise


def _numbers(*descriptors: Any) -> list[Any]:
    return [-1 if fd is None else fd for fd in descriptors]
