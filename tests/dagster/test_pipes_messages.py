"""What a payload reports through Pipes, and what Dagster makes of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import ComputeResource
from tests.dagster.conftest import BOTH, on
from tests.dagster.requeue import requeue_once_it_runs
from tests.dagster.support import Bench

LOGS = """
for level in ("debug", "info", "warning", "error", "critical"):
    getattr(pipes.log, level)(f"at {level}: ü")
pipes.log.info("two\\nlines")
"""


@BOTH
def test_logs_at_all_levels(any_bench: Bench) -> None:
    ran = any_bench.run(any_bench.payloads.pipes(LOGS))
    assert ran.success
    for level in ("debug", "info", "warning", "error", "critical"):
        assert ran.logged(level).count(f"at {level}: ü") == 1
    assert "two\nlines" in ran.logged("info")


METADATA = {
    "text": {"raw_value": "plain", "type": "text"},
    "url": {"raw_value": "https://example.org", "type": "url"},
    "path": {"raw_value": "/a/b", "type": "path"},
    "notebook": {"raw_value": "/a/b.ipynb", "type": "notebook"},
    "json": {"raw_value": {"a": [1, None]}, "type": "json"},
    "md": {"raw_value": "**bold**", "type": "md"},
    "float": {"raw_value": 1.5, "type": "float"},
    "int": {"raw_value": 3, "type": "int"},
    "bool": {"raw_value": True, "type": "bool"},
    "dagster_run": {"raw_value": "some-run", "type": "dagster_run"},
    "asset": {"raw_value": "other/asset", "type": "asset"},
    "null": {"raw_value": None, "type": "null"},
    "timestamp": {"raw_value": 1700000000.0, "type": "timestamp"},
    "table_column_lineage": {
        "raw_value": {"deps_by_column": {"a": [{"asset_key": "other", "column_name": "b"}]}},
        "type": "table_column_lineage",
    },
    "table_schema": {
        "raw_value": {
            "columns": [{"name": "a", "type": "int", "description": None, "tags": {}, "constraints": None}],
            "constraints": None,
        },
        "type": "table_schema",
    },
}
KINDS = {
    "text": dg.TextMetadataValue,
    "url": dg.UrlMetadataValue,
    "path": dg.PathMetadataValue,
    "notebook": dg.NotebookMetadataValue,
    "json": dg.JsonMetadataValue,
    "md": dg.MarkdownMetadataValue,
    "float": dg.FloatMetadataValue,
    "int": dg.IntMetadataValue,
    "bool": dg.BoolMetadataValue,
    "dagster_run": dg.DagsterRunMetadataValue,
    "asset": dg.DagsterAssetMetadataValue,
    "null": dg.NullMetadataValue,
    "timestamp": dg.TimestampMetadataValue,
    "table_column_lineage": dg.TableColumnLineageMetadataValue,
    "table_schema": dg.TableSchemaMetadataValue,
}


def test_metadata_of_every_type(bench: Bench) -> None:
    plain = {"plain_int": 1, "plain_float": 0.5, "plain_list": [1, 2], "plain_none": None, "plain_bool": False}
    path = bench.payloads.pipes(
        f"pipes.report_asset_materialization(metadata={{**{METADATA!r}, **{plain!r}}}, data_version='v7')"
    )
    ran = bench.run(path)
    assert ran.success, ran.failure
    event = bench.instance.get_latest_materialization_event(dg.AssetKey("one"))
    assert event is not None
    assert event.asset_materialization is not None
    found = event.asset_materialization.metadata
    for name, kind in KINDS.items():
        assert isinstance(found[name], kind), (name, found[name])
    assert {name: found[name].value for name in plain} == plain
    assert event.asset_materialization.tags is not None
    assert event.asset_materialization.tags["dagster/data_version"] == "v7"


def test_checks_of_all_severities(bench: Bench) -> None:
    path = bench.payloads.pipes(
        "pipes.report_asset_check('a', passed=True)\n"
        "pipes.report_asset_check('b', passed=False, severity='WARN', metadata={'rows': 3})\n"
        "pipes.report_asset_check('c', passed=False, severity='ERROR')"
    )

    @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="one") for name in "abc"])
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    checks = bench.materialize(one).checks()
    assert {name: (check.passed, check.severity.value) for name, check in checks.items()} == {
        "a": (True, "ERROR"),
        "b": (False, "WARN"),
        "c": (False, "ERROR"),
    }
    assert checks["b"].metadata["rows"].value == 3


def test_custom_messages_keep_their_order(bench: Bench) -> None:
    path = bench.payloads.pipes("for number in range(500): pipes.report_custom_message({'number': number})")
    found: list[Any] = []

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        completed = compute.run(context=context, payload_path=path)
        found.extend(completed.get_custom_messages())
        return completed

    assert bench.materialize(one).success
    assert found == [{"number": number} for number in range(500)]


def test_a_large_message(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.report_asset_materialization(metadata={'text': 'ü' * 3_000_000})")
    assert len(bench.run(path).metadata()["text"]) == 3_000_000


CORRUPT = """
import os
from dagster_pipes import PipesEnvVarParamsLoader
path = PipesEnvVarParamsLoader().load_messages_params()["path"]
def raw(data):
    with open(path, "ab") as file:
        file.write(data + b"\\n")
