"""Components of one job, beside Dagster and on the real cluster: what they are given, what they give, who waits."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, Resources
from dagster_slurm.managers import HetJobComponent
from testcluster import Cluster
from tests.dagster.conftest import BOTH, on
from tests.dagster.counting import wait_until
from tests.dagster.support import Bench
from tests.dagster.together import Parts, asset_of, failed, run


@pytest.fixture
def parts(payloads: Any) -> Parts:
    return Parts(payloads)


@BOTH
def test_each_has_its_own_of_everything(any_bench: Bench, parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    report = """
        pipes.log.info(f"log of {pipes.get_extra('me')}")
        print("line of " + os.environ["ME"], file=sys.stderr)
        folder = os.environ["DAGSTER_SLURM_SHARED_DIR"]
        open(os.path.join(folder, os.environ["ME"]), "w").close()
        shown = {name: os.environ[name] for name in os.environ if name.startswith("DAGSTER_SLURM_COMPONENT")}
        pipes.report_asset_materialization(metadata={
            "job": os.environ["DAGSTER_SLURM_JOB_ID"], "shown": {"raw_value": shown, "type": "json"},
            "files": {"raw_value": sorted(os.listdir(".")), "type": "json"},
            "node": os.environ.get("SLURMD_NODENAME", ""), "folder": folder, "cwd": os.getcwd(),
            "memory": os.environ.get("SLURM_MEM_PER_NODE", ""), "tasks": os.environ.get("SLURM_NTASKS_PER_NODE", ""),
        })
    """
    note = any_bench.payloads.plain("hello", "note.txt")
    parts.pipes("prep", report, extras={"me": "p"}, extra_env={"ME": "p"}, resources=Resources(mem="150M"))
    parts.pipes(
        "fit-2",
        report,
        extras={"me": "f"},
        extra_env={"ME": "f"},
        extra_files=[note],
        resources=Resources(cpus=2, mem="250M", time_limit="00:06:00", nodes=2),
        launcher=BashLauncher(tasks_per_node=1),
    )
    ran = run(any_bench, parts)
    assert ran.success, ran.logged()
    found = ran.metadata("both")
    out = capsys.readouterr()
    assert "[prep] line of p\n" in out.err
    assert "[fit-2]" in out.err
    assert {"log of p", "log of f"} <= set(ran.logged("info"))
    assert found["fit-2/files"] == ["note.txt"]
    assert found["prep/files"] == []
    leader = found["prep/slurm/job_id"].removesuffix("+0")
    assert found["fit-2/slurm/job_id"] == f"{leader}+1"
    assert found["prep/job"] == f"{leader}+0"
    assert found["prep/slurm/run_directory"] != found["fit-2/slurm/run_directory"]
    assert found["prep/cwd"].startswith(found["prep/slurm/run_directory"])
    assert found["prep/shown"]["DAGSTER_SLURM_COMPONENT"] == "prep"
    assert found["prep/folder"] == found["fit-2/folder"]
    if not any_bench.on_cluster:
        return
    nodes = found["fit-2/shown"]["DAGSTER_SLURM_COMPONENT_FIT_2_NODES"].split(",")
    assert len(nodes) == 2
    assert found["fit-2/slurm/node_count"] == 2
    assert found["fit-2/node"] in nodes
    assert found["prep/node"] not in nodes
    assert found["fit-2/shown"]["DAGSTER_SLURM_COMPONENT_PREP_NODES"] == found["prep/node"]
    assert found["prep/memory"] == "150"
    assert found["prep/slurm/requested_memory_mib"] == 150
    assert found["fit-2/slurm/requested_memory_mib"] == 250
    assert (found["prep/slurm/cpus"], found["fit-2/slurm/cpus"]) == (1, 2)
    assert found["fit-2/slurm/requested_time"] == "00:06:00"
    assert found["fit-2/slurm/idle_node_hours"] >= 0


@pytest.mark.cluster
def test_the_accounting_shows_two_components_on_their_own_nodes(
    cluster: Cluster, cluster_bench: Bench, parts: Parts
) -> None:
    """One submission; GPUs and partition are the second component's alone. In the mode that is called after it."""
    gpu = Resources(partition="gpu", gpus_per_node=2, time_limit=4, cpus=2)
    parts.shell("prep", 'test -z "$CUDA_VISIBLE_DEVICES"', resources=Resources(time_limit=3, nodelist="node1"))
    parts.shell("train", 'test "$CUDA_VISIBLE_DEVICES" = 0,1', resources=gpu)
    compute = on(cluster, mode="slurm-hetjob")
    ran = cluster_bench.materialize(asset_of(parts), resources={"compute": compute})
    assert ran.success, ran.failure.text
    found = ran.metadata("both")
    leader = found["prep/slurm/job_id"].removesuffix("+0")
    assert len([line for line in ran.logged("info") if line.startswith("Submitted job")]) == 1
    fields = "JobID,NodeList,Partition,AllocTRES,TimelimitRaw"
    argv = ["sacct", "-n", "-P", "-X", "-j", leader, "-o", fields]
    wait_until(lambda: len(cluster.run(argv).stdout.split()) == 2)
    rows = cluster.run(argv).stdout.split()
    first, second = (row.split("|") for row in rows)
    assert (first[0], second[0]) == (f"{leader}+0", f"{leader}+1")
    assert first[1] == "node1"
    assert second[1] in ("node3", "node4")
    assert (first[2], second[2]) == ("compute", "gpu")
    assert "gpu" not in first[3]
    assert "gres/gpu=2" in second[3]
    assert (first[4], second[4]) == ("4", "4"), "the first is kept as long as the second may run"
    assert found["train/slurm/gpus"] == 2


