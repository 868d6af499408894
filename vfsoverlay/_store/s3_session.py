"""Who asks and whom: credentials, endpoint, region, addressing and signatures of one bucket, all botocore's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.auth import AUTH_TYPE_MAPS
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, ProfileNotFound
from botocore.loaders import create_loader

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind, kind_of
from vfsoverlay._store.s3_settings import Keys, S3Settings
from vfsoverlay._store.signer import SIGNED_BY_SIGNER, GetRequest, Signer

#: Seconds to look for an instance metadata service. On EC2 it answers within a millisecond; elsewhere the address may
#: swallow packets, and botocore would wait for seconds.
_METADATA_PROBE: Final = 0.25
_METADATA_ADDRESS: Final = "http://169.254.169.254/"
_INSTANCE_ROLE: Final = "iam-role"
#: Directory buckets and access points to them: requests are signed with sessions, which botocore keeps.
DIRECTORY_BUCKETS: Final = ("--x-s3", "--xa-s3")
#: Multi-region access points: requests are signed for all regions, by Signature Version 4a.
_MULTI_REGION: Final = ".mrap"
#: What a bucket's requests may need, by the name of botocore's signer, and what to do where botocore has it not.
_WHERE_MISSING: Final = {
    "v4-s3express": "a directory bucket needs botocore 1.33 or newer: update botocore",
    "s3v4a": "a multi-region access point is signed by SigV4a, for which botocore needs awscrt: pip install awscrt, or "
    "mount the access point of one region",
}
#: Not that of one operation: what knows the sessions of directory buckets listens here, and must come first.
_BEFORE_SIGN: Final = "before-sign.s3"
#: What a request's signing context may say, and the argument of ``RequestSigner.get_auth_instance`` that it is.
_SIGNING_ARGUMENTS: Final = {
    "region": "region_name",
    "signing_name": "signing_name",
    "identity_cache": "identity_cache",
    "cache_key": "cache_key",
}


class Endpoint(NamedTuple):
    """Where the requests for one bucket go."""

    url: str
    """Scheme, host and port."""
    path: str
    """Path of the bucket: ``/`` (virtual host) or ``/bucket/`` (path style)."""
    region: str
    """The region that a signature names."""

    @property
    def host(self) -> str:
        """The Host header."""
        return urlsplit(self.url).netloc


class Signing(NamedTuple):
    """How botocore signs the requests for one bucket: SigV4, SigV4a, or with the session of a directory bucket."""

    client: Any
    """What all of it belongs to: without the client, its signer is of no use."""
    new_auth: Callable[[], Any]
    """Makes botocore's signer of the credentials as they are now."""
    how: dict[str, Any]
    """Signature version, region and service, by the names that botocore gives these arguments."""
    context: dict[str, Any]
    """What the signer must know of a request."""

    def by_signer(self) -> bool:
        """Whether it is the one that ``Signer`` gives; sessions and SigV4a are left to botocore."""
        return bool(self.how["signature_version"] == SIGNED_BY_SIGNER)


