"""Who says what a job asks for, and who of them wins."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import (
    BashLauncher,
    ComputeResource,
    Resources,
    SlurmQueueConfig,
    SlurmResource,
    SlurmRunConfig,
)
from tests.dagster.support import Bench, Ran

pytestmark = pytest.mark.cluster


class Thirsty(BashLauncher):
    """A launcher with needs of its own."""

    def needs(self) -> Resources:
        return Resources(cpus=2, mem="60M")


def header(ran: Ran) -> dict[str, str]:
    """What the job asked sbatch for."""
    assert ran.success
    lines = (Path(ran.metadata()["slurm/run_directory"]) / "job.sh").read_text().splitlines()
    options = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in (option.partition("=") for option in options)}


def asking(bench: Bench, *, metadata: Any = None, **arguments: Any) -> dict[str, str]:
    @dg.asset(metadata=metadata or {})
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"], **arguments)

    return header(bench.materialize(one))


def with_queue(bench: Bench, **queue: Any) -> Bench:
    assert bench.compute.slurm is not None
    slurm = SlurmResource(ssh=bench.compute.slurm.ssh, queue=SlurmQueueConfig(**queue))
    return Bench(bench.instance, ComputeResource(mode="slurm", slurm=slurm), bench.payloads)


def test_the_call_then_run_config_metadata_launcher_queue(cluster_bench: Bench) -> None:
    bench = with_queue(cluster_bench, partition="compute", cpus=1, mem="50M", time_limit=7)
    said: dict[str, Any] = {
        "resources": Resources(cpus=6),
        "extra_slurm_opts": {"cpus_per_task": 5},
        "resource_requirements": {"cpus": 4},
        "config": SlurmRunConfig(cpus=3, extra_slurm_opts={"comment": "launchpad"}),
        "metadata": {"slurm_cpus_per_task": 8},
        "launcher": Thirsty(),
    }
    seen: list[str] = []
    for name in [*said, ""]:
        found = asking(bench, **said)
        seen.append(found["cpus-per-task"])
        assert found["time"] == "7"
        assert found["mem"] == ("60M" if "launcher" in said else "50M")
        assert found.get("comment") == ("launchpad" if "config" in said else None)
        said.pop(name, None)
    assert seen == ["6", "5", "4", "3", "8", "2", "1"]


def test_the_launchpad(cluster_bench: Bench) -> None:
    """Run configuration as a person types it."""

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource, config: SlurmRunConfig):
        return compute.run(context=context, payload_path=["true"], config=config)

    typed = {"ops": {"one": {"config": {"cpus": 2, "mem": "70M", "extra_slurm_opts": {"nice": 5}}}}}
    found = header(cluster_bench.materialize(one, run_config=typed))
    assert (found["cpus-per-task"], found["mem"], found["nice"]) == ("2", "70M", "5")


@pytest.mark.parametrize(
    "metadata",
    [
        {"slurm_resources": {"cpus": 2, "mem": "70M", "time-limit": "00:03:00"}},
        {"slurm/cpus": 2, "slurm/mem": "70M", "slurm_time": "00:03:00"},
        {"extra_slurm_opts": {"c": 2, "t": "00:03:00"}, "resource_requirements": {"memory_gb": 70 / 1024}},
        {"slurm_cpus": dg.MetadataValue.int(2), "slurm_mem": "70M", "slurm_time_limit": "00:03:00"},
    ],
)
def test_metadata(cluster_bench: Bench, metadata: dict[str, Any]) -> None:
    found = asking(cluster_bench, metadata=metadata)
    assert found["cpus-per-task"] == "2"
    assert found["mem"] in ("70M", "70")
    assert found["time"] == "00:03:00"


def test_assets_of_one_job_must_agree(cluster_bench: Bench) -> None:
    specs = [dg.AssetSpec("first", metadata={"slurm_cpus": 2}), dg.AssetSpec("second", metadata={"slurm_cpus": 3})]

    @dg.multi_asset(specs=specs, can_subset=True)
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"])

    ran = cluster_bench.materialize(both)
    assert "ask for different resources" in ran.failure.text
    assert header(cluster_bench.materialize(both, selection=["second"]))["cpus-per-task"] == "3"


def test_memory_in_one_way_drops_the_other(cluster_bench: Bench) -> None:
    found = asking(cluster_bench, resources=Resources(mem_per_cpu="40M"))
    assert found["mem-per-cpu"] == "40M"
    assert "mem" not in found


def test_gpus_and_other_gres_are_one_option(cluster_bench: Bench) -> None:
    bench = with_queue(cluster_bench, partition="gpu", mem="50M", gpus_per_node=1)
    path = bench.payloads.plain("import os; print('devices', os.environ['CUDA_VISIBLE_DEVICES'])")
    ran = bench.run(path, resources=Resources(gpus_per_node=2))
    assert header(ran)["gres"] == "gpu:2"
    assert ran.metadata()["slurm/gpus"] == 2


def test_prelude_runs_before_the_payload(cluster_bench: Bench) -> None:
    bench = with_queue(cluster_bench, partition="compute", mem="50M", prelude=["export FROM_PRELUDE='a b'"])
    path = bench.payloads.pipes("pipes.report_asset_materialization(metadata={'seen': os.environ['FROM_PRELUDE']})")
    assert bench.run(path).metadata()["seen"] == "a b"
    broken = with_queue(cluster_bench, partition="compute", mem="50M", prelude=["module load no-such/1.0", "true"])
    failed = broken.refused(path)
    assert "the prelude failed" in failed.text
    assert "module load no-such/1.0" in failed.text


def test_metadata_that_is_no_option(bench: Bench) -> None:
    @dg.asset(metadata={"slurm_partion": "x"})
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"])

    assert "Did you mean 'partition'" in bench.materialize(one).failure.text
