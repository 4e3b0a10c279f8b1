"""Assets in a session that is up."""

from __future__ import annotations

import os

import dagster as dg

from benchmarks import assets, place
from benchmarks.figures import interleaved, median, seconds
from benchmarks.place import PAYLOADS, Raw
from benchmarks.table import Result
from dagster_slurm import ComputeResource, SlurmSessionResource
from testcluster import Cluster

_NOOP = PAYLOADS / "noop.py"
#: as the session's agent starts a unit
_SRUN = "srun --exact -N1 -n1 --ntasks-per-node=1 --cpus-per-task=1 --mem=100M --gres=none --mpi=none --cpu-bind=none"


def noop(cluster: Cluster, *, quick: bool) -> list[Result]:
    """A no-op asset in a running session, against srun with the same flags and payload by hand."""
    name, raw = f"noop-{os.getpid()}", Raw(cluster)
    graph, compute = [assets.asset("noop", _NOOP)], _in_session(cluster, name)
    raw.prepare("raw", _NOOP.read_text())
    job = _up(graph, compute)
    times = 7 if quick else 21
    by_hand, ours = interleaved(
        times,
        lambda: raw.run(f"{_SRUN} --jobid={job} --input=none python3 raw/payload.py"),
        lambda: dg.materialize(graph, resources={"compute": compute}),
    )
    raw.close()
    cluster.admin(["scancel", str(job)])
    a, b = median(by_hand), median(ours)
    met = b - a <= 0.3
    return [Result("no-op asset, session", seconds(b), "raw + 0.3 s", met, seconds(a), b / a, f"{times} runs")]


def in_one_process(cluster: Cluster, *, quick: bool) -> list[Result]:
    """Twenty assets, one after the other, in a running session."""
    compute = _in_session(cluster, f"twenty-{os.getpid()}")
    graph = [assets.asset(f"asset_{number}", _NOOP) for number in range(assets.COUNT)]
    job = _up(graph[:1], compute)
    (took,) = interleaved(1 if quick else 3, lambda: dg.materialize(list(graph), resources={"compute": compute}))
    cluster.admin(["scancel", str(job)])
    return [Result("20 assets, session, one process", seconds(median(took)), "6 s", median(took) <= 6)]


def _in_session(cluster: Cluster, name: str) -> ComputeResource:
    session = SlurmSessionResource(name=name, cpus=4, mem="1G", time_limit=30)
    return ComputeResource(mode="slurm-session", slurm=place.compute(cluster).slurm, session=session)


def _up(graph: list[dg.AssetsDefinition], compute: ComputeResource) -> int:
    """Start the session; return its job."""
    done = dg.materialize(graph, resources={"compute": compute})
    (event,) = done.get_asset_materialization_events()
    return int(str(event.materialization.metadata["slurm/job_id"].value))
