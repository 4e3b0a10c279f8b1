"""As talk.py, without the memory that `dagster_pipes` takes: there are a hundred of these on one machine."""

import json
import os
import random
import time
from pathlib import Path

END = time.monotonic() + float(os.environ["BENCH_SECONDS"])
PAUSE = float(os.environ["BENCH_PAUSE"])
MESSAGES = Path(os.environ["DAGSTER_SLURM_RUN_DIR"], "messages.jsonl")

while time.monotonic() < END:
    time.sleep(random.expovariate(1 / PAUSE))
    print(f"said at {time.time():.6f}", flush=True)
    time.sleep(random.expovariate(1 / PAUSE))
    message = {"method": "log", "params": {"message": f"said at {time.time():.6f}", "level": "INFO"}}
    with MESSAGES.open("a") as file:
        file.write(json.dumps(message) + "\n")
