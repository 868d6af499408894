"""What the options of a mount say about reaching S3, gathered into one frozen value."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, Final, NamedTuple

#: Names of ``storage_options`` that mean the same here as in s3fs.
_FOR_THE_CLIENT: Final = {
    "region_name": "region",
    "endpoint_url": "endpoint_url",
    "aws_access_key_id": "key",
    "aws_secret_access_key": "secret",
    "aws_session_token": "token",
    "verify": "verify",
    "use_ssl": "use_ssl",
}
_KNOWN: Final = frozenset(
    {"anon", "profile", "key", "secret", "token", "username", "password", "endpoint_url", "requester_pays", "use_ssl",
     "client_kwargs", "config_kwargs"}
)  # fmt: skip


class Keys(NamedTuple):
    """Credentials as a signature needs them; never shown."""

    access_key: str
    secret_key: str
    token: str

    def __repr__(self) -> str:
        return "Keys(...)"


@dataclass(frozen=True, repr=False)
class S3Settings:
    """How S3 is reached and who asks; it has no repr, since it holds secrets."""

    anon: bool | None = None
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    requester_pays: bool = False
    keys: Keys | None = None
    """Credentials given explicitly; None: botocore's chain."""
    use_ssl: bool = True
    verify: bool | str | None = None
    """A CA bundle, or False for no check of certificates; None: AWS_CA_BUNDLE, the profile, or botocore's bundle."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``botocore.config.Config``."""
    sse_headers: Mapping[str, str] = field(default_factory=dict)
    """The customer key of SSE-C, as request headers."""


def settings_from(option: Callable[[str], Any]) -> S3Settings:
    """The settings that *option* (name to value) gives, ``storage_options`` included.

    An option of the mount itself wins over the same thing in ``storage_options``. Raises
    ``ValueError`` for storage options that only s3fs understands.
    """
    given = dict(option("storage_options"))
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        msg = f"storage_options {unknown} are known to s3fs only; add transport='s3fs', or leave them out"
        raise ValueError(msg)
    client = dict(given.pop("client_kwargs", {}))
    unknown = sorted(set(client) - set(_FOR_THE_CLIENT))
    if unknown:
        msg = f"client_kwargs {unknown} are known to s3fs only; add transport='s3fs', or leave them out"
        raise ValueError(msg)
    found = {_FOR_THE_CLIENT[name]: value for name, value in client.items()} | given
    return S3Settings(
        anon=_first(option("anon"), found.get("anon")),
        profile=_first(option("profile"), found.get("profile")),
        region=_first(option("region"), found.get("region")),
        endpoint_url=_first(option("endpoint_url"), found.get("endpoint_url")),
        requester_pays=bool(option("requester_pays") or found.get("requester_pays")),
        keys=_explicit_keys(found),
        use_ssl=bool(found.get("use_ssl", True)),
        verify=found.get("verify"),
        config=dict(found.get("config_kwargs", {})),
        sse_headers=sse_customer_headers(option("sse_customer_key")),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _explicit_keys(found: Mapping[str, Any]) -> Keys | None:
    access = found.get("key") or found.get("username")
    secret = found.get("secret") or found.get("password")
    if not access and not secret:
        return None
    if not access or not secret:
        msg = "storage_options have only one of key and secret; a signature needs both"
        raise ValueError(msg)
    return Keys(access, secret, found.get("token") or "")


def sse_customer_headers(key: str | None) -> dict[str, str]:
    """Request headers that let S3 decrypt an object stored with the customer's own *key* (base64 of 32 bytes).

    Raises ``ValueError``, without showing the key, when it is not that.
    """
    if key is None:
        return {}
    msg = "sse_customer_key is the base64 text of 32 bytes"
    try:
        raw = b64decode(key, validate=True)
    except ValueError:
        raise ValueError(msg) from None
    if len(raw) != 32:
        raise ValueError(msg)
    prefix = "x-amz-server-side-encryption-customer-"
    digest = md5(raw, usedforsecurity=False).digest()
    return {
        f"{prefix}algorithm": "AES256",
        f"{prefix}key": key,
        f"{prefix}key-md5": b64encode(digest).decode(),
    }
