"""What botocore raises, told as the failures of a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import KIND_OF_EXCEPTION, Kind, kind_of

#: What comes out of botocore beside its own errors: a program or a file that a profile names and that is not there
#: (an OSError, which must not pass for a missing file of the mount), what such a program prints and is no JSON, and
#: renewed credentials that have expired already.
_FOREIGN: Final = (OSError, ValueError, RuntimeError)


@contextmanager
def told_as_failures(kind: Kind | None, what: str, next_step: str = "") -> Iterator[None]:
    """Raise what botocore raises in the block as a ``Failure``, told as *what*.

    A refusal by a service is of the kind that its code says, an expired login is one anywhere, and
    all else is of *kind*. None: of the kind that the error's name says, which may be one that is
    retried: right where botocore has not done that already.
    """
    try:
        yield
    except ClientError as error:
        raise refusal_of(error.response, str(error)) from error
    except (BotoCoreError, *_FOREIGN) as error:
        named = KIND_OF_EXCEPTION.get(type(error).__name__, Kind.REFUSED)
        found = named if kind is None or named is Kind.EXPIRED else kind
        next_step = next_step if found is kind else ""
        raise Failure(found, f"{what}: {error}", connecting=found is Kind.UNREACHABLE, next_step=next_step) from error


def refusal_of(response: Mapping[str, Any], detail: str = "") -> Failure:
    """The failure that the *response* of a ``ClientError`` is, told as *detail*, or in the words of the service."""
    told, about = response["Error"], response.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    # botocore puts the status where S3 gave no code.
    code = "" if code.isdecimal() else code
    kind = kind_of(status, code, message, has_body=bool(code))
    headers = about.get("HTTPHeaders", {})
    return Failure(
        kind,
        detail or message or "no reason given",
        status=status,
        code=code,
        request_id=str(about.get("RequestId", "")),
        region=str(headers.get("x-amz-bucket-region", "")) if kind is Kind.WRONG_REGION else "",
    )
