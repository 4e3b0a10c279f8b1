"""What is computed, and what it needs."""

import os

import dagster as dg

from dagster_slurm import BashLauncher, ComputeResource, RayLauncher, Resources, SparkLauncher
from dagster_slurm.managers import HetJobComponent

#: the folder between the assets, as payloads see it
DATA = os.environ.get("RIVERS_DATA", "~/rivers")
SMALL = Resources(cpus=1, mem="200M", time_limit="00:05:00")
gauges = dg.StaticPartitionsDefinition(["bridge", "mill", "weir"])


@dg.asset(partitions_def=gauges, check_specs=[dg.AssetCheckSpec("no_gaps", asset="readings")])
def readings(context: dg.AssetExecutionContext, short: ComputeResource):
    """A year of daily levels of one gauge. One short job, or one step of the shared allocation, per partition."""
    return short.run(context=context, payload_path="payloads/readings.py", extras={"data": DATA}, resources=SMALL)


@dg.asset(deps=[readings])
def statistics(context: dg.AssetExecutionContext, short: ComputeResource):
    """Mean and extremes of all gauges."""
    return short.run(context=context, payload_path="payloads/extremes.py", extras={"data": DATA}, resources=SMALL)


@dg.asset(deps=[readings])
def floods(context: dg.AssetExecutionContext, large: ComputeResource):
    """How often floods come together: many processes, each with its share of the draws."""
    return large.run(
        context=context,
        payload_path="payloads/floods.py",
        launcher=BashLauncher(tasks_per_node=2),
        extras={"draws": 20000},
        resources=SMALL,
    )


@dg.asset(deps=[statistics])
def forecast(context: dg.AssetExecutionContext, large: ComputeResource):
    """Two stages with needs of their own in one submission: they wait in the queue once."""
    components = [
        HetJobComponent(component_id="prepare", payload_path="payloads/prepare.py", resources=SMALL),
        HetJobComponent(
            component_id="fit",
            payload_path="payloads/fit.py",
            after=["prepare"],
            resources=Resources(cpus=2, mem="300M", time_limit="00:10:00"),
        ),
    ]
    return large.run_heterogeneous(context=context, components=components)


@dg.asset(deps=[readings])
def clusters(context: dg.AssetExecutionContext, large: ComputeResource):
    """On a Ray cluster over all nodes of the job; its environment brings Ray."""
    return large.run(
        context=context,
        payload_path="payloads/clusters.py",
        launcher=RayLauncher(),
        resources=Resources(nodes=1, cpus=2, mem="3G", time_limit="00:15:00"),
    )


@dg.asset(deps=[readings])
def table(context: dg.AssetExecutionContext, large: ComputeResource):
    """On a Spark cluster over all nodes of the job; its environment brings pyspark, and the nodes have Java."""
    return large.run(
        context=context,
        payload_path="payloads/table.py",
        launcher=SparkLauncher(driver_memory="512m"),
        resources=Resources(nodes=1, cpus=2, mem="3G", time_limit="00:15:00"),
    )
