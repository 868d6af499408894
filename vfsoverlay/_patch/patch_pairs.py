"""The calls of ``os`` with two paths: rename, replace, link and symlink."""

from __future__ import annotations

import os
import stat
import sys
from typing import Any

from vfsoverlay import _real
from vfsoverlay._patch.dispatch import STATE, TAKEN_BUFFERS, answer, found_after_all, locate, text_of, trimmed
from vfsoverlay._patch.replacement import Replacement, copied_as, told_as
from vfsoverlay._vfs import refusals
from vfsoverlay._vfs.location import Failed, Foreign, Location

_state = STATE


def _surely_foreign(path: Any) -> bool:
    return (
        path.__class__ is str
        and _state.needle not in path
        and (_state.quiet or _state.foreign_text(path))
        and not path.endswith(_state.edges)
    )


def _has_nul(path: Any) -> bool:
    """Whether the real call will refuse *path* before anything else; so it does what is no path at all."""
    if isinstance(path, (str, bytes, *TAKEN_BUFFERS)):
        return ("\0" if isinstance(path, str) else b"\0") in path  # type: ignore[operator]
    return True


def _entry(path: Any, dir_fd: Any) -> Any:
    """The directory entry that *path* names, where it may be ours although the kernel does not see that."""
    if isinstance(path, int):
        return None
    return locate(path, dir_fd, entry=True) or found_after_all(path, dir_fd, entry=True)


def _text(path: Any, place: Any) -> Any:
    if not isinstance(place, Foreign):
        return path
    return os.fsencode(place.path or "") if isinstance(path, (bytes, bytearray)) else place.path


def _raise_failed(places: tuple[Any, Any], spelled: tuple[Any, Any]) -> None:
    """An error of a walk names both paths, as the kernel's errors do."""
    for place in places:
        if isinstance(place, Failed):
            code = place.error.errno or 0
            raise OSError(code, os.strerror(code), spelled[0], None, spelled[1])


def _with_spelling(call: Any, places: tuple[Any, Any], spelled: tuple[Any, Any], **rest: Any) -> Any:
    """Run the real *call* with spellings that the kernel understands; errors carry the caller's own."""
    if not any(isinstance(place, Foreign) for place in places):
        return call(*spelled, **rest)
    try:
        return call(_text(spelled[0], places[0]), _text(spelled[1], places[1]), **rest)
    except OSError as error:
        error.filename, error.filename2 = spelled
        raise