class S3Session:
    """botocore's view of one bucket; safe to use from many threads.

    Args:
        bucket: Bucket name or access point ARN.
        settings: How S3 is reached.
        reachable: Whether something listens at a metadata service's URL; a seam for tests.
    """

    def __init__(self, bucket: str, settings: S3Settings, *, reachable: Callable[[str], bool] | None = None) -> None:
        self.bucket = bucket
        self.settings = settings
        self._reachable = reachable or _listens
        self._region = settings.region
        self._endpoint: Endpoint | None = None
        self._signing: Signing | None = None
        self._signer: Signer | None = None
        self._credentials: Any = None
        self._looked_for_credentials = False
        self._lock = threading.RLock()

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
                self._region, self._endpoint = region, None
        return True

    def signed(self, url: str, headers: dict[str, str], keys: Keys) -> dict[str, str]:
        """*headers* of a GET of *url*, with those that sign it by *keys*, which ``keys()`` gave."""
        with self._lock:
            if self._signing is None:
                self._signing = self._resolve()[1]
            signing = self._signing
        context = dict(signing.context)
        with _told_as_failures():
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

    def _needed_signer(self) -> str:
        """The name of the signature that the bucket's requests need; empty where it is the usual one."""
        if self.bucket.endswith(DIRECTORY_BUCKETS):
            return "v4-s3express"
        return "s3v4a" if self.bucket.endswith(_MULTI_REGION) else ""

    def _resolve(self) -> tuple[Endpoint, Signing]:
        """A listing as botocore would send it, caught before it is signed: it shows host, style, region and signer.

        (A presigned URL would not do: botocore sends those to the global endpoint.)
        """
        client = self._make_client()
        client.meta.events.register_last(_BEFORE_SIGN, _catch)
        with _told_as_failures():
            try:
                client.list_objects_v2(Bucket=self.bucket)
            except _Caught as caught:
                request, new_auth, how = caught.args
        client.meta.events.unregister(_BEFORE_SIGN, _catch)
        url = urlsplit(request.url)
        endpoint = Endpoint(f"{url.scheme}://{url.netloc}", f"{url.path.rstrip('/')}/", how["region_name"])
        return endpoint, Signing(client, new_auth, how, request.context)

    def _make_client(self) -> Any:
        settings, needed = self.settings, self._needed_signer()
        if needed and needed not in AUTH_TYPE_MAPS:
            raise Failure(Kind.REFUSED, _WHERE_MISSING[needed])
        # A version that is asked for would be taken in place of the one that these need.
        version = {} if needed else {"signature_version": SIGNED_BY_SIGNER}
        config = Config(**{**version, **settings.config})
        session = self._botocore()
        session.register_component("credential_provider", _Provider(self.keys))
        try:
            return session.create_client(
                "s3",
                region_name=self._region,
                endpoint_url=settings.endpoint_url,
                use_ssl=settings.use_ssl,
                config=config,
            )
        except (BotoCoreError, ValueError) as error:
            raise Failure(Kind.REFUSED, f"botocore cannot make a client: {error}") from error

    # ---------------------------------------------------------------------------------- credentials

    def keys(self) -> Keys | None:
        """The credentials to sign with now, refreshed when they are about to expire; None: sign nothing."""
        if self.settings.anon:
            return None
        if self.settings.keys is not None:
            return self.settings.keys
        with self._lock:
            if not self._looked_for_credentials:
                self._credentials = self._find_credentials()
                self._looked_for_credentials = True
            credentials = self._credentials
        if credentials is None:
            return None
        try:
            frozen = credentials.get_frozen_credentials()
        except ClientError as error:
            raise _refusal(error) from error
        except BotoCoreError as error:
            raise Failure(Kind.EXPIRED, f"the credentials could not be renewed: {error}") from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    def found_by(self) -> str:
        """Which link of botocore's chain gave the credentials; empty where there are none. Fails as ``keys``."""
        if self.keys() is None:
            return ""
        return getattr(self._credentials, "method", None) or "storage_options"

    def look_again(self, refused: Keys | None) -> bool:
        """Whether there are other credentials than those *refused* as expired; runs the chain anew to find them."""
        if self.settings.keys is not None or self.settings.anon:
            return False
        with self._lock:
            if self.keys() == refused:
                self._looked_for_credentials = False
            return self.keys() not in (refused, None)

    def _find_credentials(self) -> Any:
        session = self._botocore()
        chain = session.get_component("credential_provider")
        try:
            if self.settings.anon is False:
                return chain.load_credentials()
            chain.remove(_INSTANCE_ROLE)
            found = chain.load_credentials()
            if found is None and self._has_instance_metadata(session):
                found = self._botocore().get_component("credential_provider").load_credentials()
        except ClientError as error:
            raise _refusal(error) from error
        except BotoCoreError as error:
            raise Failure(Kind.NO_CREDENTIALS, f"the configured credentials could not be had: {error}") from error
        return found

    def _has_instance_metadata(self, session: Any) -> bool:
        import os

        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return False
        return self._reachable(session.get_config_variable("ec2_metadata_service_endpoint") or _METADATA_ADDRESS)

    def _botocore(self) -> Any:
        try:
            session = botocore.session.Session(profile=self.settings.profile)
            session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
            if self._region is not None:
                # Roles are assumed in a region, too.
                session.set_config_variable("region", self._region)
            # The profile is looked up late; ask for it where the error can be told.
            session.get_scoped_config()
        except ProfileNotFound as error:
            raise Failure(Kind.NO_CREDENTIALS, str(error)) from error
        except BotoCoreError as error:
            raise Failure(Kind.REFUSED, f"the AWS configuration cannot be read: {error}") from error
        return session

    # ---------------------------------------------------------------------------------------- rest

    def ca_bundle(self) -> str | bool | None:
        """Path of the certificate authorities to trust, False for none; None: botocore's own choice."""
        if self.settings.verify is not None:
            return self.settings.verify
        found = self._botocore().get_config_variable("ca_bundle")
        return str(found) if found else None

    def after_fork(self) -> None:
        """Forget what holds a lock: the parent's threads that would release it are not here."""
        self._lock = threading.RLock()
        self._signing = None
        self._credentials = None
        self._looked_for_credentials = False


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


class _Caught(Exception):  # noqa: N818 - nothing went wrong
    """Carries a request out of botocore before it is sent."""


def _catch(
    request: Any, request_signer: Any, signature_version: str, signing_name: str, region_name: str, **_: Any
) -> None:
    """What ``RequestSigner.sign`` does after this event, as far as it is the same for all requests of a bucket."""
    how = {"signature_version": signature_version, "signing_name": signing_name, "region_name": region_name}
    told = request.context.get("signing", {})
    for name, argument in _SIGNING_ARGUMENTS.items():
        if name in told and (name != "cache_key" or "identity_cache" in told):
            how[argument] = told[name]
    raise _Caught(request, partial(request_signer.get_auth_instance, **how), how)


@contextmanager
def _told_as_failures() -> Iterator[None]:
    try:
        yield
    except ParamValidationError as error:
        raise Failure(Kind.MISSING_BUCKET, f"no bucket can have this name ({error})") from error
    except ClientError as error:
        raise _refusal(error) from error
    except (BotoCoreError, ValueError) as error:
        raise Failure(Kind.REFUSED, f"botocore cannot address the bucket: {error}") from error


def _refusal(error: ClientError) -> Failure:
    """A refusal that botocore met when it asked for a session, or for other credentials."""
    told, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    status, code = meta.get("HTTPStatusCode", 0), told.get("Code", "")
    kind = kind_of(status, code, told.get("Message", ""), has_body=True)
    return Failure(kind, str(error), status=status, code=code, request_id=meta.get("RequestId", ""))


@cache
def _loader(data_path: str | None) -> Any:
    """Descriptions of services, read once a process: that takes longer than all else botocore does for us."""
    return create_loader(data_path)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port or 80), _METADATA_PROBE).close()
    except OSError:
        return False
    return True
