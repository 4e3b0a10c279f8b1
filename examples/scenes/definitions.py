"""Three assets in trouble: Dagster is killed, memory runs out, nodes are taken."""

import dagster as dg

from dagster_slurm import ComputeResource, Resources


@dg.asset
def patient_count(context: dg.AssetExecutionContext, compute: ComputeResource):
    """Counts for some seconds."""
    asked = Resources(cpus=1, mem="100M", time_limit="00:05:00")
    return compute.run(context=context, payload_path="payloads/count.py", extras={"seconds": 8}, resources=asked)


@dg.asset
def hungry(context: dg.AssetExecutionContext, compute: ComputeResource):
    """Fills more memory than it asks for."""
    asked = Resources(cpus=1, mem="100M", time_limit="00:05:00")
    return compute.run(context=context, payload_path="payloads/fill.py", extras={"mebibytes": 400}, resources=asked)


@dg.asset
def latecomer(context: dg.AssetExecutionContext, compute: ComputeResource):
    """Wants a node of which none is free."""
    asked = Resources(nodes=1, mem="100M", time_limit="00:01:00", options={"exclusive": True})
    return compute.run(context=context, payload_path="payloads/count.py", extras={"seconds": 0}, resources=asked)


ASSETS = (patient_count, hungry, latecomer)
defs = dg.Definitions(
    assets=ASSETS,
    jobs=[
        dg.define_asset_job(f"{asset.key.to_user_string()}_job", selection=[asset], executor_def=dg.in_process_executor)
        for asset in ASSETS
    ],
    resources={"compute": ComputeResource.from_env()},
)


def patient_count_job() -> dg.JobDefinition:
    """For a process that runs it again, which has to find it by this function."""
    return defs.resolve_job_def("patient_count_job")
