"""How a heterogeneous job ends: what Slurm does to it or to one of its components, and a Dagster that goes away."""

import contextlib
from pathlib import Path

import psutil
import pytest

from dagster_slurm import Resources
from testcluster import Cluster
from testcluster.execute import ClusterError
from tests.dagster.conftest import MakeCluster, on
from tests.dagster.counting import Counting, on_cluster, state, wait_until
from tests.dagster.requeue import once_it_runs, requeue_once_it_runs
from tests.dagster.support import Bench, Payloads
from tests.dagster.test_reattach import kill
from tests.dagster.together import Parts, failed, run
from tests.dagster.ui import Ui

HUNGRY = "held = [bytearray(10_000_000) for _ in range(100)]"
WAITS = "for i in $(seq 1200); do sleep 0.1; done"


@pytest.fixture
def parts(payloads: Payloads) -> Parts:
    return Parts(payloads)


@pytest.mark.cluster
def test_out_of_memory_is_the_components_that_ran_out(cluster_bench: Bench, parts: Parts) -> None:
    """Each has its own limit: the first would have had room."""
    parts.shell("prep", WAITS, resources=Resources(mem="3000M"))
    parts.pipes("train", HUNGRY, resources=Resources(mem="150M"))
    found = failed(cluster_bench, parts, grace_period=0)
    assert found.metadata["slurm/error"] == "OutOfMemory", found.text
    assert "component train (job" in found.text
    assert "asked for 150 MiB" in found.text
    assert "prep: stopped, train: out_of_memory" in found.text


@pytest.mark.cluster
def test_a_signal_of_its_own(cluster_bench: Bench, parts: Parts) -> None:
    parts.shell("prep", "true").shell("train", "kill -SEGV $$")
    found = failed(cluster_bench, parts)
    assert (found.metadata["slurm/error"], found.metadata["slurm/cause"]) == ("PayloadKilled", "signal")
    assert "component train (job" in found.text
    assert "SIGSEGV" in found.text
    assert found.metadata["prep/slurm/exit_code"] == 0


@pytest.mark.cluster
def test_cancelled_by_somebody(cluster: Cluster, cluster_bench: Bench, parts: Parts) -> None:
    """The payloads of all components get TERM and save; none of them has succeeded."""
    mark = 'trap "echo saved; exit 0" TERM\n: >"$DAGSTER_SLURM_SHARED_DIR/$DAGSTER_SLURM_COMPONENT"\n' + WAITS
    parts.shell("prep", mark).shell("train", mark)
    parts.shell("last", f'while [ ! -e "$DAGSTER_SLURM_SHARED_DIR/train" ]; do sleep 0.1; done; scancel {ALL}; {WAITS}')
    found = failed(cluster_bench, parts)
    assert found.metadata["slurm/error"] == "JobCancelled", found.text
    assert "components: prep: cancelled, train: cancelled, last: cancelled" in found.text
    assert [found.metadata[f"{name}/slurm/state"] for name in ("prep", "train")] == ["CANCELLED", "CANCELLED"]


ALL = '"${DAGSTER_SLURM_JOB_ID%+*}"'


@pytest.mark.cluster
@pytest.mark.slow
def test_a_job_that_is_started_again(cluster: Cluster, cluster_bench: Bench, parts: Parts) -> None:
    """What had ended stands; what had not runs again, and its messages do not mix."""
    parts.pipes("prep", "pipes.report_asset_materialization(metadata={'at': os.environ['DAGSTER_SLURM_RESTART']})")
    parts.pipes(
        "train",
        """
        restart = os.environ["DAGSTER_SLURM_RESTART"]
        pipes.report_asset_materialization(metadata={"at": restart, restart: 1})
        open(os.path.join(os.environ["DAGSTER_SLURM_SHARED_DIR"], "first"), "w").close()
        while restart == "0": time.sleep(0.1)
        """,
        after=["prep"],
        resources=Resources(time_limit="00:09:00"),
    )
    with requeue_once_it_runs(cluster):
        ran = run(cluster_bench, parts)
    assert ran.success, ran.failure.text
    found = ran.metadata("both")
    assert (found["prep/at"], found["train/at"]) == ("0", "1")
    assert (found["prep/slurm/restarts"], found["train/slurm/restarts"]) == (0, 1)
    assert "train/0" not in found


