"""Ray and Spark on two nodes: until all are up, and from the payload's end to that of the asset."""

import json
import shlex
import time
from pathlib import Path

import dagster as dg

from benchmarks import place
from benchmarks.figures import median, seconds
from benchmarks.place import PAYLOADS, Raw
from benchmarks.table import Result
from dagster_slurm import ComputeResource, RayLauncher, Resources, SparkLauncher
from dagster_slurm.launchers.cluster import ClusterLauncher
from testcluster import Cluster
from tests.launchers import environments

_BARE = Path(__file__).parent / "bare"
_TWO = Resources(nodes=2, cpus=2, mem=2500)


def ray(cluster: Cluster, *, quick: bool) -> list[Result]:
    """Ray."""
    return _both("Ray", cluster, environments.ray(), RayLauncher(), 3 if quick else 5)


def spark(cluster: Cluster, *, quick: bool) -> list[Result]:
    """Spark."""
    return _both("Spark", cluster, environments.spark(), SparkLauncher(), 3 if quick else 5)


def _both(name: str, cluster: Cluster, environment: Path, launcher: ClusterLauncher, times: int) -> list[Result]:
    raw = Raw(cluster)
    _prepare(raw, launcher.framework, environment)
    compute = place.compute(cluster)
    settled = ComputeResource(mode="slurm", slurm=compute.slurm, pre_deployed_env_path=str(environment))
    bare, ours, ends = list[float](), list[float](), list[float]()
    for number in range(times + 1):
        raw.submit_and_wait(launcher.framework)
        took = float(raw.run(f"cat {launcher.framework}/took.*; rm {launcher.framework}/took.*"))
        ready, end = _run(settled, launcher)
        if number:  # the first fills caches
            bare.append(took)
            ours.append(ready)
            ends.append(end)
    raw.close()
    a, b, end = median(bare), median(ours), median(ends)
    return [
        Result(f"{name}, 2 nodes ready", seconds(b), "1.15 x", b / a <= 1.15, seconds(a), b / a, f"{times} runs"),
        Result(f"{name}, payload's end to asset's", seconds(end), "3 s", end <= 3, remark=f"{times} runs"),
    ]


def _prepare(raw: Raw, framework: str, environment: Path) -> None:
    script = (_BARE / f"{framework}.sh").read_text()
    first, options, rest = script.split("\n", 2)
    activate = f'. "{environment}/activate.sh" 2>/dev/null || export PATH="{environment}/bin:$PATH"'
    text = "\n".join((first, options, activate, rest))
    raw.run(f"mkdir -p {framework} && printf %s {shlex.quote(text)} >{framework}/job.sh")


def _run(compute: ComputeResource, launcher: ClusterLauncher) -> tuple[float, float]:
    """Return seconds from the job's begin to the payload's, and from the payload's end to that of the asset."""

    @dg.asset(name=launcher.framework)
    def asset(context: dg.AssetExecutionContext, compute: ComputeResource) -> object:
        payload = PAYLOADS / "moments.py"
        return compute.run(context=context, payload_path=payload, launcher=launcher, resources=_TWO)

    done = dg.materialize([asset], resources={"compute": compute})
    now = time.time()
    (event,) = done.get_asset_materialization_events()
    found = {key: value.value for key, value in event.materialization.metadata.items()}
    record = Path(str(found["slurm/run_directory"]), "record.jsonl").read_text().splitlines()
    began = next(line["time"] for line in map(json.loads, record) if line["event"] == "start")
    return float(str(found["begun"])) - began, now - float(str(found["ended"]))
