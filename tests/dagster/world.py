"""A code location as users have one. Runs of it are launched in processes of their own, as the UI launches them.

What an asset runs is said in its config, so that one location serves for all tests.
"""

import os
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_slurm import (
    ComputeResource,
    SlurmQueueConfig,
    SlurmResource,
    SlurmSessionResource,
    SSHConnectionResource,
)
from dagster_slurm.managers import HetJobComponent


class Plan(dg.Config):
    """What to run, and where."""

    where: str = "local"
    payload: str
    extras: dict[str, Any] = Field(default={})
    resources: dict[str, Any] = Field(default={})


def run(context: dg.AssetExecutionContext, config: Plan) -> Any:
    compute: ComputeResource = getattr(context.resources, config.where)
    return compute.run(
        context=context, payload_path=config.payload, extras=config.extras, extra_slurm_opts=config.resources
    )


KEYS = {"local", "slurm", "slurm_keep", "session"}


@dg.asset(required_resource_keys=KEYS)
def plain(context: dg.AssetExecutionContext, config: Plan):
    return run(context, config)


@dg.asset(required_resource_keys=KEYS, retry_policy=dg.RetryPolicy(max_retries=3))
def patient(context: dg.AssetExecutionContext, config: Plan):
    """Dagster runs the step again if it fails."""
    return run(context, config)


@dg.asset(required_resource_keys=KEYS, partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def parted(context: dg.AssetExecutionContext, config: Plan):
    return run(context, config)


@dg.asset(required_resource_keys=KEYS)
def pair(context: dg.AssetExecutionContext, config: Plan):
    """The payload twice, as components of one job."""
    compute: ComputeResource = getattr(context.resources, config.where)
    components = [
        HetJobComponent(component_id=name, payload_path=config.payload, extras=config.extras) for name in ("one", "two")
    ]
    return compute.run_heterogeneous(context=context, components=components)


def resources() -> dict[str, ComputeResource]:
    ssh = SSHConnectionResource.from_env() if os.environ.get("SLURM_EDGE_NODE_HOST") else None
    slurm = SlurmResource(ssh=ssh, queue=SlurmQueueConfig(partition="compute", mem="100M", time_limit="00:10:00"))
    held = SlurmSessionResource(cpus=3, mem="600M", time_limit="00:10:00")
    return {
        "local": ComputeResource(mode="local"),
        "slurm": ComputeResource(mode="slurm", slurm=slurm),
        "slurm_keep": ComputeResource(mode="slurm", slurm=slurm, forward_termination=False),
        "session": ComputeResource(mode="slurm-session", slurm=slurm, session=held),
    }


def job(names: str, executor: dg.ExecutorDefinition) -> Any:
    return dg.define_asset_job(f"{names}_{executor.name}", selection=JOBS[names], executor_def=executor)


JOBS = {
    "plain": ["plain"],
    "patient": ["patient"],
    "both": ["plain", "patient"],
    "parted": ["parted"],
    "pair": ["pair"],
}
EXECUTORS = (dg.in_process_executor, dg.multiprocess_executor)
defs = dg.Definitions(
    assets=[plain, patient, parted, pair],
    jobs=[job(names, executor) for names in JOBS for executor in EXECUTORS],
    resources=resources(),
)
