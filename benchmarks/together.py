"""Two components in one heterogeneous job, against the bare batch script."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

import dagster as dg

from benchmarks import assets, place
from benchmarks.figures import interleaved, median, seconds
from benchmarks.place import PAYLOADS, Raw
from benchmarks.table import Result
from dagster_slurm import ComputeResource
from dagster_slurm.managers import HetJobComponent
from dagster_slurm.resources import targets
from testcluster import Cluster

_NOOP = PAYLOADS / "noop.py"
_COMPONENTS = ("one", "two")
#: the script of the experiments, without what is Ray's: a step per component, separate exit codes
_SCRIPT = """#!/bin/bash
#SBATCH -p compute -N1 -n1 --mem=100 -o log
#SBATCH hetjob
#SBATCH -p compute -N1 -n1 --mem=100
srun --het-group=0 --overlap -N1 -n1 --mem=0 python3 payload.py & P0=$!
srun --het-group=1 --overlap -N1 -n1 --mem=0 python3 payload.py & P1=$!
wait $P0; r0=$?; wait $P1; r1=$?
: >done.$SLURM_JOB_ID
exit $(( r0 > r1 ? r0 : r1 ))
"""


@dg.asset
def pair(context: dg.AssetExecutionContext, compute: ComputeResource) -> object:
    """Two payloads that do nothing, in one job."""
    components = [HetJobComponent(component_id=name, payload_path=_NOOP) for name in _COMPONENTS]
    return compute.run_heterogeneous(context=context, components=components)


def two_noops(cluster: Cluster, *, quick: bool) -> list[Result]:
    """A heterogeneous job of two no-ops, through a connection that is open."""
    raw = Raw(cluster)
    raw.prepare("pair", _NOOP.read_text(), _SCRIPT)
    assets.materialize([pair], cluster)
    before, times = _submissions(cluster), 7 if quick else 21
    by_hand, ours = interleaved(
        times, lambda: raw.submit_and_wait("pair"), lambda: assets.materialize([pair], cluster), pause=1.0
    )
    asked = _submissions(cluster) - before
    raw.close()
    a, b = median(by_hand), median(ours)
    remark = f"{times} runs; {asked / times:.1f} commands there each"
    met = b - a <= 0.3 and asked <= times
    return [Result("two components, no-op", seconds(b), "raw + 0.3 s", met, seconds(a), b / a, remark)]


def _submissions(cluster: Cluster) -> int:
    slurm = place.compute(cluster).slurm
    assert slurm is not None
    answer, _ = targets.cluster(slurm).host.request("counts")
    return sum(dict(answer["commands"]).values())
