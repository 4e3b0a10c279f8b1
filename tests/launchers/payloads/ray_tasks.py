"""Tasks on all nodes of a Ray cluster that RAY_ADDRESS leads to; or what goes wrong with one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ray
from dagster_pipes import open_dagster_pipes
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At


@ray.remote(num_cpus=1)
def where(number: int) -> "tuple[str, int, str]":
    time.sleep(0.1)
    return os.environ.get("SLURMD_NODENAME", "here"), number * number, os.environ.get("FROM_PRE_START", "")


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


def knock(mode: str) -> str:
    """What another process hears from the cluster's head: with its token, or without."""
    question = "r.GcsClient(address=sys.argv[1]).internal_kv_get(b'CLUSTER_METADATA', b'cluster', timeout=5)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, ray._raylet as r; print({question})", os.environ["RAY_ADDRESS"]],
        env={**os.environ, "RAY_AUTH_MODE": mode},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip().splitlines()[-1]


with open_dagster_pipes() as pipes:
    what = pipes.extras.get("what", "tasks")
    ray.init(log_to_driver=False)
    ids = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    places = [At(node_id=ids[number % len(ids)], soft=False) for number in range(8)]
    found = ray.get([where.options(scheduling_strategy=places[number]).remote(number) for number in range(8)])
    pipes.report_asset_materialization(
        metadata={
            "nodes": sorted({node for node, _, _ in found}),
            "sum": sum(square for _, square, _ in found),
            "pre_start": sorted({said for _, _, said in found}),
            "special": int(ray.cluster_resources().get("special", 0)),
            "store": int(ray.cluster_resources()["object_store_memory"]),
            "cpus": int(ray.cluster_resources()["CPU"]),
            "gpus": int(ray.cluster_resources().get("GPU", 0)),
            "address": os.environ["RAY_ADDRESS"],
            "strangers": [knock(mode) for mode in ("token", "disabled")] if what == "strangers" else [],
        }
    )
    if what == "save":

        def save(*_: object) -> None:
            """The cluster still serves a payload that was told to stop."""
            number = ray.get(where.options(scheduling_strategy=At(node_id=ids[-1], soft=False)).remote(9))[1]
            Path(pipes.extras["folder"], "saved").write_text(str(number))
            sys.exit(0)

        signal.signal(signal.SIGTERM, save)
    Path(pipes.extras["folder"], "begun").touch()
    if what == "fail":
        sys.exit(5)
    if what == "kill raylet":
        os.kill(daemon("raylet"), signal.SIGKILL)
    if what == "kill driver":
        os.kill(os.getppid(), signal.SIGKILL)
    if what not in ("tasks", "strangers"):
        time.sleep(100)
