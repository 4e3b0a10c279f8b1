"""Results in the other modes: components of one job, and sessions."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, Resources, SlurmSessionResource
from tests.dagster.conftest import BOTH, on
from tests.dagster.support import Bench, values
from tests.dagster.together import Parts, asset_of

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")

#: a component that starts after another needs more time than that one
LATER = Resources(time_limit="00:11:00")
WRITE = "open(os.path.join(os.environ['DAGSTER_SLURM_OUTPUT_DIR'], {name!r}), 'w').write('{name}')"


def reader_of(bench: Bench, *assets: Any) -> dg.AssetsDefinition:
    """An asset that tells what lies in the results of others."""
    payload = bench.payloads.pipes(
        """
        found = {key: sorted(os.listdir(path)) for key, path in pipes.get_extra("DAGSTER_SLURM_INPUTS").items()}
        pipes.report_asset_materialization(metadata={"found": {"raw_value": found, "type": "json"}})
        """
    )

    @dg.asset(deps=list(assets))
    def reader(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload)

    return reader


@BOTH
def test_components_share_the_folder_of_one_asset(any_bench: Bench) -> None:
    same = "assert pipes.get_extra('DAGSTER_SLURM_OUTPUTS')['both'] == pipes.get_extra('DAGSTER_SLURM_OUTPUT_DIR')\n"
    parts = Parts(any_bench.payloads).pipes("one", same + WRITE.format(name="one"))
    parts.pipes("two", same + WRITE.format(name="three"), after=["one"], resources=LATER)
    both = asset_of(parts)
    ran = any_bench.materialize(both, reader_of(any_bench, both))
    assert ran.success, ran.logged()
    found = ran.metadata("both")
    assert (found["slurm/output_files"], found["slurm/output_bytes"]) == (2, 8)
    assert found["slurm/output_path"] == any_bench.compute.path("both")
    assert ran.metadata("reader")["found"] == {"both": ["one", "three"]}


@BOTH
def test_each_component_writes_its_own_asset(any_bench: Bench) -> None:
    parts = Parts(any_bench.payloads).pipes("good", WRITE.format(name="x"))
    parts.pipes("bad", WRITE.format(name="y") + "; sys.exit(3)")

    @dg.multi_asset(specs=[dg.AssetSpec("good"), dg.AssetSpec("bad")])
    def several(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_heterogeneous(context=context, components=parts.made, on_failure="wait")

    ran = any_bench.materialize(several)
    assert not ran.success
    event = any_bench.instance.get_latest_materialization_event(dg.AssetKey("good"))
    assert event is not None
    assert event.run_id == ran.result.run_id
    found = values(event.asset_materialization.metadata)
    assert found["slurm/output_files"] == 1
    assert found["slurm/output_path"] == any_bench.compute.path("good")
    assert not any_bench.materialize(
        reader_of(any_bench, "good", "bad")
    ).success  # nothing of the one that failed is there
    assert any_bench.materialize(reader_of(any_bench, "good")).metadata("reader")["found"] == {"good": ["x"]}


@BOTH
def test_components_of_which_one_fails_leave_the_earlier_result(any_bench: Bench) -> None:
    first = asset_of(Parts(any_bench.payloads).pipes("one", WRITE.format(name="old")).pipes("two"))
    assert any_bench.materialize(first).success
    second = Parts(any_bench.payloads).pipes("one", WRITE.format(name="new"))
    second.pipes("two", "sys.exit(3)", after=["one"], resources=LATER)
    assert "SystemExit: 3" in any_bench.materialize(asset_of(second)).failure.text
    ran = any_bench.materialize(reader_of(any_bench, first))
    assert ran.metadata("reader")["found"] == {"both": ["old"]}


@pytest.mark.cluster
def test_assets_of_a_session(cluster: Any, instance: dg.DagsterInstance, payloads: Any, tmp_path: Path) -> None:
    slurm = on(cluster, data_base=f"~/{tmp_path.name}").slurm
    session = SlurmSessionResource(num_nodes=1, cpus=2, mem="300M", time_limit="00:05:00", idle_timeout=5)
    compute = ComputeResource(mode="slurm-session", slurm=slurm, session=session, default_launcher=BashLauncher())
    bench = Bench(instance, compute, payloads)
    payload = payloads.pipes(WRITE.format(name="x"))

    @dg.asset
    def source(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload)

    ran = bench.materialize(source, reader_of(bench, source))
    assert ran.success, ran.logged()
    assert ran.metadata("source")["slurm/output_path"] == compute.path("source")
    assert ran.metadata("reader")["found"] == {"source": ["x"]}
