"""Every exception a caller may catch, ordinary OSErrors that survive pickling, and the warning of strict mode.

    OSError
    └── VFSOverlayError             anything below; never raised itself
        ├── MountError              mount() could not be done; nothing was left behind
        │   ├── CannotAccessSource      .reason says why (see REASONS)
        │   ├── TooManyObjects          more objects than max_objects
        │   └── ObjectTooLarge          an object above max_object_size
        └── ReadError               an object could not be read
            ├── AccessDenied            also a PermissionError (EACCES)
            ├── ObjectArchived          also a PermissionError (EACCES)
            ├── StaleObject             ESTALE: the object changed or went away after it was listed
            ├── StoreUnavailable        EIO: the store kept failing until retries were used up, or offline=True
            │   └── ObjectDamaged           the bytes that came do not have the store's own checksum
            └── StoreTimeout            also a TimeoutError (ETIMEDOUT): the deadline passed

    Warning
    └── BypassWarning               strict mode: a call reached a path below a mount behind our back

Plain absence, wrong kinds and refused writes are plain OSErrors (FileNotFoundError,
NotADirectoryError, OSError(EROFS) ...), exactly as a read-only kernel mount raises them.
"""  # noqa: D214, D416 - a drawing, and no section

import errno

__all__ = [
    "REASONS",
    "AccessDenied",
    "BypassWarning",
    "CannotAccessSource",
    "MountError",
    "ObjectArchived",
    "ObjectDamaged",
    "ObjectTooLarge",
    "ReadError",
    "StaleObject",
    "StoreTimeout",
    "StoreUnavailable",
    "TooManyObjects",
    "VFSOverlayError",
]

#: What ``CannotAccessSource.reason`` may be, with the errno that goes with it.
REASONS: dict[str, int] = {
    "bucket-missing": errno.ENOENT,
    "access-denied": errno.EACCES,
    "no-credentials": errno.EACCES,
    "expired-token": errno.EACCES,
    "invalid-credentials": errno.EACCES,
    "clock-skew": errno.EACCES,
    "wrong-region": errno.EREMCHG,
    "unreachable": errno.ECONNREFUSED,
    "tls": errno.EPROTO,
    "timeout": errno.ETIMEDOUT,
    "offline": errno.ENETDOWN,
    "failed": errno.EIO,
}


class VFSOverlayError(OSError):
    """Base of all exceptions of this package; an OSError with errno and strerror."""


class MountError(VFSOverlayError):
    """``mount()`` failed before any user code ran, and nothing stays patched."""


class CannotAccessSource(MountError):
    """The source cannot be listed; ``reason`` is one of the keys of ``REASONS``."""

    reason: str = "failed"

    @classmethod
    def because(cls, reason: str, message: str) -> "CannotAccessSource":
        """Make the error for *reason* (a key of ``REASONS``) with the errno that belongs to it."""
        error = cls(REASONS[reason], message)
        error.reason = reason
        return error


class TooManyObjects(MountError):
    """The prefix holds more objects than ``max_objects`` (errno EFBIG)."""


class ObjectTooLarge(MountError):
    """An object is larger than ``max_object_size`` (errno EFBIG); ``key`` and ``size`` name it."""

    key: str = ""
    size: int = 0


class ReadError(VFSOverlayError):
    """An object below a mount could not be read; the cause is kept in ``__cause__``."""


class AccessDenied(ReadError, PermissionError):
    """The store refused the request (HTTP 403) although the object was listed (EACCES)."""


class ObjectArchived(ReadError, PermissionError):
    """The object lies in an archived storage class and must be restored first (EACCES)."""


class StaleObject(ReadError):
    """The object is no longer the version that was listed or opened (ESTALE)."""


class StoreUnavailable(ReadError):
    """The store failed on every attempt, or a mount is offline and has not cached the object (EIO); says which."""


class ObjectDamaged(StoreUnavailable):
    """The bytes of a whole object do not have the checksum the store sent with them (EIO); none may be kept."""


class StoreTimeout(ReadError, TimeoutError):
    """The deadline of the operation passed (ETIMEDOUT)."""


class BypassWarning(Warning):
    """Strict mode: a call reached a path below a mount behind our back; names the audit event and the path."""
