"""The AWS configuration of a mount: botocore's session for a profile and a region."""

from __future__ import annotations

from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ProfileNotFound
from botocore.loaders import create_loader

from vfsoverlay._store.errno_map import Failure
from vfsoverlay._store.kinds import Kind


def aws_session(profile: str | None, region: str | None) -> Any:
    """A session of botocore; raises ``Failure`` when environment and files do not make one."""
    try:
        session = botocore.session.Session(profile=profile)
        session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        if region is not None:
            # Roles are assumed in a region, too.
            session.set_config_variable("region", region)
        # The profile is looked up late; ask for it where the error can be told.
        session.get_scoped_config()
    except ProfileNotFound as error:
        next_step = "check its name, AWS_CONFIG_FILE and HOME"
        raise Failure(Kind.NO_CREDENTIALS, str(error), next_step=next_step) from error
    except BotoCoreError as error:
        told = f"the AWS configuration cannot be read: {error}"
        raise Failure(Kind.REFUSED, told, next_step="mend that file, or set AWS_CONFIG_FILE to another") from error
    return session


@cache
def _loader(data_path: str | None) -> Any:
    """Descriptions of services, read once a process: that takes longer than all else botocore does for us."""
    return create_loader(data_path)
