"""The interface as the issue writes it: each way to use the resource and to give its results back."""

from typing import Any

import dagster as dg
import pytest

import dagster_slurm
from dagster_slurm import (
    ComputeLauncher,
    ComputeResource,
    ExecutionMode,
    LocalPipesClient,
    Resources,
    SlurmPipesClient,
    SlurmRunConfig,
)
from dagster_slurm.pipes.completed import CompletedRun
from tests.dagster.support import Bench, Ran

ROWS = "pipes.report_asset_materialization(metadata={'rows': 5}, data_version='v1')"


def test_the_public_names_are_there() -> None:
    for name in dagster_slurm.__all__:
        assert getattr(dagster_slurm, name) is not None
    assert set(dagster_slurm.__all__) == set(dir(dagster_slurm))
    assert ExecutionMode("slurm-session") is ExecutionMode.SLURM_SESSION
    assert ComputeLauncher is not None
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = dagster_slurm.NoSuchThing


@pytest.mark.parametrize("how", ["return", "results", "materialize_result", "yield_from"])
@pytest.mark.parametrize("typed", [True, False], ids=["typed parameter", "required keys"])
def test_an_asset_gives_back(bench: Bench, how: str, typed: bool) -> None:
    path = bench.payloads.pipes(ROWS)
    ran = bench.materialize(typed_asset(path, how) if typed else keyed_asset(path, how))
    assert ran.success
    assert ran.metadata()["rows"] == 5
    assert ran.metadata()["slurm/state"] == "COMPLETED"
    assert ran.logged("warning") == []


def typed_asset(path: Any, how: str) -> dg.AssetsDefinition:
    if how == "yield_from":

        @dg.asset
        def one(context: dg.AssetExecutionContext, compute: ComputeResource):
            yield from compute.run(context=context, payload_path=path)
    else:

        @dg.asset
        def one(context: dg.AssetExecutionContext, compute: ComputeResource):
            return given_back(compute.run(context=context, payload_path=path), how)

    return one


def keyed_asset(path: Any, how: str) -> dg.AssetsDefinition:
    if how == "yield_from":

        @dg.asset(required_resource_keys={"compute"})
        def one(context: dg.AssetExecutionContext):
            yield from context.resources.compute.run(context=context, payload_path=path)
    else:

        @dg.asset(required_resource_keys={"compute"})
        def one(context: dg.AssetExecutionContext):
            return given_back(context.resources.compute.run(context=context, payload_path=path), how)

    return one


def given_back(completed: CompletedRun, how: str) -> Any:
    if how == "results":
        return completed.get_results()
    return completed.get_materialize_result() if how == "materialize_result" else completed


BOTH_ASSETS = """
for key in pipes.asset_keys:
    pipes.report_asset_materialization(asset_key=key, metadata={"was": key})
"""


def two_assets(path: Any, *, reported: bool = True) -> dg.AssetsDefinition:
    @dg.multi_asset(specs=[dg.AssetSpec("first"), dg.AssetSpec(["group", "second"])], can_subset=True)
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    return both


def test_a_multi_asset_and_a_subset_of_it(bench: Bench) -> None:
    both = two_assets(bench.payloads.pipes(BOTH_ASSETS))
    ran = bench.materialize(both)
    assert ran.success
    assert ran.metadata("first")["was"] == "first"
    assert ran.metadata("group", "second")["was"] == "group/second"
    assert ran.metadata("first")["slurm/job_id"] == ran.metadata("group", "second")["slurm/job_id"]
    part = bench.materialize(both, selection=[dg.AssetKey(["group", "second"])])
    assert part.success
    assert part.materialized() == ["group/second"]


def test_a_payload_that_says_nothing_materializes_what_was_asked(bench: Bench) -> None:
    ran = bench.materialize(two_assets(bench.payloads.plain("print('no pipes here')")))
    assert ran.success
    assert sorted(ran.materialized()) == ["first", "group/second"]
    assert ran.metadata("first")["slurm/exit_code"] == 0
    assert ran.logged("warning") == [], "a payload that never opens Pipes is fine"


CHECKS = """
pipes.report_asset_materialization(metadata={"rows": 5})
pipes.report_asset_check(check_name="enough", passed=True, metadata={"least": 3})
pipes.report_asset_check(check_name="fresh", passed=False, severity="WARN", metadata={"age": 1.5})
"""


