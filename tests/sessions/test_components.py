"""Components in a session: units of the allocation, in their order, with one end."""

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_slurm import BashLauncher, ComputeResource, RayLauncher, Resources
from dagster_slurm.managers import HetJobComponent
from testcluster import Cluster
from tests.dagster.conftest import DAGSTERS, ui
from tests.dagster.counting import on_cluster, wait_until
from tests.dagster.support import Bench, Ran, asset_that_runs
from tests.dagster.test_reattach import kill
from tests.dagster.together import Parts, failed, run
from tests.dagster.ui import Ui
from tests.launchers import environments
from tests.sessions.stages import place_on
from tests.sessions.test_assets import bench, instance, states

__all__ = ["bench", "instance", "ui"]

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings(DAGSTERS)]

WAITS = "for i in $(seq 1200); do sleep 0.1; done"
Make = Callable[..., Bench]


@pytest.fixture
def held(bench: Make) -> Bench:
    """A session for all runs of a test."""
    return bench(name=f"together-{os.getpid()}-{os.urandom(3).hex()}", idle_timeout=5, cpus=3, mem="1G")


def test_they_share_the_allocation_in_their_order(held: Bench) -> None:
    """Each is a step with its own end, files and metadata; time limits count from each one's own start."""
    parts = Parts(held.payloads)
    shared = 'os.environ["DAGSTER_SLURM_SHARED_DIR"]'
    about = textwrap.dedent("""
        shown = {name: os.environ[name] for name in os.environ if name.startswith("DAGSTER_SLURM_COMPONENT")}
        pipes.report_asset_materialization(metadata={
            "at": time.time(), "shown": {"raw_value": shown, "type": "json"}, "node": os.environ["SLURMD_NODENAME"],
            "files": {"raw_value": sorted(os.listdir(os.environ["DAGSTER_SLURM_SHARED_DIR"])), "type": "json"},
        })
    """)
    parts.pipes("late", about, after=["prep"], resources=Resources(time_limit=2, cpus=2))
    parts.pipes("prep", f"open(os.path.join({shared}, 'rows'), 'w').close()\ntime.sleep(1)\n{about}")
    parts.pipes("other", about, extra_env={"X": "1"})
    ran = run(held, parts)
    assert ran.success, ran.failure.text
    found = ran.metadata("both")
    assert len({found[f"{name}/slurm/job_id"] for name in ("late", "prep", "other")}) == 1
    assert len({found[f"{name}/slurm/step"] for name in ("late", "prep", "other")}) == 3
    assert found["late/at"] > found["prep/at"] > found["other/at"]
    assert "rows" in found["late/files"]
    assert found["prep/shown"]["DAGSTER_SLURM_COMPONENT"] == "prep"
    for name in ("late", "prep", "other"):
        own = found[f"{name}/shown"][f"DAGSTER_SLURM_COMPONENT_{name.upper()}_NODES"]
        assert own == found[f"{name}/node"]
    assert found["late/shown"]["DAGSTER_SLURM_COMPONENT_PREP_NODES"] == found["prep/node"]
    assert found["late/slurm/requested_cpus"] == 2
    alone = held.run(held.payloads.plain("print('fine')"))
    assert alone.metadata()["slurm/job_id"] == found["prep/slurm/job_id"], "assets and components share a session"


def test_one_that_fails_ends_the_others(held: Bench) -> None:
    """One runs, one waits for room, one for another component."""
    parts = Parts(held.payloads)
    parts.shell("runs", f"trap 'echo saved; exit 0' TERM\n{WAITS}", resources=Resources(cpus=2))
    parts.shell("fails", "sleep 1.5; echo no data >&2; exit 7")
    parts.shell("no-room", "true", resources=Resources(cpus=3))
    parts.shell("later", "true", after=["runs"])
    found = failed(held, parts, grace_period=0.3)
    assert "component fails (" in found.text
    assert "exit code 7" in found.text
    assert "no data" in found.text
    assert "components: runs: stopped, fails: exit_code, no-room: stopped, later: stopped" in found.text
    assert found.metadata["slurm/error"] == "PayloadFailed"
    assert found.metadata["fails/slurm/exit_code"] == 7
    assert "later/slurm/exit_code" not in found.metadata


