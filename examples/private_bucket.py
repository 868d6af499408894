"""Read a private bucket: credentials are found as the AWS tools find them, or given.

python examples/private_bucket.py                                # a private bucket on an embedded server
python examples/private_bucket.py s3://bucket/prefix/ [PROFILE]  # yours, by a profile of ~/.aws/config
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

import vfsoverlay
from vfsoverlay.testing.sample import sample_server

with ExitStack() as stack:
    if len(sys.argv) > 1:
        source = sys.argv[1]
        options = {"profile": sys.argv[2]} if len(sys.argv) > 2 else {}
    else:
        server = stack.enter_context(sample_server(public=False))
        source = "s3://ryft-public-sample-data/weather/"
        options = {"endpoint_url": server.url, "region": server.region}

        # Without credentials the mount is refused, before any code of yours looks for its files.
        try:
            vfsoverlay.mount(source, "/data/weather", anon=True, **options)
        except vfsoverlay.errors.CannotAccessSource as error:
            print(f"without credentials: {error.reason}")

        # Usually they come from the environment, ~/.aws or the instance; here they are given.
        options = server.mount_options(anon=False)

    with vfsoverlay.mount(source, "/data/weather", **options) as point:
        print(f"with credentials: {sorted(os.listdir(point.root_dir))}")
