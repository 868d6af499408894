"""Import a Python package that lies in a bucket.

python examples/import_package.py                             # a package made up here, no network
python examples/import_package.py s3://bucket/packages/ NAME  # a package of yours
"""

from __future__ import annotations

import importlib
import sys
from contextlib import ExitStack

import vfsoverlay
from vfsoverlay.testing import S3Server

PACKAGE = {
    "packages/greetings/__init__.py": "from greetings.words import HELLO\n",
    "packages/greetings/words.py": "HELLO = 'hello from the bucket'\n",
}

with ExitStack() as stack:
    if len(sys.argv) > 1:
        source, name, options = sys.argv[1], sys.argv[2], {}
    else:
        server = stack.enter_context(S3Server())
        server.create_bucket("code", public=True)
        for key, text in PACKAGE.items():
            server.put("code", key, text)
        source, name, options = "s3://code/packages/", "greetings", server.mount_options()

    point = stack.enter_context(vfsoverlay.mount(source, "/opt/packages", **options))
    sys.path.insert(0, point.root_dir)
    module = importlib.import_module(name)
    print(f"{name} comes from {module.__file__}")
    if name == "greetings":
        print(module.HELLO)
