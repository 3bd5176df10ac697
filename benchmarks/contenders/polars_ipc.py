"""The bound for arrow: the tap's own batches, in memory, written as files by polars alone.

Writes each batch several times, since once takes too little time to measure; zero times is a
run with nothing to do.
"""

import sys
from pathlib import Path

import polars as pl

source, target, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
frames = [pl.read_ipc(path) for path in source.glob("*.arrow")]
for _ in range(times):
    for number, frame in enumerate(frames):
        frame.write_ipc(target / f"{number}.arrow", compat_level=pl.CompatLevel.oldest())
