"""Counts the seconds."""

import os
import time

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    seconds = pipes.get_extra("seconds")
    for second in range(seconds):
        print("second", second + 1, "of", seconds, flush=True)
        time.sleep(1)
    pipes.report_asset_materialization(metadata={"counted": seconds, "job": os.environ["DAGSTER_SLURM_JOB_ID"]})
