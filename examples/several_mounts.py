"""Mount several prefixes at once: all of them, or none if one of them fails.

python examples/several_mounts.py                             # a bundled sample, no network
python examples/several_mounts.py s3://one/a/ s3://two/b/     # prefixes of yours
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

import vfsoverlay
from vfsoverlay.testing.sample import sample_server

with ExitStack() as stack:
    if len(sys.argv) > 1:
        sources, options = sys.argv[1:], {}
    else:
        server = stack.enter_context(sample_server())
        sources = [f"s3://ryft-public-sample-data/{prefix}/" for prefix in ("esRedditJson", "weather")]
        options = server.mount_options()

    # Each mount has a directory of its own; /data/<last folder> is the default.
    points = vfsoverlay.mount([vfsoverlay.Mount(source, **options) for source in sources])
    for point in points:
        stack.enter_context(point)
        print(f"{point.source} at {point.root_dir}")
        for folder, _, names in os.walk(point.root_dir):
            for name in names:
                print(f"  {os.path.relpath(os.path.join(folder, name), point.root_dir)}")

print("mounted now:", vfsoverlay.mounts())
