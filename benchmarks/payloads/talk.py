"""Talks through standard output and Pipes, at random moments: what it says is the time at which it says it."""

import os
import random
import time

from dagster_pipes import open_dagster_pipes

END = time.monotonic() + float(os.environ["BENCH_SECONDS"])
PAUSE = float(os.environ["BENCH_PAUSE"])

with open_dagster_pipes() as pipes:
    while time.monotonic() < END:
        time.sleep(random.expovariate(1 / PAUSE))
        print(f"said at {time.time():.6f}", flush=True)
        time.sleep(random.expovariate(1 / PAUSE))
        pipes.log.info(f"said at {time.time():.6f}")
