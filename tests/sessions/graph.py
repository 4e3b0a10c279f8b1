"""A program: runs assets of one session in Dagster's multiprocess executor, and prints their metadata as JSON."""
# No lazy annotations: Dagster wants to see the types of assets' parameters.

import json
import os
from typing import Any

import dagster as dg

from dagster_slurm import ComputeResource, RayLauncher, Resources, SlurmResource, SlurmSessionResource

GUEST = os.environ.get("GRAPH_GUEST", "")
TWO = Resources(nodes=2, cpus=2, mem=1200)


@dg.asset
def plain(context: dg.AssetExecutionContext, compute: ComputeResource):
    return compute.run(context=context, payload_path=["sleep", "1"])


@dg.asset
def first(context: dg.AssetExecutionContext, compute: ComputeResource):
    return compute.run(context=context, payload_path=GUEST, launcher=RayLauncher(), resources=TWO)


@dg.asset(deps=[first, plain])
def second(context: dg.AssetExecutionContext, compute: ComputeResource):
    return compute.run(context=context, payload_path=GUEST, launcher=RayLauncher(), resources=TWO)


def job() -> dg.JobDefinition:
    compute = ComputeResource(
        mode="slurm-session",
        slurm=SlurmResource.from_env(),
        session=SlurmSessionResource(num_nodes=2, cpus=4, mem=3000, time_limit=10),
        pre_deployed_env_path=os.environ["GRAPH_ENVIRONMENT"],
        enable_cluster_reuse=True,
    )
    definitions = dg.Definitions(
        assets=[plain, first, second],
        jobs=[dg.define_asset_job("all", executor_def=dg.multiprocess_executor)],
        resources={"compute": compute},
    )
    return definitions.resolve_job_def("all")


def main() -> None:
    found: dict[str, dict[str, Any]] = {}
    with dg.DagsterInstance.get() as instance:
        result = dg.execute_job(dg.reconstructable(job), instance=instance)
        for event in result.get_asset_materialization_events():
            assert event.asset_key is not None
            metadata = event.materialization.metadata
            found[event.asset_key.to_user_string()] = {name: value.value for name, value in metadata.items()}
    print("\n" + json.dumps({"success": result.success, "metadata": found}))


if __name__ == "__main__":
    main()
