"""What a payload learns of the run through Pipes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource
from tests.dagster.conftest import BOTH
from tests.dagster.support import Bench

TELLS = """
known = {name: getattr(pipes, name) for name in ("job_name", "run_id", "retry_number", "extras")}
if pipes.is_partition_step:
    ends, window = pipes.partition_key_range, pipes.partition_time_window
    known["range"] = [ends["start"], ends["end"]]
    known["partition_key"] = pipes.partition_key if ends["start"] == ends["end"] else None
    known["window"] = [window["start"], window["end"]] if window else None
if pipes.is_asset_step:
    known["asset_keys"] = list(pipes.asset_keys)
    known["code_version"] = pipes.code_version
    known["provenance"] = pipes.provenance is not None
pipes.report_custom_message(known)
"""


def told(
    bench: Bench, *, extras: Any = None, partition_key: str | None = None, tags: Any = None, **asset: Any
) -> tuple[dict[str, Any], str]:
    """What the payload was told, and the run's id."""
    path = bench.payloads.pipes(TELLS)
    known: list[dict[str, Any]] = []

    @dg.asset(**asset)
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        completed = compute.run(context=context, payload_path=path, extras=extras)
        known.extend(completed.get_custom_messages())
        return completed

    ran = bench.materialize(one, partition_key=partition_key, tags=tags)
    assert ran.success
    assert ran.logged("warning") == []
    return known[0], ran.result.run_id


def bench_name(bench: Bench) -> str:
    return str(bench.compute.mode)


@BOTH
def test_a_plain_run(any_bench: Bench) -> None:
    extras = {"text": "ü ' \" \n", "number": 1.5, "nothing": None, "deep": {"list": [1, {"x": True}]}}
    known, run_id = told(any_bench, extras=extras, code_version="7", key=["never", bench_name(any_bench)])
    assert known == {
        "asset_keys": [f"never/{bench_name(any_bench)}"],
        "job_name": "__ephemeral_asset_job__",
        "run_id": run_id,
        "retry_number": 0,
        "extras": extras,
        "code_version": "7",
        "provenance": False,
    }


def test_a_second_time_it_knows_where_the_data_came_from(bench: Bench) -> None:
    assert not told(bench, key="with_provenance")[0]["provenance"]
    assert told(bench, key="with_provenance")[0]["provenance"]


def test_partitions(bench: Bench) -> None:
    known, _ = told(bench, partition_key="ü/a b", partitions_def=dg.StaticPartitionsDefinition(["x", "ü/a b"]))
    assert (known["partition_key"], known["range"], known["window"]) == ("ü/a b", ["ü/a b", "ü/a b"], None)
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    known, _ = told(bench, partition_key="2024-01-03", partitions_def=days)
    assert known["range"] == ["2024-01-03", "2024-01-03"]
    assert known["window"] == ["2024-01-03T00:00:00+00:00", "2024-01-04T00:00:00+00:00"]
    two = dg.MultiPartitionsDefinition({"a": dg.StaticPartitionsDefinition(["1", "2"]), "b": days})
    known, _ = told(bench, partition_key=dg.MultiPartitionKey({"a": "1", "b": "2024-01-01"}), partitions_def=two)
    assert known["partition_key"] == "1|2024-01-01"


@pytest.mark.filterwarnings("ignore:.*backfill_policy:dagster.BetaWarning")
def test_a_range_of_partitions(bench: Bench) -> None:
    """A backfill in a single run."""
    tags = {"dagster/asset_partition_range_start": "2024-01-02", "dagster/asset_partition_range_end": "2024-01-05"}
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    known, _ = told(bench, tags=tags, partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    assert known["range"] == ["2024-01-02", "2024-01-05"]
    assert known["window"] == ["2024-01-02T00:00:00+00:00", "2024-01-06T00:00:00+00:00"]


def test_a_retry_knows_its_number(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.log.info(f'try {pipes.retry_number}')\nif pipes.retry_number < 2: sys.exit(3)")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    ran = bench.materialize(one)
    assert ran.success
    assert [line for line in ran.logged("info") if line.startswith("try")] == ["try 0", "try 1", "try 2"]


def test_an_op_has_no_asset(bench: Bench) -> None:
    path = bench.payloads.pipes(TELLS)

    @dg.op
    def one(context: dg.OpExecutionContext, compute: ComputeResource) -> str:
        return json.dumps(compute.run(context=context, payload_path=path).get_custom_messages()[0])

    @dg.job
    def the_job():
        one()

    ran = bench.execute(the_job)
    known = json.loads(ran.result.output_for_node("one"))
    assert "asset_keys" not in known
    assert known["job_name"] == "the_job"


@BOTH
def test_a_context_of_10_megabytes(any_bench: Bench) -> None:
    data = {f"key {number}": "ü" * 1000 for number in range(1700)}
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    path = any_bench.payloads.pipes(
        "import hashlib\n"
        "text = json.dumps(pipes.extras['data'], sort_keys=True)\n"
        "pipes.report_asset_materialization(metadata={'digest': hashlib.sha256(text.encode()).hexdigest()})"
    )
    ran = any_bench.run(path, extras={"data": data})
    assert ran.metadata()["digest"] == digest
    context = Path(ran.metadata()["slurm/run_directory"]) / "context.json"
    assert context.stat().st_size > 10_000_000
    assert context.stat().st_mode & 0o777 == 0o600


@pytest.mark.cluster
def test_partition_keys_are_no_shell_text(cluster_bench: Bench, tmp_path: Path) -> None:
    key = f"$(touch {tmp_path}/hit) `id` '; \" & | * ../../x"
    known, _ = told(cluster_bench, partition_key=key, partitions_def=dg.StaticPartitionsDefinition([key]))
    assert known["partition_key"] == key
    assert not (tmp_path / "hit").exists()
