"""Works for as long as `BENCH_SLEEP` says."""

import os
import time

time.sleep(float(os.environ["BENCH_SLEEP"]))
