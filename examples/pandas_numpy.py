"""Give paths below a mount to pandas and numpy.

pip install pandas                               # brings numpy
python examples/pandas_numpy.py                  # a bundled sample, no network
python examples/pandas_numpy.py s3://bucket/x/   # describes the CSV files of a prefix of yours
"""

from __future__ import annotations

import glob
import sys
from contextlib import ExitStack

import numpy as np
import pandas as pd

import vfsoverlay
from vfsoverlay.testing.sample import sample_server

with ExitStack() as stack:
    if len(sys.argv) > 1:
        source, options = sys.argv[1], {}
    else:
        server = stack.enter_context(sample_server())
        source, options = "s3://ryft-public-sample-data/weather/", server.mount_options()
    stack.enter_context(vfsoverlay.mount(source, "/data/weather", **options))

    for path in sorted(glob.glob("/data/weather/**/*.csv", recursive=True)):
        table = pd.read_csv(path)
        numbers = table.select_dtypes("number").to_numpy()
        print(f"{path}: {len(table)} rows, means {np.round(numbers.mean(axis=0), 1)}")