@pytest.mark.parametrize("how", ["return", "results", "materialize_result", "yield_from"])
def test_an_asset_with_checks(bench: Bench, how: str) -> None:
    path = bench.payloads.pipes(CHECKS)
    specs = [dg.AssetCheckSpec("enough", asset="one"), dg.AssetCheckSpec("fresh", asset="one")]

    if how == "yield_from":

        @dg.asset(check_specs=specs)
        def one(context: dg.AssetExecutionContext, compute: ComputeResource):
            yield from compute.run(context=context, payload_path=path)
    else:

        @dg.asset(check_specs=specs)
        def one(context: dg.AssetExecutionContext, compute: ComputeResource):
            return given_back(compute.run(context=context, payload_path=path), how)

    ran = bench.materialize(one)
    assert ran.success, ran.result.all_events[-2]
    assert ran.metadata()["rows"] == 5
    checks = ran.checks()
    assert checks["enough"].passed
    assert not checks["fresh"].passed
    assert checks["fresh"].severity == dg.AssetCheckSeverity.WARN
    assert checks["fresh"].metadata["age"].value == 1.5
    assert "slurm/job_id" in checks["fresh"].metadata


def test_a_check_of_its_own(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.report_asset_check(asset_key='one', check_name='sound', passed=True)")

    @dg.asset
    def one() -> None: ...

    @dg.asset_check(asset=one)
    def sound(context: dg.AssetCheckExecutionContext, compute: ComputeResource) -> dg.AssetCheckResult:
        return compute.run(context=context, payload_path=path).get_asset_check_result()

    ran = Ran(dg.materialize([one], resources={"compute": bench.compute}, instance=bench.instance), bench.instance)
    job = dg.Definitions(
        assets=[one],
        asset_checks=[sound],
        jobs=[dg.define_asset_job("check", selection=dg.AssetSelection.checks(sound))],
        resources={"compute": bench.compute},
    ).resolve_job_def("check")
    ran = Ran(job.execute_in_process(instance=bench.instance, raise_on_error=False), bench.instance)
    assert ran.success
    assert ran.checks()["sound"].passed


def test_ops_and_jobs(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.report_custom_message({'rows': 5})")

    @dg.op
    def count(context: dg.OpExecutionContext, compute: ComputeResource) -> int:
        return compute.run(context=context, payload_path=path).get_custom_messages()[0]["rows"]

    @dg.op(required_resource_keys={"compute"})
    def again(context: dg.OpExecutionContext, rows: int) -> int:
        completed = context.resources.compute.run(context=context, payload_path=path)
        assert completed.facts["exit_code"] == 0
        return rows + completed.get_custom_messages()[0]["rows"]

    @dg.op
    def careless(context: dg.OpExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    @dg.job
    def counting():
        again(count())
        careless()

    ran = bench.execute(counting)
    assert ran.success
    assert ran.result.output_for_node("again") == 10


def test_what_an_op_returns_can_be_stored(bench: Bench) -> None:
    """An op's output goes through an I/O manager, which pickles it."""
    path = bench.payloads.plain("")

    @dg.op
    def careless(context: dg.OpExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    @dg.op
    def after(context: dg.OpExecutionContext, results: Any) -> None:
        context.log.info(f"{type(results).__name__} of {len(results)}")

    files = dg.FilesystemIOManager().get_resource_definition()

    @dg.job(resource_defs={"io_manager": files, "compute": bench.compute.get_resource_definition()})
    def stored():
        after(careless())

    ran = Ran(stored.execute_in_process(instance=bench.instance, raise_on_error=False), bench.instance)
    assert ran.success
    assert ran.logged("info")[-1] == "tuple of 0"


def test_an_asset_called_as_a_function(bench: Bench) -> None:
    path = bench.payloads.pipes("pipes.log.info('hello')\n" + ROWS)

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path, extras={"a": 1}).get_materialize_result()

    result = one(dg.build_asset_context(), compute=bench.compute)
    assert result.metadata["rows"].value == 5
    with dg.build_asset_context(resources={"compute": bench.compute}) as context:
        result = one(context)
    assert result.metadata["slurm/state"].value == "COMPLETED"
    failing = bench.payloads.pipes("raise ValueError('on purpose')")

    @dg.asset
    def two(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=failing)

    with pytest.raises(dg.Failure, match="on purpose"):
        two(dg.build_asset_context(), compute=bench.compute)


def test_the_clients(bench: Bench, tmp_path: Any) -> None:
    path = bench.payloads.pipes(ROWS)

    @dg.asset
    def one(context: dg.AssetExecutionContext, pipes: dg.ResourceParam[LocalPipesClient]):
        return pipes.run(context=context, payload_path=path).get_results()

    client = LocalPipesClient(local_base=str(tmp_path / "base"))
    ran = bench.materialize(one, resources={"pipes": client})
    assert ran.success
    assert ran.metadata()["rows"] == 5
    assert isinstance(client, dg.PipesClient)


@pytest.mark.cluster
def test_the_client_for_slurm(cluster_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cluster_bench.payloads.pipes(ROWS)
    assert cluster_bench.compute.slurm is not None
    monkeypatch.setenv("TEST_PARTITION", "compute")
    queue = dagster_slurm.SlurmQueueConfig(partition="compute", mem="100M")
    resource = dagster_slurm.SlurmResource(ssh=cluster_bench.compute.slurm.ssh, queue=queue)

    @dg.asset
    def one(context: dg.AssetExecutionContext, pipes: dg.ResourceParam[SlurmPipesClient]):
        return pipes.run(context=context, payload_path=path, resources=Resources(cpus=2))

    ran = cluster_bench.materialize(one, resources={"pipes": SlurmPipesClient(resource)})
    assert ran.success
    assert ran.metadata()["slurm/partition"] == "compute"
    assert ran.metadata()["slurm/cpus"] == 2


def test_an_unknown_argument_names_the_nearest(bench: Bench) -> None:
    failed = bench.refused(["true"], paylod_path="x")
    assert "run() has no argument 'paylod_path'" in failed.text
    assert "Did you mean 'payload_path'" in failed.text
    assert failed.metadata["slurm/error"] == "ConfigurationError"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"extra_slurm_opts": {"partion": "x"}}, "Did you mean 'partition'"),
        ({"extra_slurm_opts": {"cpu-per-task": 2}}, "cpus-per-task"),
        ({"extra_slurm_opts": {"job-name": "x"}}, "--job-name cannot be set"),
        ({"resource_requirements": {"memory": 2}}, "Did you mean 'memory_gb'"),
        ({"config": SlurmRunConfig(extra_slurm_opts={"qoss": "x"})}, "Did you mean 'qos'"),
    ],
)
def test_an_unknown_slurm_option_names_the_nearest(bench: Bench, arguments: dict[str, Any], told: str) -> None:
    assert told in bench.refused(**arguments).text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"resources": {"cpus": 4}}, "resources=Resources(cpus=4)"),
        ({"launcher": "bash"}, "BashLauncher()"),
        ({"launcher": dagster_slurm.BashLauncher}, "BashLauncher()"),
        ({"config": {"partition": "x"}}, "SlurmRunConfig"),
        ({"extra_env": {"A": None}}, "A"),
        ({"extra_env": ["A=1"]}, "extra_env"),
        ({"extras": {"when": object()}}, "when"),
        ({"extras": [1]}, "extras"),
        ({"poll_timeout": "5"}, "poll_timeout"),
        ({"poll_timeout": -1}, "poll_timeout"),
        ({"key": ""}, "key"),
    ],
)
def test_an_argument_of_another_kind_is_named(bench: Bench, arguments: dict[str, Any], told: str) -> None:
    failed = bench.refused(**arguments)
    assert told in failed.text


def test_without_a_payload(bench: Bench) -> None:
    failed = bench.refused(None)
    assert "run() needs a payload_path" in failed.text
    assert 'payload_path="train.py"' in failed.text


def test_the_same_key_twice_in_one_step_is_refused(bench: Bench) -> None:
    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        compute.run(context=context, payload_path=["true"], key="mine")
        return compute.run(context=context, payload_path=["true"], key="mine")

    ran = bench.materialize(one)
    assert not ran.success
    assert "key='mine'" in ran.failure.text
