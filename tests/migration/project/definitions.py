"""A project as the documentation of dagster-slurm 1.x has them; not a line of it knows of this version.

Resources by the name of the deployment, as its examples do; assets with all documented arguments of `run`.
"""

import os

import dagster as dg

from dagster_slurm import (
    BashLauncher,
    ComputeResource,
    SlurmQueueConfig,
    SlurmResource,
    SlurmRunConfig,
    SSHConnectionResource,
)


def compute() -> ComputeResource:
    if os.environ.get("DAGSTER_DEPLOYMENT", "development") == "development":
        return ComputeResource(mode="local", default_launcher=BashLauncher())
    ssh = SSHConnectionResource.from_env(prefix="SLURM_EDGE_NODE")
    slurm = SlurmResource(
        ssh=ssh,
        queue=SlurmQueueConfig(
            partition=os.environ["SLURM_PARTITION"],
            num_nodes=1,
            time_limit="00:10:00",
            cpus=1,
            mem="200M",
            mem_per_cpu="",
            gpus_per_node=0,
            qos="normal",
        ),
        remote_base=os.environ["SLURM_DEPLOYMENT_BASE_PATH"],
    )
    return ComputeResource(
        mode="slurm",
        slurm=slurm,
        default_launcher=BashLauncher(),
        auto_detect_platform=True,
        default_skip_payload_upload=False,
    )


SCRIPT = dg.file_relative_path(__file__, "payloads/process.py")


@dg.asset
def process_data(context: dg.AssetExecutionContext, compute: ComputeResource):
    completed_run = compute.run(
        context=context,
        payload_path=SCRIPT,
        launcher=BashLauncher(),
        extra_env={"KEY_ENV": "value"},
        extras={"foo": "bar"},
        extra_slurm_opts={"nodes": 1, "cpus_per_task": 2, "mem": "100M", "gpus_per_node": 0, "time_limit": "00:05:00"},
    )
    yield from completed_run.get_results()


@dg.asset(deps=[process_data], metadata={"slurm_partition": "compute", "slurm_mem": "150M"})
def launchpad(context: dg.AssetExecutionContext, compute: ComputeResource, config: SlurmRunConfig):
    return compute.run(
        context=context,
        payload_path=SCRIPT,
        extra_env={"KEY_ENV": "other"},
        extras={"foo": 2},
        resource_requirements={"cpus": 2, "gpus": 0, "memory_gb": 0.1, "framework": "ray"},
        config=config,
    ).get_results()


@dg.asset(deps=[process_data])
def result(context: dg.AssetExecutionContext, compute: ComputeResource) -> dg.MaterializeResult:
    return compute.run(context, SCRIPT, extra_env={"KEY_ENV": "third"}, extras={"foo": 3}).get_materialize_result()


defs = dg.Definitions(assets=[process_data, launchpad, result], resources={"compute": compute()})
