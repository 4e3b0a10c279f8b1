"""Heat in a metal plate: one job computes it, the next one reads its file and draws it, and the picture comes back.

The file stays where the jobs run. `SLURM_DATA_BASE_PATH` says where: a folder on this machine, or, if the environment
names a cluster, one there that all nodes share.
"""

import os

import dagster as dg

from dagster_slurm import ComputeResource, Resources

os.environ.setdefault("SLURM_DATA_BASE_PATH", "~/heat-results")
SMALL = Resources(cpus=1, mem="200M", time_limit="00:05:00")


class Plate(dg.Config):
    """How fine, and how long."""

    size: int = 96
    steps: int = 400


@dg.asset
def temperatures(context: dg.AssetExecutionContext, compute: ComputeResource, config: Plate):
    """Temperatures of a plate that is held at 100 degrees along one edge and has a cold hole."""
    extras = {"size": config.size, "steps": config.steps}
    return compute.run(context=context, payload_path="payloads/temperatures.py", extras=extras, resources=SMALL)


@dg.asset(deps=[temperatures])
def heat_map(context: dg.AssetExecutionContext, compute: ComputeResource):
    """A picture of the plate, and its temperatures along the middle."""
    completed = compute.run(
        context=context,
        payload_path="payloads/heat_map.py",
        resources=SMALL,
        fetch=["heat_map.png", "middle.csv", "summary.json"],
    )
    context.log.info(f"The picture is {completed.fetched['heat_map.png']}.")
    return completed


defs = dg.Definitions(assets=[temperatures, heat_map], resources={"compute": ComputeResource.from_env()})