@pytest.mark.cluster
@pytest.mark.slow
def test_a_components_own_time_limit(cluster_bench: Bench, parts: Parts) -> None:
    """Of the second, that Slurm keeps while the first goes on; and of the first, that the script keeps."""
    parts.shell("prep", WAITS, resources=Resources(time_limit=1))
    parts.shell("train", f"trap 'exit 0' TERM\n{WAITS}", resources=Resources(time_limit=1))
    parts.pipes("long", "time.sleep(75)", resources=Resources(time_limit=9))
    found = failed(cluster_bench, parts, on_failure="wait")
    assert found.metadata["slurm/error"] == "TimeLimitReached", found.text
    assert "components: prep: time_limit, train: time_limit, long: success" in found.text
    assert found.metadata["train/slurm/state"] == "TIMEOUT"


def is_well(cluster: Cluster, node: str) -> bool:
    """A lost node comes back by itself if its daemon is faster than we are; its last job may still be leaving."""
    with contextlib.suppress(ClusterError):
        cluster.resume(node)
    return not cluster.node_state(node).lower().startswith(("down", "drain", "fail"))


@pytest.mark.cluster
def test_a_node_of_one_component_fails(cluster: Cluster, cluster_bench: Bench, parts: Parts) -> None:
    stays = {"requeue": False}
    parts.shell("prep", WAITS, resources=Resources(nodelist="node1", options=stays))
    parts.shell("train", f"touch first; {WAITS}", resources=Resources(nodelist="node2", options=stays))
    try:
        with once_it_runs(cluster, lambda _: cluster.fail("node2")):
            found = failed(cluster_bench, parts)
    finally:
        wait_until(lambda: is_well(cluster, "node2"))
    assert found.metadata["slurm/error"] == "NodeFailed", found.text
    assert "train: node_failure" in found.text


@pytest.mark.cluster
def test_a_users_cancel_ends_the_whole_job(ui: Ui, cluster: Cluster) -> None:
    counting = on_cluster(cluster)
    run_id = ui.launch("pair_in_process", "pair", counting.config("slurm"))
    job = counting.wait(starts=2).partition("+")[0]
    ui.terminate(run_id)
    ui.wait(run_id, "CANCELED")
    wait_until(lambda: set(state(cluster, job).split()) == {"CANCELLED"}, timeout=20)
    assert sorted(counting.starts) == [f"{job}+0", f"{job}+1"]


@pytest.mark.cluster
def test_after_a_killed_worker_the_job_is_found_again(ui: Ui, cluster: Cluster) -> None:
    counting = on_cluster(cluster)
    run_id = ui.launch("pair_in_process", "pair", counting.config("slurm"))
    job = counting.wait(starts=2).partition("+")[0]
    kill(ui, run_id)
    retry = ui.retry(run_id)
    wait_until(lambda: f"Re-attached to job {job}" in ui.log(retry))
    counting.go()
    ui.wait(retry, "SUCCESS")
    assert sorted(counting.starts) == [f"{job}+0", f"{job}+1"], "each payload ran exactly once"
    found = ui.metadata(retry)
    assert (found["one/job"], found["two/job"]) == (f"{job}+0", f"{job}+1")
    out = ui.output(retry)[0].split("\n")
    assert sorted(out)[1:] == sorted(f"[{name}] out {what}" for name in ("one", "two") for what in ("begins", "ends"))
    assert [ui.log(retry).count(text) for text in ("log begins", "log ends")] == [2, 2]


def test_beside_dagster_a_cancel_ends_all(local_ui: Ui, tmp_path: Path) -> None:
    counting = Counting(tmp_path / "count")
    run_id = local_ui.launch("pair_in_process", "pair", counting.config("local"))
    leader = psutil.Process(int(counting.wait(starts=2).partition("+")[0]))
    family = [leader, *leader.children(recursive=True)]
    local_ui.terminate(run_id)
    local_ui.wait(run_id, "CANCELED")
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    assert len(counting.starts) == 2


@pytest.mark.cluster
def test_a_site_that_takes_no_heterogeneous_jobs(
    make_cluster: MakeCluster, instance: object, payloads: Payloads
) -> None:
    """Slurm takes them with its backfill scheduler alone."""
    cluster = make_cluster(accounting=False, slurm_conf=("SchedulerType=sched/builtin",))
    bench, parts = Bench(instance, on(cluster), payloads), Parts(payloads)  # pyright: ignore[reportArgumentType]
    found = failed(bench, parts.shell("prep", "true").shell("train", "true"))
    assert found.metadata["slurm/error"] == "HeterogeneousJobRefused", found.text
    assert "takes no heterogeneous jobs" in found.text
    assert "compute.run" in found.metadata["slurm/what_to_do"]
    assert run(bench, Parts(payloads).shell("alone", "true")).success, "one component is no heterogeneous job"
