"""The hint about what an asset asks for, from its past runs; and the check that says the same."""
# No lazy annotations here: Dagster reads them when the asset is made.

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, Resources, SlurmQueueConfig, SlurmResource, build_right_sizing_check
from testcluster import Cluster
from tests.dagster.conftest import DAGSTERS, connection

pytestmark = pytest.mark.filterwarnings(DAGSTERS)


@dg.asset
def modest(context: dg.AssetExecutionContext, compute: ComputeResource):
    asked = Resources(mem="1500M", time_limit="02:00:00")
    return compute.run(context=context, payload_path=["true"], resources=asked)


def past(instance: dg.DagsterInstance, times: int, **facts: float) -> None:
    for _ in range(times):
        metadata = {f"slurm/{name}": value for name, value in facts.items()}
        instance.report_runless_asset_event(dg.AssetMaterialization("modest", metadata=metadata))


def checked(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    check = build_right_sizing_check(modest)
    chosen = dg.AssetSelection.checks(check)
    places = {"compute": ComputeResource()}
    ran = dg.materialize([modest, check], instance=instance, selection=chosen, resources=places)
    (event,) = ran.get_asset_check_evaluations()
    return event


@pytest.mark.cluster
def test_the_third_run_on_a_cluster_says_what_would_do(cluster: Cluster) -> None:
    slurm = SlurmResource(ssh=connection(cluster), queue=SlurmQueueConfig(partition="compute"))
    compute = ComputeResource(mode="slurm", slurm=slurm)
    said: list[object] = []
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(3):
            ran = dg.materialize([modest], resources={"compute": compute}, instance=instance)
            (event,) = ran.get_asset_materialization_events()
            found = event.materialization.metadata.get("slurm/right_sizing")
            said.append(None if found is None else found.value)
        evaluation = checked(instance)
    assert said[:2] == [None, None]
    assert "asked 1.5G of memory, used " in str(said[2])
    assert "in 3 runs: 100M would do; asked 02:00:00, took 00:00:0" in str(said[2])
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert evaluation.metadata["hints"].value == said[2]


def test_the_check_says_nothing_without_reason() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        past(instance, 3, requested_memory_mib=1000, peak_memory_mib=900)
        evaluation = checked(instance)
    assert evaluation.passed
    assert evaluation.metadata["runs"].value == 3


def test_local_runs_ask_for_nothing() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        past(instance, 3, requested_memory_mib=64000, peak_memory_mib=900)
        ran = dg.materialize([modest], resources={"compute": ComputeResource()}, instance=instance)
        (event,) = ran.get_asset_materialization_events()
    assert "slurm/right_sizing" not in event.materialization.metadata
