"""An asset whose payload needs packages: uv.lock beside this file decides which.

Nothing names the environment. On a cluster the nearest lock counts, and the step's log says so.
"""

import dagster as dg

from dagster_slurm import ComputeResource, Resources

COUNTS = {"River Path": 4211, "Old Bridge <north>": 987, "Station": 2504}


@dg.asset
def report(context: dg.AssetExecutionContext, compute: ComputeResource):
    """A page of the counts by station."""
    return compute.run(
        context=context,
        payload_path="payloads/report.py",
        extras={"counts": COUNTS},
        resources=Resources(cpus=1, mem="200M", time_limit="00:05:00"),
    )


defs = dg.Definitions(
    assets=[report],
    resources={"compute": ComputeResource.from_env()},
)
