"""A later execution of a step finds the job of an earlier one again, and only where it should."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import serialize_value

from dagster_slurm import ComputeResource
from testcluster import Cluster
from tests.dagster.conftest import BOTH
from tests.dagster.counting import Counting, on_cluster, state, wait_until
from tests.dagster.support import Bench
from tests.dagster.ui import Ui


def kill(ui: Ui, run: str) -> None:
    """What the kernel does to a run worker that takes too much memory; the code location's server sees it."""
    ui.process(run).send_signal(signal.SIGKILL)
    ui.wait(run, "FAILURE")


def places(ui: Ui, run: str) -> list[str]:
    """The run directories that a run wrote down, below ``runs``."""
    found: list[str] = []
    for entry in ui.instance.all_logs(run, of_type=dg.DagsterEventType.ENGINE_EVENT):
        assert entry.dagster_event is not None
        handle = entry.dagster_event.engine_event_data.metadata.get("dagster_pipes/launch_handle")
        if handle is not None:
            found.append(json.loads(str(handle.value))["external_run_id"].split("/runs/")[1])
    return found


@pytest.mark.cluster
def test_after_a_killed_worker(ui: Ui, cluster: Cluster) -> None:
    """A running job is adopted, a finished one collected, a failed one starts afresh, in its own run's directory."""
    running, finished, failed = countings = [on_cluster(cluster) for _ in range(3)]
    runs = [ui.launch("plain_in_process", "plain", counting.config("slurm")) for counting in countings]
    jobs = [counting.wait() for counting in countings]
    for run in runs:
        kill(ui, run)
    finished.go()
    failed.fail()
    failed.go()
    wait_until(lambda: [state(cluster, job) for job in jobs] == ["RUNNING", "COMPLETED", "FAILED"])
    failed.stop()
    failed.fail(really=False)
    retries = [ui.retry(run) for run in runs]
    second = ui.retry(runs[2])
    wait_until(lambda: f"Re-attached to job {jobs[0]}" in ui.log(retries[0]))
    wait_until(lambda: len(failed.starts) == 3)
    for counting in (running, failed):
        counting.go()
    for run in (*retries, second):
        ui.wait(run, "SUCCESS")
        assert ui.output(run)[0] == "out begins\nout ends\n"
        assert ui.log(run).count("log begins") == ui.log(run).count("log ends") == 1
    assert [counting.starts for counting in countings[:2]] == [[jobs[0]], [jobs[1]]]
    assert [ui.metadata(run)["job"] for run in retries[:2]] == jobs[:2]
    afresh = [ui.metadata(run)["job"] for run in (retries[2], second)]
    assert sorted([jobs[2], *afresh]) == sorted(failed.starts), "two retries of one run do not share"
    assert places(ui, retries[0]) == places(ui, runs[0])
    for run in (retries[2], second):
        assert places(ui, run)[0].startswith(run)
        assert ui.metadata(run)["slurm/run_directory"].endswith(places(ui, run)[0])


@pytest.mark.cluster
def test_a_full_re_execution_starts_afresh(ui: Ui, cluster: Cluster) -> None:
    """Even while the job of the first one runs."""
    counting = on_cluster(cluster)
    run = ui.launch("plain_in_process", "plain", counting.config("slurm"))
    first = counting.wait()
    again = ui.again(run)
    wait_until(lambda: len(counting.starts) == 2)
    counting.go()
    for each in (run, again):
        ui.wait(each, "SUCCESS")
    assert ui.metadata(run)["job"] == first
    assert ui.metadata(again)["job"] != first
    assert len(counting.starts) == 2


@pytest.mark.cluster
def test_a_resumed_run_worker(ui: Ui, cluster: Cluster) -> None:
    """As run monitoring resumes a run whose worker is gone: the same run goes on in another process."""
    counting = on_cluster(cluster)
    counting.go()
    model = ui.launch("plain_in_process", "plain", counting.config("slurm"))
    ui.wait(model, "SUCCESS")
    counting.stop()
    found = ui.instance.get_run_by_id(model)
    assert found is not None
    run = str(uuid4())
    ui.instance.run_storage.add_run(found._replace(run_id=run, status=dg.DagsterRunStatus.NOT_STARTED))
    with worker(ui, "execute_run", ExecuteRunArgs, run) as first:
        job = counting.wait(starts=2)
        first.kill()
    assert ui.status(run) == "STARTED"
    with worker(ui, "resume_run", ResumeRunArgs, run) as second:
        wait_until(lambda: f"Re-attached to job {job}" in ui.log(run))
        counting.go()
        assert second.wait(30) == 0
    assert ui.status(run) == "SUCCESS"
    assert counting.starts[1:] == [job]
    assert ui.metadata(run)["job"] == job


