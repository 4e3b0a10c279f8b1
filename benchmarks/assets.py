"""The assets that are measured, and how they are run."""

import os
import time
from pathlib import Path

import dagster as dg

from benchmarks import place
from dagster_slurm import ComputeResource
from testcluster import Cluster

COUNT = 20
AT_ONCE = 8


def asset(name: str, payload: Path, variables: dict[str, str] | None = None) -> dg.AssetsDefinition:
    """An asset that runs one of our payloads."""

    @dg.asset(name=name)
    def run(context: dg.AssetExecutionContext, compute: ComputeResource) -> object:
        return compute.run(context=context, payload_path=payload, extra_env=variables)

    return run


def materialize(assets: list[dg.AssetsDefinition], cluster: Cluster | None) -> None:
    """Run assets in this process; they must succeed."""
    dg.materialize(assets, resources={"compute": place.compute(cluster)})


def _sleeping(name: str) -> dg.AssetsDefinition:
    """An asset of Dagster's own, that takes as long as the payload sleep.py."""

    @dg.asset(name=name)
    def run() -> None:
        time.sleep(float(os.environ["BENCH_SLEEP"]))

    return run


def _job(name: str, assets: list[dg.AssetsDefinition], resources: dict[str, object]) -> dg.JobDefinition:
    executor = dg.multiprocess_executor.configured({"max_concurrent": AT_ONCE})
    job = dg.define_asset_job(name, executor_def=executor)
    return dg.Definitions(assets=assets, jobs=[job], resources=resources).resolve_job_def(name)


def ours() -> dg.JobDefinition:
    """As many payloads in Slurm."""
    variables = {"BENCH_SLEEP": os.environ["BENCH_SLEEP"]}
    assets = [asset(f"asset_{number}", place.PAYLOADS / "sleep.py", variables) for number in range(COUNT)]
    return _job("ours", assets, {"compute": ComputeResource.from_env()})


def own() -> dg.JobDefinition:
    """As many functions in Dagster's own processes."""
    return _job("own", [_sleeping(f"asset_{number}") for number in range(COUNT)], {})
