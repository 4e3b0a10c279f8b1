"""Work on all workers of the Spark cluster that the environment leads to; or what goes wrong with one."""

import os
import signal
import subprocess
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


def knock(secret: bool) -> bool:
    """Whether another driver, with the cluster's secret or without, gets work done within a while."""
    variables = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}
    if not secret:
        del variables["SPARK_CONF_DIR"]
    work = (
        "import os; from pyspark.sql import SparkSession as S;"
        "s = S.builder.master(os.environ['SPARK_MASTER']).config('spark.executor.cores', 1)"
        ".config('spark.executor.memory', '500m').config('spark.ui.enabled', 'false').getOrCreate();"
        "assert s.sparkContext.parallelize([1, 2]).sum() == 3; s.stop()"
    )
    try:
        command = [sys.executable, "-c", work]
        return (
            subprocess.run(command, env=variables, timeout=75, stderr=subprocess.DEVNULL, check=False).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


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
    if what not in ("jobs", "strangers"):
        time.sleep(100)
    spark.stop()
    if what == "strangers":
        Path(pipes.extras["folder"], "strangers").write_text(f"{knock(True)} {knock(False)}")