@pytest.mark.cluster
def test_run_in_that_mode_is_a_plain_job(cluster: Cluster, cluster_bench: Bench) -> None:
    compute = on(cluster, mode="slurm-hetjob")
    path = cluster_bench.payloads.plain("true", "payload.sh")

    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    ran = cluster_bench.materialize(one, resources={"compute": compute})
    assert ran.metadata("one")["slurm/job_id"].isdigit()


@BOTH
def test_one_after_another(any_bench: Bench, parts: Parts) -> None:
    """In one allocation, with what the wait costs in the metadata; whatever the order in which they are named."""
    stamp = "pipes.report_asset_materialization(metadata={'at': time.time()})"
    train = Resources(time_limit=9)
    parts.pipes("train", stamp, after=["prep", "other"], resources=train)
    parts.pipes("prep", f"time.sleep(1.2)\n{stamp}", resources=Resources(time_limit=5))
    parts.pipes("other", stamp, resources=Resources(time_limit=4))
    ran = run(any_bench, parts)
    assert ran.success, ran.failure.text
    found = ran.metadata("both")
    assert found["train/at"] > found["prep/at"] > found["other/at"]
    if any_bench.on_cluster:
        assert found["train/slurm/waited_for_others_seconds"] >= 1
        assert found["train/slurm/idle_seconds"] >= found["train/slurm/waited_for_others_seconds"] - 0.1
        assert found["train/slurm/queue_wait_seconds"] == found["prep/slurm/queue_wait_seconds"]


@pytest.mark.cluster
def test_the_gpu_hours_that_waiting_costs(cluster_bench: Bench, parts: Parts) -> None:
    gpu = Resources(partition="gpu", gpus_per_node=2, time_limit=9)
    parts.shell("prep", "sleep 1", resources=Resources(nodelist="node1", time_limit=5))
    parts.shell("train", "true", after=["prep"], resources=gpu)
    found = run(cluster_bench, parts).metadata("both")
    assert found["train/slurm/idle_gpu_hours"] >= 2 / 3600 * 0.99


@BOTH
def test_a_component_that_fails_ends_the_others(any_bench: Bench, parts: Parts, tmp_path: Path) -> None:
    """After the grace period, by TERM, which they may answer; the error names component, cause and log."""
    parts.shell("prep", "sleep 0.5; echo no data >&2; exit 7")
    parts.shell("train", "trap 'echo saved; exit 0' TERM\nfor i in $(seq 600); do sleep 0.1; done")
    parts.shell("later", "true", after=["train"], resources=Resources(time_limit="00:09:00"))
    found = failed(any_bench, parts, grace_period=0)
    assert "component prep (" in found.text
    assert "exit code 7" in found.text
    assert "no data" in found.text
    assert found.metadata["slurm/error"] == "PayloadFailed"
    assert "components: prep: exit_code, train: stopped, later: stopped" in found.text
    assert found.metadata["train/slurm/exit_code"] == 0, "an exit code of 0 after a signal is no success"
    assert found.metadata["prep/slurm/exit_code"] == 7
    assert "later/slurm/exit_code" not in found.metadata


