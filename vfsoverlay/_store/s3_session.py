"""One bucket as botocore sees it: its endpoint, its region, and signatures by the credentials of the moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from botocore.auth import AUTH_TYPE_MAPS
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from vfsoverlay._store.addressing import CHECK_ADDRESS, Endpoint, Signing, resolve
from vfsoverlay._store.aws_config import aws_session
from vfsoverlay._store.botocore_failures import told_as_failures
from vfsoverlay._store.connections import CONNECT_TIMEOUT
from vfsoverlay._store.credentials import CredentialChain
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.exchange import READ_TIMEOUT
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.s3_settings import Keys, S3Settings
from vfsoverlay._store.signer import SIGNED_BY_SIGNER, GetRequest, Signer

#: Directory buckets and access points to them: requests are signed with sessions, which botocore keeps.
DIRECTORY_BUCKETS: Final = ("--x-s3", "--xa-s3")
#: Multi-region access points: requests are signed for all regions, by Signature Version 4a.
_MULTI_REGION: Final = ".mrap"
#: What a bucket's requests may need, by the name of botocore's signer, and what to do where botocore has it not.
_WHERE_MISSING: Final = {
    "v4-s3express": ("a directory bucket needs botocore 1.33 or newer", "update botocore"),
    "s3v4a": (
        "a multi-region access point is signed by SigV4a, for which botocore needs awscrt",
        "pip install awscrt, or mount the access point of one region",
    ),
}


class S3Session:
    """One bucket as botocore sees it; safe to use from many threads.

    Args:
        bucket: Bucket name or access point ARN.
        settings: How S3 is reached.
        credentials: Who asks; default: found as the settings say.
    """

    def __init__(self, bucket: str, settings: S3Settings, *, credentials: CredentialChain | None = None) -> None:
        self.bucket = bucket
        self.settings = settings
        self.credentials = credentials or CredentialChain(settings)
        self._region = settings.region
        self._endpoint: Endpoint | None = None
        self._signing: Signing | None = None
        self._signer: Signer | None = None
        self._lock = threading.RLock()

    @property
    def is_directory_bucket(self) -> bool:
        """Whether it is one of S3 Express One Zone, or an access point to one."""
        return self.bucket.endswith(DIRECTORY_BUCKETS)

    # ------------------------------------------------------------------------------------- endpoint

    def endpoint(self) -> Endpoint:
        """Where requests go; raises ``Failure`` when botocore cannot tell."""
        with self._lock:
            if self._endpoint is None:
                self._endpoint, self._signing = self._resolve()
            return self._endpoint

    def follow(self, region: str, left: Endpoint) -> bool:
        """Go to *region*, where the bucket is said to be; False when the request was sent there, to *left*."""
        if region in ("", left.region):
            return False
        with self._lock:
            # Another thread may have gone there meanwhile.
            if self.endpoint().region != region:
                before = self._region, self._endpoint, self._signing
                self._region, self._endpoint = region, None
                try:
                    self.endpoint()
                except Failure:
                    # The answer of somebody else than S3: no region has such a name.
                    self._region, self._endpoint, self._signing = before
                    return False
        return True

    def _resolve(self) -> tuple[Endpoint, Signing]:
        return resolve(self._make_client(), self.bucket)

    def _needed_signer(self) -> str:
        """The name of the signature that the bucket's requests need; empty where it is the usual one."""
        if self.is_directory_bucket:
            return "v4-s3express"
        return "s3v4a" if self.bucket.endswith(_MULTI_REGION) else ""

    def _make_client(self) -> Any:
        settings, needed = self.settings, self._needed_signer()
        if needed and needed not in AUTH_TYPE_MAPS:
            told, next_step = _WHERE_MISSING[needed]
            raise Failure(Kind.REFUSED, told, next_step=next_step)
        # It sends nothing but CreateSession, which waits and is retried as our own requests are.
        own: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "retries": {"total_max_attempts": 1},
        }
        if not needed:
            # A version that is asked for would be taken in place of the one that other signers need.
            own["signature_version"] = SIGNED_BY_SIGNER
        session = aws_session(settings.profile, self._region)
        session.register_component("credential_provider", _Provider(self.credentials.keys))
        try:
            config = Config(**{**own, **settings.config})
        except TypeError as error:
            msg = f"storage_options, config_kwargs: {error}"
            raise TypeError(msg) from error
        with told_as_failures(Kind.REFUSED, "botocore cannot make a client", CHECK_ADDRESS):
            return session.create_client(
                "s3",
                region_name=self._region,
                endpoint_url=settings.endpoint_url,
                use_ssl=settings.use_ssl,
                config=config,
            )

    # ----------------------------------------------------------------------------------- signatures

    def signed(self, url: str, headers: dict[str, str], keys: Keys) -> dict[str, str]:
        """*headers* of a GET of *url*, with those that sign it by *keys*, which ``credentials.keys()`` gave."""
        with self._lock:
            if self._signing is None:
                self._signing = self._resolve()[1]
            signing = self._signing
        context = dict(signing.context)
        with told_as_failures(None, "the request could not be signed"):
            if signing.by_signer():
                request = GetRequest(url, dict(headers), context)
                self._signer_of(keys, signing).add_auth(request)
                return request.headers
            foreign = AWSRequest("GET", url, headers=headers)
            foreign.context = context
            signing.new_auth().add_auth(foreign)
        return dict(foreign.headers.items())

    def _signer_of(self, keys: Keys, signing: Signing) -> Signer:
        signer = self._signer
        service, region = signing.how["signing_name"], signing.how["region_name"]
        if signer is None or not signer.signs_for(keys, service, region):
            signer = self._signer = Signer(keys, service, region)
        return signer

    def renew(self, refused: Keys, left: Endpoint) -> bool:
        """Whether a request that was refused as expired, signed by *refused* and sent to *left*, may go once more."""
        found_others = self.credentials.look_again(refused)
        if not self.is_directory_bucket:
            return found_others
        # It may be the session that has expired, which botocore keeps with its client.
        with self._lock:
            # Another thread may have renewed it meanwhile.
            if self._endpoint is left:
                self._endpoint = self._signing = None
        return True

    # ---------------------------------------------------------------------------------------- rest

    def ca_bundle(self) -> str | bool | None:
        """Path of the certificate authorities to trust, False for none; None: botocore's own choice."""
        if self.settings.verify is not None:
            return self.settings.verify
        found = aws_session(self.settings.profile, self._region).get_config_variable("ca_bundle")
        return str(found) if found else None

    def after_fork(self) -> None:
        """Forget what holds a lock: the parent's threads that would release it are not here."""
        self._lock = threading.RLock()
        self._signing = None
        self.credentials.after_fork()


class _Provider:
    """Gives a client of botocore the credentials that *keys* tells at each signature, and not before."""

    def __init__(self, keys: Callable[[], Keys | None]) -> None:
        self._keys = keys

    def load_credentials(self) -> Credentials:
        """What botocore asks of a provider."""
        return _Current(self._keys)


class _Current(Credentials):  # type: ignore[misc]  # botocore has no types
    """The credentials of a mount, whichever they are now."""

    def __init__(self, keys: Callable[[], Keys | None]) -> None:
        super().__init__("unknown", "unknown")
        self._keys = keys

    def get_frozen_credentials(self) -> Any:
        """What botocore's signer asks for, each time."""
        return self._keys()
