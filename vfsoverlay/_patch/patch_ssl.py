"""The loading methods of ``ssl.SSLContext``: OpenSSL opens the files by itself."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vfsoverlay._patch.dispatch import trimmed
from vfsoverlay._patch.local_copies import copy_of

if TYPE_CHECKING:
    from collections.abc import Callable


def load_cert_chain(real: Callable[..., None]) -> Callable[..., None]:
    """``SSLContext.load_cert_chain`` with local copies of files below a mount."""

    def load_cert_chain(self: Any, /, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        try:
            with ExitStack() as copies:
                real(self, _local(certfile, copies), _local(keyfile, copies), password)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - the same exception, without our inner frames

    return load_cert_chain


def load_verify_locations(real: Callable[..., None]) -> Callable[..., None]:
    """``SSLContext.load_verify_locations``, the same for ``cafile``; directories (``capath``) are not served."""

    def load_verify_locations(self: Any, /, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        try:
            with ExitStack() as copies:
                real(self, _local(cafile, copies), capath, cadata)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raise trimmed(error)  # noqa: B904 - as above

    return load_verify_locations


def _local(path: Any, copies: ExitStack) -> Any:
    """A local copy, pinned as long as *copies* is open, of a file of ours; any other path as it is."""
    copy = copy_of(path)
    return path if copy is None else str(copies.enter_context(copy))
