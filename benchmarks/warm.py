"""A second Ray asset on the warm cluster of a session, against the bare driver that connects by hand."""
# No lazy annotations here: Dagster reads the type of `context` when an asset is made.

import os
import shlex
from pathlib import Path

import dagster as dg

from benchmarks import place
from benchmarks.figures import interleaved, median, seconds
from benchmarks.place import PAYLOADS, Raw
from benchmarks.table import Result
from dagster_slurm import ComputeResource, RayLauncher, Resources, SlurmSessionResource
from testcluster import Cluster
from tests.launchers import environments

_DRIVER = PAYLOADS / "ray_driver.py"
_TWO = Resources(nodes=2, cpus=2, mem=2500)
#: as the session's agent starts the driver
_SRUN = (
    "srun --overlap -N1 -n1 --ntasks-per-node=1 --cpus-per-task=1 --mem=2500M --gres=none --mpi=none --cpu-bind=none"
)


def ray(cluster: Cluster, *, quick: bool) -> list[Result]:
    """Ray on two nodes."""
    environment, raw = environments.ray(), Raw(cluster)
    session = SlurmSessionResource(name=f"warm-{os.getpid()}", num_nodes=2, cpus=4, mem="4G", time_limit=30)
    compute = ComputeResource(
        mode="slurm-session",
        slurm=place.compute(cluster).slurm,
        session=session,
        pre_deployed_env_path=str(environment),
        enable_cluster_reuse=True,
    )
    raw.prepare("raw", _DRIVER.read_text())
    graph = [_asset()]
    first = _metadata(dg.materialize(graph, resources={"compute": compute}))
    job, node = first["slurm/job_id"], first["slurm/nodes"]
    base = Path(first["slurm/run_directory"]).parents[3]
    (connection,) = base.glob(f"runs/*/*/{first['slurm/cluster_id']}.0/ray.0/connection")
    line = f'. {connection}; export RAY_ADDRESS="$EXISTING"; exec {environment}/bin/python raw/payload.py'
    times = 5 if quick else 11
    by_hand, ours = interleaved(
        times,
        lambda: raw.run(f"{_SRUN} --jobid={job} --nodelist={node} --input=none bash -c {shlex.quote(line)}"),
        lambda: dg.materialize(graph, resources={"compute": compute}),
    )
    raw.close()
    cluster.admin(["scancel", job])
    a, b = median(by_hand), median(ours)
    return [
        Result("Ray asset, warm, 2 nodes", seconds(b), "raw + 1.5 s", b - a <= 1.5, seconds(a), b / a, f"{times} runs")
    ]


def _asset() -> dg.AssetsDefinition:
    @dg.asset(name="ray_driver")
    def asset(context: dg.AssetExecutionContext, compute: ComputeResource) -> object:
        return compute.run(context=context, payload_path=_DRIVER, launcher=RayLauncher(), resources=_TWO)

    return asset


def _metadata(done: dg.ExecuteInProcessResult) -> dict[str, str]:
    (event,) = done.get_asset_materialization_events()
    return {name: str(value.value) for name, value in event.materialization.metadata.items()}
