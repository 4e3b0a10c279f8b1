"""Tasks on all nodes of a Ray cluster that RAY_ADDRESS leads to; or what goes wrong with one."""

import os
import signal
import sys
import time
from pathlib import Path

import ray
from dagster_pipes import open_dagster_pipes
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At


@ray.remote(num_cpus=1)
def where(number: int) -> "tuple[str, int]":
    time.sleep(0.1)
    return os.environ.get("SLURMD_NODENAME", "here"), number * number


def daemon(name: str) -> int:
    """The process id of a daemon of this cluster: nodes of the test cluster share a host."""
    mark = f"DAGSTER_SLURM_RUN_DIR={os.environ['DAGSTER_SLURM_RUN_DIR']}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "comm").read_text().strip() == name and mark in (place / "environ").read_bytes().split(b"\0"):
                return int(place.name)
        except OSError:
            continue
    raise SystemExit(f"no {name}")


with open_dagster_pipes() as pipes:
    what = pipes.extras.get("what", "tasks")
    ray.init(log_to_driver=False)
    ids = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    places = [At(node_id=ids[number % len(ids)], soft=False) for number in range(8)]
    found = ray.get([where.options(scheduling_strategy=places[number]).remote(number) for number in range(8)])
    pipes.report_asset_materialization(
        metadata={
            "nodes": sorted({node for node, _ in found}),
            "sum": sum(square for _, square in found),
            "cpus": int(ray.cluster_resources()["CPU"]),
            "gpus": int(ray.cluster_resources().get("GPU", 0)),
            "address": os.environ["RAY_ADDRESS"],
        }
    )
    Path(pipes.extras["folder"], "begun").touch()
    if what == "fail":
        sys.exit(5)
    if what == "kill raylet":
        os.kill(daemon("raylet"), signal.SIGKILL)
    if what == "kill driver":
        os.kill(os.getppid(), signal.SIGKILL)
    if what != "tasks":
        time.sleep(100)