def _kind(path: Any, place: Any, dir_fd: Any) -> bool | None:
    """Whether a directory lies there; None where nothing does."""
    if isinstance(place, Location):
        return None if place.node is None else place.is_directory
    try:
        text: Any = _text(path, place)
        text = bytes(text) if isinstance(text, TAKEN_BUFFERS) else text
        text = text.rstrip(b"/" if isinstance(text, bytes) else "/") or text
        return stat.S_ISDIR(_real.stat(text, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except (OSError, ValueError):
        return None


class Rename(Replacement):
    __slots__ = ()

    @told_as("rename")
    def __call__(self, src: Any, dst: Any, *, src_dir_fd: Any = None, dst_dir_fd: Any = None) -> Any:
        places: tuple[Any, Any] = (None, None)
        event = True
        if _surely_foreign(src) and _surely_foreign(dst):
            try:
                return self.real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            except FileNotFoundError:
                places = _entry(src, src_dir_fd), _entry(dst, dst_dir_fd)
                if places == (None, None):
                    raise
            event = False
        try:
            source, target = text_of(src), text_of(dst)
            if event:
                places = _entry(source, src_dir_fd), _entry(target, dst_dir_fd)
            nul = _has_nul(source) or _has_nul(target)
            if nul or not any(isinstance(place, (Location, Failed)) for place in places):
                fds = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd}
                return _with_spelling(self.real, places, (source, target), **fds)
            if event:
                sys.audit("os.rename", source, target, *_numbers(src_dir_fd, dst_dir_fd))
            _check_parents(places, (source, target), (src_dir_fd, dst_dir_fd))
            if all(isinstance(place, Location) and place.is_root for place in places) and places[0][0] is places[1][0]:
                return None  # two names of one thing: nothing is to be done
            kinds = _kind(source, places[0], src_dir_fd), _kind(target, places[1], dst_dir_fd)
            ends = [place or Foreign(None) for place in places]
            return answer(refusals.rename, *ends, (source, target), kinds)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames


class Replace(Rename):
    __slots__ = ()
    __call__ = copied_as("replace", Rename.__call__)


def _check_parents(places: tuple[Any, Any], spelled: tuple[Any, Any], descriptors: tuple[Any, Any]) -> None:
    """Both directories must be there before anything else is looked at."""
    for path, place, dir_fd in zip(spelled, places, descriptors, strict=True):
        if isinstance(place, Failed):
            _raise_failed((place, None), spelled)
        if not isinstance(place, Location):
            _check_real_parent(_text(path, place), dir_fd, spelled)


def _check_real_parent(path: Any, dir_fd: Any, spelled: tuple[Any, Any]) -> None:
    text = path if isinstance(path, str) else os.fsdecode(bytes(path))
    head = text.rstrip("/").rpartition("/")[0]
    try:
        # A slash behind it: the parent must be a directory, and so must "" be there.
        _real.stat(f"{head or ('' if text[:1] == '/' else '.')}/", dir_fd=dir_fd)
        if not text:
            _real.stat("")
    except OSError as error:
        raise OSError(error.errno, error.strerror, spelled[0], None, spelled[1]) from None


class Link(Replacement):
    __slots__ = ()

    @told_as("link")
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
        places: tuple[Any, Any] = (None, None)
        event = True
        # CPython calls link(2) where it can, and that does not follow, whatever follow_symlinks says.
        follow = bool(follow_symlinks) and (src_dir_fd is not None or dst_dir_fd is not None)
        if _surely_foreign(src) and _surely_foreign(dst):
            try:
                return self.real(src, dst, **rest)
            except FileNotFoundError:
                places = found_after_all(src, src_dir_fd, follow=follow), _entry(dst, dst_dir_fd)
                if places == (None, None):
                    raise
            event = False
        try:
            source, target = text_of(src), text_of(dst)
            if event:
                old = locate(source, src_dir_fd, follow=follow) or found_after_all(source, src_dir_fd, follow=follow)
                places = old, _entry(target, dst_dir_fd)
            nul = _has_nul(source) or _has_nul(target)
            if nul or not any(isinstance(place, (Location, Failed)) for place in places):
                return _with_spelling(self.real, places, (source, target), **rest)
            if event:
                sys.audit("os.link", source, target, *_numbers(src_dir_fd, dst_dir_fd))
            return _refuse_link(places, (source, target), (src_dir_fd, dst_dir_fd))
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


def _refuse_link(places: tuple[Any, Any], spelled: tuple[Any, Any], descriptors: tuple[Any, Any]) -> Any:
    old, new = places
    if isinstance(old, Failed):
        _raise_failed((old, None), spelled)
    if not isinstance(old, Location):
        # The kernel looks at the old name first; its own error is the right one.
        try:
            _real.stat(_text(spelled[0], old), dir_fd=descriptors[0], follow_symlinks=False)
        except OSError as error:
            raise OSError(error.errno, error.strerror, spelled[0], None, spelled[1]) from None
        old = Foreign(None)
    elif old.node is None or (old.slash and not old.is_directory):
        answer(refusals.link, old, Foreign(None), spelled, target_exists=False)
    if isinstance(new, Failed):
        _raise_failed((None, new), spelled)
    if not isinstance(new, Location):
        _check_real_parent(_text(spelled[1], new), descriptors[1], spelled)
    exists = _kind(spelled[1], new, descriptors[1]) is not None
    return answer(refusals.link, old, new or Foreign(None), spelled, target_exists=exists)


class Symlink(Replacement):
    __slots__ = ()

    @told_as("symlink")
    def __call__(self, src: Any, dst: Any, target_is_directory: Any = False, *, dir_fd: Any = None) -> Any:
        place: Any = None
        event = True
        if _surely_foreign(dst) and dir_fd is None:
            try:
                return self.real(src, dst, target_is_directory)
            except FileNotFoundError:
                place = _entry(dst, None)
                if place is None:
                    raise
            event = False
        try:
            source, target = text_of(src), text_of(dst)
            if place is None:
                place = _entry(target, dir_fd)
            if not isinstance(place, (Location, Failed)):
                rest = {"target_is_directory": target_is_directory, "dir_fd": dir_fd}
                return _with_spelling(self.real, (None, place), (source, target), **rest)
            if event:
                sys.audit("os.symlink", source, target, *_numbers(dir_fd))
            if not source or _has_nul(source):
                # The kernel refuses an empty target before it looks at the new name.
                return self.real(source, target, target_is_directory, dir_fd=dir_fd)
            _raise_failed((None, place), (source, target))
            return answer(_refuse_symlink, place, source)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above


def _refuse_symlink(place: Location, source: Any) -> None:
    try:
        refusals.create(place)
    except OSError as error:
        # Constructed anew: the second name belongs to the arguments, not only to the attributes.
        raise OSError(error.errno, error.strerror, source, None, place.spelled) from None


def _numbers(*descriptors: Any) -> list[Any]:
    return [-1 if fd is None else fd for fd in descriptors]