@BOTH
def test_a_component_that_fails_lets_the_others_go_on(any_bench: Bench, parts: Parts) -> None:
    parts.shell("prep", "exit 7")
    parts.pipes("train", "time.sleep(1.5); print('done')")
    parts.shell("later", "true", after=["prep"], resources=Resources(time_limit="00:09:00"))
    found = failed(any_bench, parts, on_failure="wait", grace_period=0)
    assert "components: prep: exit_code, train: success, later: stopped" in found.text
    assert found.metadata["train/slurm/exit_code"] == 0


@BOTH
def test_an_exception_of_one(any_bench: Bench, parts: Parts) -> None:
    parts.pipes("prep").pipes("train", "raise ValueError('bad data')")
    found = failed(any_bench, parts)
    assert "component train (" in found.text
    assert "ValueError: bad data" in found.text
    assert found.metadata["slurm/error"] == "PayloadRaised"
    assert found.metadata["slurm/job_id"].endswith("+1")


@BOTH
def test_several_assets(any_bench: Bench, parts: Parts) -> None:
    """Each has its own result and checks, and a payload need not name the only asset that it makes."""
    parts.pipes("raw", "pipes.report_asset_materialization(metadata={'rows': 3}, data_version='v1')")
    parts.pipes(
        "model",
        "pipes.report_asset_materialization(metadata={'loss': 0.5})\npipes.report_asset_check('small', passed=True)",
    )

    @dg.multi_asset(
        specs=[dg.AssetSpec("raw"), dg.AssetSpec(["ns", "model"], deps=["raw"])],
        check_specs=[dg.AssetCheckSpec("small", asset=["ns", "model"])],
    )
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_heterogeneous(context=context, components=parts.made)

    ran = any_bench.materialize(both)
    assert ran.success, ran.failure.text
    assert ran.metadata("raw")["rows"] == 3
    assert ran.metadata("raw")["slurm/job_id"].endswith("+0")
    assert ran.metadata("ns", "model")["loss"] == 0.5
    assert ran.metadata("ns", "model")["slurm/job_id"].endswith("+1")
    assert ran.checks()["small"].passed
    assert len(ran.materialized()) == 2