pipes.log.info("before")
pipes.report_asset_materialization(metadata={"rows": 5})
for line in (b'{"method": "log", "par', b'\\xff\\xfe', b'5', b'null', b'[]', b'{"method": {}}', b'{"method": "closed"',
             b'{"method": "log", "params": {"message": 5}}', b'{"method": "no_such", "params": {}}',
             b'{"method": "report_asset_check", "params": {"asset_key": "one"}}', b''):
    raw(line)
pipes.log.info("after")
"""


@BOTH
def test_a_corrupt_line_is_warned_of_and_the_others_are_kept(any_bench: Bench) -> None:
    ran = any_bench.run(any_bench.payloads.pipes(CORRUPT))
    assert ran.success
    assert ran.metadata()["rows"] == 5
    assert [line for line in ran.logged("info") if line in ("before", "after")] == ["before", "after"]
    warnings = ran.logged("warning")
    assert len(warnings) == 10, warnings
    assert sum("is no Pipes message and was left out" in line for line in warnings) == 7
    assert sum("Dagster refuses it" in line for line in warnings) == 3


def test_a_payload_that_does_not_close_pipes(bench: Bench) -> None:
    """A success that may have lost something is worth Dagster's warning; its results count."""
    path = bench.payloads.plain(
        "import os\nfrom dagster_pipes import open_dagster_pipes\npipes = open_dagster_pipes()\n"
        "pipes.report_asset_materialization(metadata={'rows': 5})\nos._exit(0)\n"
    )
    ran = bench.run(path)
    assert ran.metadata()["rows"] == 5
    assert len(ran.logged("warning")) == 1
    assert "did not receive closed message" in ran.logged("warning")[0]


def test_several_processes_of_one_job_may_report(bench: Bench) -> None:
    """As the tasks of an srun step do."""
    path = bench.payloads.plain(
        "import subprocess, sys\nfrom dagster_pipes import open_dagster_pipes\n"
        "if len(sys.argv) == 1:\n"
        "    for rank in '01': subprocess.run([sys.executable, __file__, rank], check=True)\n"
        "else:\n"
        "    with open_dagster_pipes() as pipes:\n"
        "        pipes.log.info('rank ' + sys.argv[1])\n"
        "        if sys.argv[1] == '1': pipes.report_asset_materialization(metadata={'rows': 5})\n"
    )
    ran = bench.run(path)
    assert ran.metadata()["rows"] == 5
    assert [line for line in ran.logged("info") if line.startswith("rank")] == ["rank 0", "rank 1"]
    assert ran.logged("warning") == []


def test_results_of_a_payload_that_fails_do_not_count(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.report_asset_materialization(metadata={'rows': 5})\nraise ValueError('no')")
    ran = bench.run(path)
    assert not ran.success
    assert ran.materialized() == []


def test_several_calls_in_one_step_are_told_apart(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.report_custom_message(pipes.extras['n'])\nprint(os.getcwd())")
    found: list[Any] = []
    folders: list[str] = []

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource) -> None:
        for number in (1, 2, 2, 3):
            completed = compute.run(context=context, payload_path=path, extras={"n": number})
            found.extend(completed.get_custom_messages())
            folders.append(str(completed.facts["run_directory"]))

    ran = bench.materialize(one)
    assert found == [1, 2, 2, 3]
    assert len(set(folders)) == 4
    assert not ran.success, "Dagster wants the results of Pipes to be returned"


def test_calls_side_by_side_in_one_step(bench: Bench) -> None:
    path = bench.payloads.pipes("time.sleep(0.3)\npipes.report_custom_message(pipes.extras['n'])")

    @dg.op
    def one(context: dg.OpExecutionContext, compute: ComputeResource) -> list[int]:
        def call(number: int) -> int:
            completed = compute.run(context=context, payload_path=path, extras={"n": number})
            return completed.get_custom_messages()[0]

        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(call, range(6)))

    @dg.job
    def the_job():
        one()

    assert bench.execute(the_job).result.output_for_node("one") == list(range(6))


RESTARTED = """
restart = int(os.environ["DAGSTER_SLURM_RESTART"])
print(f"out of {restart}", flush=True)
print(f"cut off {restart}", end="", flush=True)
pipes.log.info(f"start {restart}")
pipes.report_asset_materialization(metadata={"restart": restart})
pipes.report_custom_message({"restart": restart})
if restart == 0:
    open("first", "w").close()
    time.sleep(60)
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_results_of_a_restarted_job_do_not_mix(
    make_cluster: Any, instance: dg.DagsterInstance, payloads: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = make_cluster(accounting=False, requeue_delay=1)
    bench = Bench(instance, on(cluster), payloads)
    path = payloads.pipes(RESTARTED)
    with requeue_once_it_runs(cluster):
        ran = bench.run(path, extra_slurm_opts={"requeue": True})
    assert ran.success, ran.failure
    assert ran.metadata()["restart"] == 1
    assert ran.metadata()["slurm/restarts"] == 1
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith(("out", "cut"))]
    assert lines == ["out of 0", "cut off 0", "out of 1", "cut off 1"]
    assert any("began again (restart 1)" in line for line in ran.logged("info"))
    said = ran.logged("info")
    assert [line for line in said if line.startswith("start")] == ["start 0", "start 1"]
    assert len(said) == len(set(said)), (said, ran.logged("warning"))
