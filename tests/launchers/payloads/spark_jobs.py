"""Work on all workers of the Spark cluster that the environment leads to; or what goes wrong with one."""

import os
import signal
import sys
import time
from pathlib import Path

from dagster_pipes import open_dagster_pipes
from pyspark.sql import SparkSession


def where(number: int) -> "tuple[str, int]":
    time.sleep(0.3)
    return os.environ.get("SLURMD_NODENAME", "here"), number * number


def daemon(name: str) -> int:
    """The process id of a daemon of this cluster: nodes of the test cluster share a host."""
    mark = f"DAGSTER_SLURM_RUN_DIR={os.environ['DAGSTER_SLURM_RUN_DIR']}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            if f"deploy.{name.lower()}.{name}".encode() in words and mark in (place / "environ").read_bytes().split(
                b"\0"
            ):
                return int(place.name)
        except OSError:
            continue
    raise SystemExit(f"no {name}")


with open_dagster_pipes() as pipes:
    what = pipes.extras.get("what", "jobs")
    spark = SparkSession.builder.getOrCreate()
    sc = spark.sparkContext
    deadline = time.time() + 40
    workers = pipes.extras.get("workers", int(os.environ.get("SLURM_JOB_NUM_NODES", "1")))
    while sc._jsc.sc().getExecutorMemoryStatus().size() < workers + 1:
        assert time.time() < deadline
        time.sleep(0.1)
    found = sc.parallelize(range(8), 8).map(where).collect()
    pipes.report_asset_materialization(
        metadata={
            "nodes": sorted({node for node, _ in found}),
            "sum": sum(square for _, square in found),
            "master": sc.master,
            "name": sc.appName,
            "secret_is_set": sc.getConf().get("spark.authenticate", "") == "true",
        }
    )
    Path(pipes.extras["folder"], "begun").touch()
    if what == "fail":
        sys.exit(5)
    if what == "kill payload":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "kill driver":
        os.kill(os.getppid(), signal.SIGKILL)
    if what in ("kill Worker", "kill Master"):
        os.kill(daemon(what.split()[1]), signal.SIGKILL)
    if what != "jobs":
        time.sleep(100)
    spark.stop()