def test_of_several_assets_what_succeeded_is_recorded(bench: Bench, parts: Parts) -> None:
    parts.pipes("raw", "pipes.report_asset_materialization(metadata={'rows': 3}, data_version='v1')")
    parts.shell("model", "sleep 0.7; exit 1")

    @dg.multi_asset(specs=[dg.AssetSpec("raw"), dg.AssetSpec("model")])
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_heterogeneous(context=context, components=parts.made)

    ran = bench.materialize(both)
    assert not ran.success
    entries = ran.instance.all_logs(ran.result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    made = [entry.asset_materialization for entry in entries]
    assert [item.asset_key.to_user_string() for item in made if item] == ["raw"]
    assert made[0] is not None
    assert made[0].metadata["rows"].value == 3
    assert made[0].metadata["slurm/state"].value == "COMPLETED"
    assert made[0].tags["dagster/data_version"] == "v1"


def test_an_explicit_map_of_assets(bench: Bench, parts: Parts) -> None:
    report = "for key in {keys}: pipes.report_asset_materialization(asset_key=key, metadata={{'by': key}})"
    parts.pipes("one", report.format(keys=["a", "b"])).pipes("two", report.format(keys=["c"])).shell("side", "true")

    @dg.multi_asset(specs=[dg.AssetSpec(name) for name in "abc"])
    def all_three(context: dg.AssetExecutionContext, compute: ComputeResource):
        chosen = {"one": ["a", "b"], "two": "c"}
        return compute.run_heterogeneous(context=context, components=parts.made, assets=chosen)

    ran = bench.materialize(all_three)
    assert ran.success, ran.failure.text
    assert [ran.metadata(name)["by"] for name in "abc"] == ["a", "b", "c"]
    assert ran.metadata("c")["slurm/job_id"].endswith("+1")
    assert ran.metadata("c")["side/slurm/exit_code"] == 0


def test_what_is_given_back_can_be_used_in_every_way(bench: Bench, parts: Parts) -> None:
    parts.pipes("a", "pipes.report_asset_materialization(data_version='v7'); pipes.report_custom_message({'x': 1})")
    parts.pipes("b", "pipes.report_custom_message([2])")
    seen: dict[str, Any] = {}

    @dg.asset
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        found = compute.run_heterogeneous(context=context, components=parts.made)
        seen.update(messages=found.get_custom_messages(), facts=found.facts, results=found.get_results())
        assert found.get_results(implicit_materializations=False) == list(found)
        return found.get_materialize_result()

    ran = bench.materialize(both)
    assert ran.success, ran.failure.text
    assert seen["messages"] == [{"x": 1}, [2]]
    assert seen["facts"]["b"]["exit_code"] == 0
    assert len(seen["results"]) == 1
    assert seen["results"][0].data_version == dg.DataVersion("v7")
    assert {"a/slurm/exit_code", "b/slurm/exit_code"} <= set(ran.metadata("both"))


def test_payloads_beside_the_asset(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``<component_id>.py``, or the one that is named for all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prep.py").write_text("print('prep itself')")
    (tmp_path / "any.py").write_text("print('any')")

    @dg.asset
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        components = [HetJobComponent(component_id="prep"), HetJobComponent(component_id="fit", payload_path="any.py")]
        return compute.run_heterogeneous(context=context, components=components)

    @dg.asset
    def same(context: dg.AssetExecutionContext, compute: ComputeResource):
        components = [HetJobComponent(component_id=name) for name in ("x", "y")]
        return compute.run_heterogeneous(context=context, components=components, payload_path="any.py")

    assert bench.materialize(both, same).success


BAD = {
    "none": ([], {}, "needs components"),
    "no list": (HetJobComponent(component_id="a"), {}, "is no list"),
    "no component": (["a"], {}, "is no HetJobComponent"),
    "an unsafe id": ([HetJobComponent(component_id="../a")], {}, "is no name for a component"),
    "an id twice": ([HetJobComponent(component_id="a"), HetJobComponent(component_id="a")], {}, "is given twice"),
    "a circle": (
        [HetJobComponent(component_id=name, payload_path=["true"], after=[other]) for name, other in ("ab", "ba")],
        {},
        "after goes in a circle: a -> b -> a",
    ),
    "after a text": ([HetJobComponent(component_id="a", after="b")], {}, "is no list of names"),
    "no payload": ([HetJobComponent(component_id="nowhere")], {}, "component 'nowhere': There is no payload"),
    "a setting": ([HetJobComponent(component_id="a")], {"on_failure": "stop"}, "on_failure='stop' is not known"),
    "a grace": ([HetJobComponent(component_id="a")], {"grace_period": -1}, "is not a number of seconds"),
    "an argument": ([HetJobComponent(component_id="a")], {"component": 1}, "has no argument 'component'"),
    "no such asset": (
        [HetJobComponent(component_id="a", payload_path=["true"])],
        {"assets": {"a": "other"}},
        "names 'other', which this step does not make",
    ),
    "no maker": ([HetJobComponent(component_id="a")], {"assets": {}}, "no component makes the asset 'both'"),
    "an odd value": (
        [HetJobComponent(component_id="a", payload_path=["true"], extra_env={"PPID": "1"})],
        {},
        "is bash's own",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_is_said_before_anything_is_begun(bench: Bench, payloads: Any, what: str) -> None:
    components, arguments, told = BAD[what]
    wrong = Parts(payloads)
    wrong.made = components  # pyright: ignore[reportAttributeAccessIssue] - as a user may
    found = failed(bench, wrong, **arguments)
    assert told in found.text
    assert "What to do: " in found.text or what == "a grace"


IMPOSSIBLE = {
    "a partition": (Resources(partition="nowhere"), "component 'fit': there is no partition 'nowhere'"),
    "nodes": (Resources(nodes=9), "component 'fit' asks for 9 nodes"),
    "GPUs": (Resources(partition="gpu", gpus_per_node=8), "8 GPUs, which the partition gpu does not have"),
    "memory": (Resources(mem="900G"), "921600 MiB"),
}


@pytest.mark.cluster
@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_no_partition_has_is_not_submitted(cluster_bench: Bench, parts: Parts, what: str) -> None:
    asked, told = IMPOSSIBLE[what]
    parts.shell("prep", "true").shell("fit", "true", resources=asked)
    found = failed(cluster_bench, parts)
    assert told in found.text
    assert found.metadata["slurm/error"] == "ConfigurationError"


@pytest.mark.cluster
def test_a_later_component_must_have_time_left(cluster_bench: Bench, parts: Parts) -> None:
    """Where nothing else is said, all have the queue's limit."""
    parts.shell("prep", "true").shell("fit", "true", after=["prep"])
    assert "component 'fit' starts after 'prep', but its time limit" in failed(cluster_bench, parts).text
