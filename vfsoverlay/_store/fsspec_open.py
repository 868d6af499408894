"""File systems of fsspec made from a URL and the options of a mount."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from vfsoverlay._store.credentials import CredentialChain
from vfsoverlay._store.fsspec_loop import private_loop
from vfsoverlay._store.s3_settings import Keys, S3Settings
from vfsoverlay._store.uri import S3_PROTOCOLS, Source

#: Makes the file system; called once, and again in a forked child, since those of fsspec are not fork-safe.
Opener = Callable[[], Any]


def opener_of(source: Source, option: Callable[[str], Any]) -> tuple[Opener, str]:
    """How to make the file system of *source*, and the path of its root there, without a trailing slash.

    Raises ``ValueError`` for a protocol that fsspec does not know, or whose library is not installed.
    """
    cls = _class_of(source)
    if source.protocol in S3_PROTOCOLS:
        arguments = _s3fs_arguments(option)
    else:
        arguments = {**cls._get_kwargs_from_urls(source.url), **option("storage_options")}
    # Our listing is the cache; a second one below it could only be stale.
    arguments = {"use_listings_cache": False, **arguments, "skip_instance_cache": True}

    def make() -> Any:
        return cls(**arguments, loop=private_loop()) if getattr(cls, "async_impl", False) else cls(**arguments)

    return make, str(cls._strip_protocol(source.url)).rstrip("/")


def _class_of(source: Source) -> Any:
    from fsspec.registry import get_filesystem_class, known_implementations

    protocol = source.protocol
    try:
        return get_filesystem_class(protocol)
    except ValueError:
        near = get_close_matches(protocol, known_implementations, n=1)
        hint = f"; did you mean {near[0] + '://'!r}?" if near else ""
        msg = (
            f"Unknown protocol for the mount 'source' argument '{source.url}'. The 'source' string must start with "
            f"one of the following prefixes: ['s3://'], or with another protocol that fsspec knows{hint}"
        )
        raise ValueError(msg) from None
    except ImportError as error:
        msg = f"the mount 'source' argument '{source.url}' needs a library that is not installed: {error}"
        raise ValueError(msg) from error


def _s3fs_arguments(option: Callable[[str], Any]) -> dict[str, Any]:
    arguments = dict(option("storage_options"))
    client = dict(arguments.pop("client_kwargs", {}))
    for name in ("profile", "endpoint_url"):
        if option(name) is not None:
            arguments[name] = option(name)
    if option("region") is not None:
        client["region_name"] = option("region")
    if option("requester_pays"):
        arguments["requester_pays"] = True
    if option("anon") is not None:
        arguments["anon"] = option("anon")
    elif "anon" not in arguments:
        # s3fs does not fall back by itself: it would fail, after asking a metadata service that may not be there.
        arguments["anon"] = not _has_credentials(arguments)
    return {**arguments, "client_kwargs": client}


def _has_credentials(arguments: dict[str, Any]) -> bool:
    key, secret = arguments.get("key"), arguments.get("secret")
    keys = Keys(key, secret, "") if key and secret else None
    settings = S3Settings(profile=arguments.get("profile"), keys=keys)
    return CredentialChain(settings).keys() is not None
