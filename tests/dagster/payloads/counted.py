"""A payload that counts its starts, and waits until it may go on. Run by the cluster's Python."""

import os
import pathlib
import sys
import time

from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    folder = pathlib.Path(pipes.extras["folder"])
    job = os.environ["DAGSTER_SLURM_JOB_ID"]
    with (folder / "starts").open("a") as file:
        file.write(job + "\n")
    print("out begins", flush=True)
    print("err begins", file=sys.stderr, flush=True)
    pipes.log.info("log begins")
    while not (folder / "go").exists():
        time.sleep(0.05)
    if (folder / "fail").exists():
        sys.exit(3)
    print("out ends", flush=True)
    pipes.log.info("log ends")
    pipes.report_asset_materialization(metadata={"job": job})
