"""Who asks and whom: credentials, endpoint, region and addressing of one bucket, all resolved by botocore."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, ProfileNotFound
from botocore.loaders import create_loader

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.s3_settings import S3Settings
from vfsoverlay._store.sigv4 import Keys, Scope

#: Seconds to look for an instance metadata service. On EC2 it answers within a millisecond; elsewhere the address may
#: swallow packets, and botocore would wait for seconds.
_METADATA_PROBE: Final = 0.25
_METADATA_ADDRESS: Final = "http://169.254.169.254/"
_INSTANCE_ROLE: Final = "iam-role"
_PLAIN_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_ONE_HOUR: Final = 3600
#: Directory buckets, whose requests are signed with sessions that botocore keeps.
_EXPRESS: Final = "--x-s3"


class Endpoint(NamedTuple):
    """Where the requests for one bucket go, and how they are signed there."""

    url: str
    """Scheme, host and port."""
    path: str
    """Path of the bucket: ``/`` (virtual host) or ``/bucket/`` (path style)."""
    scope: Scope
    plain: bool
    """Whether the header form of SigV4 is enough; otherwise botocore presigns each request."""

    @property
    def host(self) -> str:
        """The Host header."""
        return urlsplit(self.url).netloc


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
        self._client: Any = None
        self._credentials: Any = None
        self._looked_for_credentials = False
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------------------- endpoint

    def endpoint(self) -> Endpoint:
        """Where requests go; raises ``Failure`` when botocore cannot tell."""
        with self._lock:
            if self._endpoint is None:
                self._endpoint = self._resolve()
            return self._endpoint

    def follow(self, region: str, left: Endpoint) -> bool:
        """Go to *region*, where the bucket is said to be; False when the request was sent there, to *left*."""
        if region in ("", left.scope.region):
            return False
        with self._lock:
            # Another thread may have gone there meanwhile.
            if self.endpoint().scope.region != region:
                self._region, self._endpoint, self._client = region, None, None
        return True

    def _resolve(self) -> Endpoint:
        if self.bucket.endswith(_EXPRESS):
            url = urlsplit(
                self._presign(self._make_client(self.keys()), "get_object", {"Bucket": self.bucket, "Key": "k"})
            )
            return Endpoint(
                f"{url.scheme}://{url.netloc}", url.path[:-1], Scope(self._region or "", "s3express"), plain=False
            )
        request = self._captured_request()
        url = urlsplit(request.url)
        authorization = request.headers["Authorization"]
        signed = authorization.decode() if isinstance(authorization, bytes) else authorization
        credential = signed.partition("Credential=")[2].partition(",")[0].split("/")
        plain = signed.startswith(_PLAIN_ALGORITHM)
        scope = Scope(credential[2] if plain else "*", credential[-2])
        return Endpoint(f"{url.scheme}://{url.netloc}", f"{url.path.rstrip('/')}/", scope, plain)

    def _captured_request(self) -> Any:
        """A listing as botocore would send it, caught before it is: it shows host, style, region and service.

        (A presigned URL would not do: botocore sends those to the global endpoint.)
        """
        caught: list[Any] = []

        def catch(request: Any, **_: Any) -> AWSResponse:
            caught.append(request)
            return AWSResponse(request.url, 200, HTTPHeaders(), _NoKeys())

        client = self._make_client(Keys("resolving", "resolving", ""))
        client.meta.events.register("before-send.s3.ListObjectsV2", catch)
        with _told_as_failures():
            client.list_objects_v2(Bucket=self.bucket)
        return caught[0]

    def _make_client(self, keys: Keys | None) -> Any:
        settings = self.settings
        config = Config(**{"signature_version": "s3v4", **settings.config})
        try:
            return self._botocore().create_client(
                "s3",
                region_name=self._region,
                endpoint_url=settings.endpoint_url,
                use_ssl=settings.use_ssl,
                config=config,
                aws_access_key_id=keys.access_key if keys else None,
                aws_secret_access_key=keys.secret_key if keys else None,
                aws_session_token=(keys.token or None) if keys else None,
            )
        except (BotoCoreError, ValueError) as error:
            raise Failure(Kind.REFUSED, f"botocore cannot make a client: {error}") from error

    def _presign(self, client: Any, operation: str, params: dict[str, Any]) -> str:
        with _told_as_failures():
            return str(client.generate_presigned_url(operation, Params=params, ExpiresIn=_ONE_HOUR))

    def presigned(self, operation: str, params: dict[str, Any]) -> str:
        """Path and query of a request that botocore signs itself (directory buckets, multi-region access points)."""
        with self._lock:
            if self._client is None:
                self._client = self._make_client(self.keys())
            url = urlsplit(self._presign(self._client, operation, {"Bucket": self.bucket, **params}))
        return f"{url.path}?{url.query}"

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
        except BotoCoreError as error:
            raise Failure(Kind.EXPIRED, f"the credentials could not be renewed: {error}") from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or "")

    def look_again(self, refused: Keys | None) -> bool:
        """Whether there are other credentials than those *refused* as expired; runs the chain anew to find them."""
        if self.settings.keys is not None or self.settings.anon:
            return False
        with self._lock:
            if self.keys() == refused:
                self._looked_for_credentials = False
                self._client = None
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
        self._client = None
        self._credentials = None
        self._looked_for_credentials = False


class _NoKeys:
    """The body of an empty listing."""

    def stream(self) -> Iterator[bytes]:
        """What botocore asks of a body."""
        yield b"<ListBucketResult/>"


@contextmanager
def _told_as_failures() -> Iterator[None]:
    try:
        yield
    except ParamValidationError as error:
        raise Failure(Kind.MISSING_BUCKET, f"no bucket can have this name ({error})") from error
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Failure(Kind.REFUSED, f"botocore cannot address the bucket: {error}") from error


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
