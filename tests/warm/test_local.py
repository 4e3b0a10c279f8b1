"""A warm cluster beside Dagster, for the steps of one run."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, RayLauncher, Resources
from tests.launchers import environments, traces

PAYLOADS = Path(__file__).parent / "payloads"


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


def guest(name: str, launcher: Any, resources: Resources, *deps: str, **extras: Any) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=list(deps))
    def it(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(
            context=context,
            payload_path=PAYLOADS / "ray_guest.py",
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
