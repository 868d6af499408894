"""Where the requests for one bucket go and how they are signed: what botocore would do with one, caught in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import ParamValidationError

from vfsoverlay._store.botocore_failures import told_as_failures
from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind
from vfsoverlay._store.signer import SIGNED_BY_SIGNER

#: Not that of one operation: what knows the sessions of directory buckets listens here, and must come first.
_BEFORE_SIGN: Final = "before-sign.s3"
#: What a request's signing context may say, and the argument of ``RequestSigner.get_auth_instance`` that it is.
_SIGNING_ARGUMENTS: Final = {
    "region": "region_name",
    "signing_name": "signing_name",
    "identity_cache": "identity_cache",
    "cache_key": "cache_key",
}
#: What to do where a bucket has no address.
CHECK_ADDRESS: Final = "check the source, region and endpoint_url"


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


def resolve(client: Any, bucket: str) -> tuple[Endpoint, Signing]:
    """A listing as *client* would send it, caught before it is signed: it shows host, style, region and signer.

    (A presigned URL would not do: botocore sends those to the global endpoint.) Raises ``Failure``.
    """
    client.meta.events.register_last(_BEFORE_SIGN, _catch)
    with told_as_failures(Kind.REFUSED, "botocore cannot address the bucket", CHECK_ADDRESS):
        try:
            client.list_objects_v2(Bucket=bucket)
        except _Caught as caught:
            request, new_auth, how = caught.args
        except ParamValidationError as error:
            raise Failure(Kind.MISSING_BUCKET, f"no bucket can have this name ({error})") from error
    client.meta.events.unregister(_BEFORE_SIGN, _catch)
    url = urlsplit(request.url)
    endpoint = Endpoint(f"{url.scheme}://{url.netloc}", f"{url.path.rstrip('/')}/", how["region_name"])
    return endpoint, Signing(client, new_auth, how, request.context)


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