def test_one_that_fails_lets_the_others_go_on(held: Bench) -> None:
    """And what succeeded is recorded, with its checks."""
    parts = Parts(held.payloads)
    parts.shell("raw", "exit 7")
    check = "pipes.report_asset_check('small', passed=True)"
    parts.pipes("model", f"time.sleep(1)\npipes.report_asset_materialization(metadata={{'loss': 1}})\n{check}")
    parts.pipes("plot", "", after=["raw"])

    @dg.multi_asset(
        specs=[dg.AssetSpec(name) for name in ("raw", "model", "plot")],
        check_specs=[dg.AssetCheckSpec("small", asset="model")],
    )
    def three(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run_heterogeneous(context=context, components=parts.made, on_failure="wait", grace_period=0)

    ran: Ran = held.materialize(three)
    assert not ran.success
    assert "components: raw: exit_code, model: success, plot: stopped" in ran.failure.text
    made = ran.instance.all_logs(ran.result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert [item.asset_materialization.metadata["loss"].value for item in made if item.asset_materialization] == [1]
    assert ran.instance.all_logs(ran.result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)


def test_several_processes_in_one(held: Bench) -> None:
    """A launcher with processes of its own starts them on its component's nodes, as for an asset."""
    parts = Parts(held.payloads)
    parts.shell("ranks", 'echo "rank $RANK of $WORLD_SIZE"', launcher=BashLauncher(tasks_per_node=2))
    parts.pipes("one", "pipes.report_asset_materialization(metadata={'x': 1})")
    ran = run(held, parts)
    assert ran.success, ran.failure.text
    assert ran.metadata("both")["one/x"] == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Resources(nodes=2), "component 'fit' asks for 2 nodes, and the session's allocation has 1"),
        (Resources(cpus=5), "component 'fit' asks for 5 CPUs on a node"),
        (Resources(mem="9G"), "component 'fit' asks for 9216 MiB on a node"),
        (Resources(gpus_per_node=1), "component 'fit' asks for 1 GPUs on a node"),
    ],
)
def test_what_the_allocation_cannot_give_is_said_before_it_is_asked_for(
    bench: Make, cluster: Cluster, asked: Resources, told: str
) -> None:
    place = bench()
    jobs = cluster.run(["squeue", "-h", "--states=all", "-o", "%i"]).stdout
    parts = Parts(place.payloads)
    found = failed(place, parts.shell("prep", "true").shell("fit", "true", resources=asked))
    assert told in found.text
    assert found.metadata["slurm/error"] == "ConfigurationError"
    assert "SlurmSessionResource" in found.metadata["slurm/what_to_do"]
    assert set(cluster.run(["squeue", "-h", "--states=all", "-o", "%i"]).stdout.split()) <= set(jobs.split())


@pytest.mark.slow
def test_too_long_is_too_long(held: Bench) -> None:
    parts = Parts(held.payloads).shell("one", WAITS).shell("two", WAITS)
    found = failed(held, parts, poll_timeout=6)
    assert found.metadata["slurm/error"] == "WaitedTooLong"
    again: Any = held.materialize(asset_that_runs(held.payloads.plain("print('fine')"), "free"))
    assert again.success, "both have made room"


@pytest.mark.slow
def test_a_users_cancel_ends_all(ui: Ui, cluster: Cluster) -> None:
    counting = on_cluster(cluster)
    run_id = ui.launch("pair_in_process", "pair", counting.config("session"))
    job = counting.wait(starts=2).partition(".")[0]
    ui.terminate(run_id)
    ui.wait(run_id, "CANCELED")
    steps = ["squeue", "-h", "-s", "-j", job, "-o", "%i"]
    own = {f"{job}.batch", f"{job}.extern"}
    wait_until(lambda: not set(cluster.run(steps).stdout.split()) - own, timeout=30)
    assert len(counting.starts) == 2
    wait_until(lambda: states(cluster, job) == ["COMPLETED"], timeout=60)


@pytest.mark.slow
def test_after_a_killed_worker_they_are_found_again(ui: Ui, cluster: Cluster) -> None:
    counting = on_cluster(cluster)
    run_id = ui.launch("pair_in_process", "pair", counting.config("session"))
    counting.wait(starts=2)
    steps = sorted(counting.starts)
    kill(ui, run_id)
    retry = ui.retry(run_id)
    wait_until(lambda: all(f"Re-attached to step {step}" in ui.log(retry) for step in steps))
    counting.go()
    ui.wait(retry, "SUCCESS")
    assert sorted(counting.starts) == steps, "each payload ran exactly once"
    found = ui.metadata(retry)
    assert sorted((found["one/job"], found["two/job"])) == steps


@pytest.mark.slow
def test_ray_as_a_component(bench: Make, cluster: Cluster) -> None:
    """A cluster over two nodes of the allocation, beside a component that runs meanwhile."""
    held = bench(name=f"ray-{os.getpid()}", idle_timeout=5, num_nodes=2, cpus=4, mem="2800M")
    with place_on(cluster) as place:
        parts = Parts(held.payloads)
        parts.pipes("beside", "time.sleep(3)", resources=Resources(mem=300))
        train = HetJobComponent(
            component_id="train",
            payload_path=Path(__file__).parents[1] / "launchers" / "payloads" / "ray_tasks.py",
            launcher=RayLauncher(),
            resources=Resources(nodes=2, cpus=2, mem=2000),
            environment=str(environments.ray()),
            extras={"folder": str(place / "shared")},
        )
        parts.made.append(train)
        ran = run(held, parts)
        assert ran.success, ran.failure.text
    found = ran.metadata("both")
    assert len(found["train/nodes"]) == 2
    assert (found["train/cpus"], found["train/slurm/ray_nodes"]) == (4, 2)
    assert found["beside/slurm/job_id"] == found["train/slurm/job_id"]
