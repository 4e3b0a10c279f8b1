"""Upstream assets as parameters: the path of their results, or why it is not here."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource, SlurmPathIOManager
from tests.dagster.conftest import BOTH
from tests.dagster.support import Bench, Ran

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")

WRITE = "open(os.environ['DAGSTER_SLURM_OUTPUT_DIR'] + '/n.txt', 'w').write(pipes.get_extra('text'))"
READ = """
    path = pipes.get_extra("path")
    found = {key: open(one + "/n.txt").read() for key, one in (path if isinstance(path, dict) else {"": path}).items()}
    pipes.report_asset_materialization(metadata={"read": {"raw_value": found, "type": "json"}})
"""


def two(bench: Bench, *, down: Any = None, meta: Any = None, **up: Any) -> list[dg.AssetsDefinition]:
    writes, reads = bench.payloads.pipes(WRITE), bench.payloads.pipes(READ)

    @dg.asset(key_prefix="raw", io_manager_key="path", **up)
    def source(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        extras = {"text": context.partition_key if context.has_partition_key else "seven"}
        return compute.run(context=context, payload_path=writes, extras=extras)

    @dg.asset(ins={"given": dg.AssetIn(["raw", "source"], metadata=meta)}, partitions_def=down, io_manager_key="path")
    def reader(context: dg.AssetExecutionContext, compute: ComputeResource, given: Any) -> Any:
        return compute.run(context=context, payload_path=reads, extras={"path": given})

    return [source, reader]


def run(bench: Bench, *assets: Any, **options: Any) -> Ran:
    return bench.materialize(*assets, resources={"path": SlurmPathIOManager(compute=bench.compute)}, **options)


@BOTH
def test_the_path_of_an_upstream_asset(any_bench: Bench) -> None:
    ran = run(any_bench, *two(any_bench))
    assert ran.success, ran.logged()
    assert ran.metadata("reader")["read"] == {"": "seven"}


def test_partitions(bench: Bench) -> None:
    parts = dg.StaticPartitionsDefinition(["x/ y", "z"])
    source, reader = two(bench, partitions_def=parts, down=parts)
    assert run(bench, source, reader, partition_key="x/ y").metadata("reader")["read"] == {"": "x/ y"}
    source, reader = two(bench, partitions_def=parts)
    failed = run(bench, reader, source, selection=[reader])
    assert "raw/source, partition 'z' was never made" in failed.failure.text
    assert "1 of 2 partitions" in failed.failure.text
    source, reader = two(bench, partitions_def=parts, meta={"allow_missing_partitions": True})
    ran = run(bench, reader, source, selection=[reader])
    assert ran.metadata("reader")["read"] == {"x/ y": "x/ y"}


def test_what_was_never_made(bench: Bench) -> None:
    source, reader = two(bench)
    instance = dg.DagsterInstance.ephemeral()
    fresh = Bench(instance, bench.compute, bench.payloads)
    failed = run(fresh, source, reader, selection=[reader])
    assert not failed.success
    assert failed.failure.text.startswith("raw/source was never made: nothing lies at ")
    assert failed.failure.metadata["slurm/error"] == "ResultNotHere"


def test_a_result_of_elsewhere_is_not_here(bench: Bench, tmp_path: Path) -> None:
    source, reader = two(bench)
    assert run(bench, source).success
    other = ComputeResource(mode="local", local_base=bench.compute.local_base, data_base=str(tmp_path / "elsewhere"))
    moved = Bench(bench.instance, other, bench.payloads)
    text = run(moved, source, reader, selection=[reader]).failure.text
    assert f"it was made at {bench.compute.path('raw/source')} on this machine" in text
    assert f"nothing lies at {tmp_path}/elsewhere/raw+source" in text


@pytest.mark.cluster
def test_a_result_of_local_mode_is_not_on_the_cluster(bench: Bench, cluster_bench: Bench) -> None:
    source, reader = two(bench)
    assert run(cluster_bench, source).success  # something lies there, and it is not the latest
    assert run(bench, source).success
    text = run(cluster_bench, source, reader, selection=[reader]).failure.text
    assert "raw/source is not here: it was made at " in text
    assert "another result lies at " in text


def test_a_value_is_not_stored(bench: Bench) -> None:
    @dg.asset(io_manager_key="path")
    def seven() -> int:
        return 7

    failed = run(bench, seven)
    assert "SlurmPathIOManager stores none" in failed.failure.text


def test_without_a_folder_for_results(bench: Bench, tmp_path: Path) -> None:
    source, reader = two(bench)
    plain = Bench(bench.instance, ComputeResource(mode="local", local_base=str(tmp_path / "b")), bench.payloads)
    assert "nobody said where results live" in run(plain, source, reader, selection=[reader]).failure.text
