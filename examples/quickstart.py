"""List and read the files below an S3 prefix as if they were on the local disk.

python examples/quickstart.py                       # a bundled sample, no network
python examples/quickstart.py s3://bucket/prefix/   # a public bucket, or one that your AWS credentials open
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

import vfsoverlay
from vfsoverlay.testing.sample import sample_server

ROOT = "/content/esRedditJson/"

with ExitStack() as stack:
    if len(sys.argv) > 1:
        source, options = sys.argv[1], {}
    else:
        server = stack.enter_context(sample_server())
        source, options = "s3://ryft-public-sample-data/esRedditJson/", server.mount_options()

    point = stack.enter_context(vfsoverlay.mount(source, ROOT, **options))

    # From here on it is ordinary Python: the code knows nothing of S3.
    files = [name for name in os.listdir(ROOT) if os.path.isfile(os.path.join(ROOT, name))]
    print(f"{source} at {ROOT} has {len(files)} files:")
    for name in files[:10]:
        print(f"  {name}  {os.path.getsize(os.path.join(ROOT, name))} bytes")

    with open(os.path.join(ROOT, files[0]), encoding="utf-8", errors="replace") as file:
        print(f"\n{files[0]} begins with:\n  {file.readline().rstrip()[:200]}")

    counts = point.metrics()
    print(f"\nfetched: {counts['requests.list']:.0f} listing request,", end=" ")
    print(f"{counts.get('requests.read', 0):.0f} read request with {counts.get('bytes.read', 0):.0f} bytes")
