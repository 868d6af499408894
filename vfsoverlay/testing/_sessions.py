"""Sessions of directory buckets (S3 Express One Zone): temporary keys that sign requests for their objects."""

from __future__ import annotations

import secrets
import threading
from typing import Final

from vfsoverlay.testing._errors import S3Error
from vfsoverlay.testing._object_writes import NAMESPACE
from vfsoverlay.testing._objects import iso_date
from vfsoverlay.testing._sigv4 import Credentials, Signature

#: What the names of directory buckets end in.
SUFFIX: Final = "--x-s3"
#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateSession.html
_SECONDS: Final = 300


class Sessions:
    """The sessions of a server that are, or were, in force."""

    def __init__(self) -> None:
        self.credentials: dict[str, Credentials] = {}
        """By access key; requests are verified with these as well."""
        self._buckets: dict[str, str] = {}
        self._lock = threading.Lock()

    def create(self, bucket: str, signature: Signature | None, now: float) -> bytes:
        """The answer to CreateSession."""
        if signature is None or signature.credentials.access_key in self._buckets:
            raise S3Error("AccessDenied")
        made = Credentials(
            f"SESSION{secrets.token_hex(6)}", secrets.token_hex(20), secrets.token_hex(20), now + _SECONDS,
            signature.credentials.actions,
        )  # fmt: skip
        with self._lock:
            self._buckets[made.access_key] = bucket
            self.credentials = {**self.credentials, made.access_key: made}
        return (
            f"<CreateSessionResult {NAMESPACE}><Credentials><SessionToken>{made.session_token}</SessionToken>"
            f"<SecretAccessKey>{made.secret_key}</SecretAccessKey><AccessKeyId>{made.access_key}</AccessKeyId>"
            f"<Expiration>{iso_date(now + _SECONDS)}</Expiration></Credentials></CreateSessionResult>"
        ).encode()

    def check(self, bucket: str, signature: Signature | None) -> None:
        """Refuse a request for *bucket* that is not signed with a session of it."""
        if signature is None or self._buckets.get(signature.credentials.access_key) != bucket:
            raise S3Error("AccessDenied")