def worker(ui: Ui, command: str, arguments: Any, run: str) -> "subprocess.Popen[bytes]":
    """A run worker as run launchers start it in containers."""
    found = ui.instance.get_run_by_id(run)
    assert found is not None
    packed = serialize_value(
        arguments(job_origin=found.job_code_origin, run_id=run, instance_ref=ui.instance.get_ref())
    )
    line = [sys.executable, "-m", "dagster", "api", command, packed]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ui.environment)


@pytest.mark.cluster
def test_what_happens_between_submission_and_answer(ui: Ui, cluster: Cluster) -> None:
    """Killed while the job still waits in the queue: the retry waits for the same job."""
    counting = on_cluster(cluster)
    config = {**counting.config("slurm"), "resources": {"hold": True}}
    run = ui.launch("plain_in_process", "plain", config)
    wait_until(lambda: "Submitted job" in ui.log(run))
    job = ui.log(run).split("Submitted job ")[1].split()[0]
    kill(ui, run)
    retry = ui.retry(run)
    wait_until(lambda: f"Re-attached to job {job}" in ui.log(retry))
    counting.go()
    cluster.admin(["scontrol", "release", job])
    ui.wait(retry, "SUCCESS")
    assert counting.starts == [job]


@BOTH
def test_each_attempt_of_a_step_has_its_own_directory(any_bench: Bench) -> None:
    path = any_bench.payloads.pipes(
        "pipes.log.info(f'try {pipes.retry_number} in {os.path.basename(os.environ[\"DAGSTER_SLURM_RUN_DIR\"])}')\n"
        "pipes.report_asset_materialization(metadata={'tries': pipes.retry_number})\n"
        "if pipes.retry_number == 0: sys.exit(3)"
    )

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        return compute.run(context=context, payload_path=path)

    ran = any_bench.materialize(one)
    assert ran.success
    assert ran.metadata()["tries"] == 1
    tries = [line for line in ran.logged("info") if line.startswith("try")]
    folders = [line.rpartition(" ")[2] for line in tries]
    assert [folder.rpartition(".")[2] for folder in folders] == ["0", "1"]
    assert folders[0].rpartition(".")[0] == folders[1].rpartition(".")[0]
    assert not any("Re-attached" in line for line in ran.logged("info"))


def test_a_step_that_fails_after_its_payload_collects_it_again(bench: Bench, tmp_path: Path) -> None:
    """The payload succeeded: Dagster's retry of the step takes its result and does not run it again."""
    counting = Counting(tmp_path / "count")
    counting.go()
    config = counting.config("local")
    tries: list[int] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        completed = compute.run(context=context, payload_path=config["payload"], extras=config["extras"])
        tries.append(context.retry_number)
        if len(tries) < 3:
            raise ValueError("something after the payload")
        return completed

    ran = bench.materialize(one)
    assert ran.success
    assert tries == [0, 1, 2]
    assert len(counting.starts) == 1
    assert ran.metadata()["job"] == counting.starts[0]


def test_nothing_is_shared_that_runs_side_by_side(local_ui: Ui, tmp_path: Path) -> None:
    """Two runs, two partitions, two steps of a run, with the same payload and arguments, at the same time."""
    counting = Counting(tmp_path / "count")
    config = counting.config("local")
    runs = [local_ui.launch("parted_in_process", "parted", config, partition=key) for key in ("a", "b", "a")]
    runs += [local_ui.launch("both_multiprocess", ["plain", "patient"], config)]
    jobs = 5
    wait_until(lambda: len(counting.starts) == jobs)
    counting.go()
    for run in runs:
        local_ui.wait(run, "SUCCESS")
    assert len(set(counting.starts)) == jobs
    found = [place for run in runs for place in places(local_ui, run)]
    assert len(found) == len(set(found)) == jobs
