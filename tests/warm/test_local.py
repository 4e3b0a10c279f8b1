"""A warm cluster beside Dagster, for the steps of one run."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import (
    ComputeResource,
    RayLauncher,
    Resources,
    SparkLauncher,
)
from tests.launchers import environments, traces

GUEST = Path(__file__).parent / "payloads/ray_guest.py"
SPARK = Path(__file__).parents[1] / "launchers/payloads/spark_jobs.py"


@dataclass
class Beside:
    """Runs of assets in local mode, and what they said."""

    compute: ComputeResource
    base: Path
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def run(self, *assets: Any, expect: bool = True) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            warnings.filterwarnings("ignore", ".*deprecated and will be removed.*", DeprecationWarning)
            done = dg.materialize(
                list(assets), resources={"compute": self.compute}, instance=instance, raise_on_error=False
            )
        for event in done.get_asset_materialization_events():
            name = event.asset_key.to_user_string() if event.asset_key else ""
            self.metadata[name] = {key: found.value for key, found in event.materialization.metadata.items()}
        assert done.success is expect
        return done


def guest(
    name: str, launcher: Any, resources: Resources, *deps: str, payload: Path = GUEST, **extras: Any
) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=list(deps))
    def it(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(
            context=context,
            payload_path=payload,
            launcher=launcher,
            resources=resources,
            extras=extras,
        )

    return it


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    compute = ComputeResource(
        mode="local",
        local_base=str(tmp_path / "base"),
        pre_deployed_env_path=str(environments.ray()),
        enable_cluster_reuse=True,
        cluster_reuse_tolerance=0.5,
    )
    with traces.none_left(tmp_path, 20.0):
        yield Beside(compute, tmp_path)


TWO = Resources(cpus=2)


@pytest.mark.slow
def test_the_second_asset_uses_the_cluster_of_the_first(beside: Beside) -> None:
    beside.run(
        guest("first", RayLauncher(), TWO, what="leave"),
        guest("second", RayLauncher(), Resources(cpus=3), "first", what="alone"),
    )
    first, second = beside.metadata["first"], beside.metadata["second"]
    assert first["slurm/cluster_reused"] is False
    assert first["slurm/cluster_not_reused_because"] == "there was none"
    assert second["slurm/cluster_reused"] is True
    assert "slurm/cluster_not_reused_because" not in second
    assert first["slurm/cluster_id"] == second["slurm/cluster_id"]
    assert first["address"] == second["address"]
    assert first["sum"] == second["sum"] == 14
    # a job of its own, and nothing of the one before it
    assert first["job"] != second["job"]


@pytest.mark.slow
def test_a_failure_does_not_spoil_the_next_and_a_larger_wish_gets_another(beside: Beside) -> None:
    beside.run(
        guest("broken", RayLauncher(), TWO, what="fail", namespace="shared"),
        guest("next", RayLauncher(), TWO, what="alone", namespace="shared"),
        guest("other_settings", RayLauncher(pre_start_commands=("true",)), TWO),
        expect=False,
    )
    one, other = beside.metadata["next"], beside.metadata["other_settings"]
    assert one["address"] != other["address"]
    assert {one["slurm/cluster_reused"], other["slurm/cluster_reused"]} == {True, False} or (
        other["slurm/cluster_not_reused_because"].startswith("there was none with this environment")
    )


@pytest.mark.slow
def test_spark_stays_as_well(tmp_path: Path) -> None:
    compute = ComputeResource(
        mode="local",
        local_base=str(tmp_path / "base"),
        pre_deployed_env_path=str(environments.spark()),
        enable_cluster_reuse=True,
    )
    with traces.none_left(tmp_path, 20.0):
        beside = Beside(compute, tmp_path)
        launchers = (SparkLauncher(), SparkLauncher(num_executors=1, conf={"spark.sql.shuffle.partitions": "2"}))
        beside.run(
            guest("first", launchers[0], TWO, payload=SPARK, folder=str(tmp_path), workers=1),
            guest("second", launchers[1], TWO, "first", payload=SPARK, folder=str(tmp_path), workers=1),
        )
    first, second = beside.metadata["first"], beside.metadata["second"]
    assert first["slurm/cluster_reused"] is False
    assert second["slurm/cluster_reused"] is True
    assert first["master"] == second["master"]
    assert first["sum"] == second["sum"]


def test_a_tolerance_that_cannot_be_is_refused(tmp_path: Path) -> None:
    compute = ComputeResource(mode="local", local_base=str(tmp_path), cluster_reuse_tolerance=1.5)
    with pytest.raises(dg.Failure, match="is not a part of a whole"):
        _call(compute)


def test_cleanup_of_nothing_ends_nothing(beside_nothing: ComputeResource) -> None:
    assert beside_nothing.cleanup_cluster() == []
    assert beside_nothing.cleanup_cluster("ray-0") == []


@pytest.fixture
def beside_nothing(tmp_path: Path) -> ComputeResource:
    return ComputeResource(mode="local", local_base=str(tmp_path))


def _call(compute: ComputeResource) -> None:
    @dg.asset
    def it(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=["true"])

    with dg.DagsterInstance.ephemeral() as instance:
        # Dagster's own, about its contexts
        warnings.filterwarnings("ignore", ".*deprecated and will be removed.*", DeprecationWarning)
        dg.materialize([it], resources={"compute": compute}, instance=instance)
