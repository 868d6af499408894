"""Who asks: the credentials that botocore's chain finds, renewed before they expire, found anew when refused."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from vfsoverlay._store.aws_config import aws_session
from vfsoverlay._store.botocore_failures import told_as_failures
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.s3_settings import Keys, S3Settings

#: Seconds to look for an instance metadata service. On EC2 it answers within a millisecond; elsewhere the address may
#: swallow packets, and botocore would wait for seconds.
_METADATA_PROBE: Final = 0.25
_METADATA_ADDRESS: Final = "http://169.254.169.254/"
_INSTANCE_ROLE: Final = "iam-role"
#: Seconds after a renewal or a search that failed until the next: each may take long, and every request would wait.
_TRIED_AGAIN: Final = 10.0
#: What is told where a link of the chain should give credentials and does not, and the next step.
_CANNOT_BE_HAD: Final = (
    "the configured credentials could not be had",
    "mend what the AWS configuration names, or mount with anon=True",
)


class CredentialChain:
    """The credentials that requests are signed with; safe to use from many threads.

    Args:
        settings: Who is said to ask.
        reachable: Whether something listens at a metadata service's URL; a seam for tests, like *now*.
        now: Seconds on a clock that is never set back.
    """

    def __init__(
        self,
        settings: S3Settings,
        *,
        reachable: Callable[[str], bool] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._reachable = reachable or _listens
        self._now = now
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._found: Any = None
        self._looked = False
        self._failed = False
        # What was used last, and when to try once more what failed.
        self._last: Keys | None = None
        self._try_at = self._now() + _TRIED_AGAIN

    def keys(self) -> Keys | None:
        """The credentials to sign with now, renewed when they are about to expire; None: sign nothing.

        Raises ``Failure`` where they should be there and cannot be had.
        """
        if self._settings.anon:
            return None
        if self._settings.keys is not None:
            return self._settings.keys
        with self._lock:
            if not self._looked:
                self._found = self._find()
                self._looked = True
            found, last = self._found, self._last
        if found is None:
            return None
        if last is not None and self._failed and self._now() < self._try_at:
            return last
        return self._renewed(found, last)

    def _renewed(self, found: Any, last: Keys | None) -> Keys:
        """The keys of *found*. Renewal begins minutes before they expire, so where it fails, the *last* ones may do."""
        try:
            with told_as_failures(Kind.NO_CREDENTIALS, *_CANNOT_BE_HAD):
                frozen = found.get_frozen_credentials()
        except Failure:
            if last is None:
                raise
            # Should they have expired, S3 refuses them, and ``look_again`` begins anew.
            self._failed, self._try_at = True, self._now() + _TRIED_AGAIN
            return last
        self._failed = False
        keys = self._last = Keys(frozen.access_key, frozen.secret_key, frozen.token or "")
        return keys

    def found_by(self) -> str:
        """Which link of botocore's chain gave the credentials; empty where there are none. Fails as ``keys``."""
        if self.keys() is None:
            return ""
        return getattr(self._found, "method", None) or "storage_options"

    def look_again(self, refused: Keys | None) -> bool:
        """Whether there are other credentials than those *refused* as expired; runs the chain anew to find them."""
        if self._settings.keys is not None or self._settings.anon:
            return False
        with self._lock:
            if self._last == refused:
                self._forget()
            return self.keys() not in (refused, None)

    def appeared(self) -> bool:
        """Whether there are credentials now, where there were none: a metadata service may have been too busy."""
        if self._settings.anon is not None:
            return False
        with self._lock:
            if self._looked and self._found is None and self._now() >= self._try_at:
                self._forget()
            return self.keys() is not None

    def after_fork(self) -> None:
        """Forget what holds a lock: the parent's threads that would release it are not here."""
        self._lock = threading.RLock()
        self._forget()

    def _find(self) -> Any:
        session = self._session()
        chain = session.get_component("credential_provider")
        with told_as_failures(Kind.NO_CREDENTIALS, *_CANNOT_BE_HAD):
            if self._settings.anon is False:
                return chain.load_credentials()
            chain.remove(_INSTANCE_ROLE)
            found = chain.load_credentials()
            if found is None and self._has_instance_metadata(session):
                found = self._session().get_component("credential_provider").load_credentials()
        return found

    def _session(self) -> Any:
        return aws_session(self._settings.profile, self._settings.region)

    def _has_instance_metadata(self, session: Any) -> bool:
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return False
        return self._reachable(session.get_config_variable("ec2_metadata_service_endpoint") or _METADATA_ADDRESS)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or 80), _METADATA_PROBE).close()
    except OSError:
        return False
    return True
