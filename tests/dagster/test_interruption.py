"""What happens to the job when a run is interrupted: by its user, or because its process is told to stop."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import psutil
import pytest

from dagster_slurm import ComputeResource
from testcluster import Cluster
from tests.dagster.counting import Counting, on_cluster, state, wait_until
from tests.dagster.support import Bench
from tests.dagster.ui import Ui


def in_time(seconds: float) -> bool:
    """Within 5 s, on a machine that has nothing else to do."""
    return seconds < 5.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def launch(ui: Ui, job: str, counting: Counting, where: str = "slurm") -> str:
    return ui.launch(job, job.split("_", maxsplit=1)[0], counting.config(where))


@pytest.mark.cluster
def test_a_users_cancel_ends_job_and_run(ui: Ui, cluster: Cluster) -> None:
    """In both executors, with and without a RetryPolicy: accepted by Slurm and CANCELED within 5 s, never SUCCESS."""
    names = ["plain_in_process", "patient_in_process", "plain_multiprocess", "patient_multiprocess"]
    countings = [on_cluster(cluster) for _ in names]
    runs = [launch(ui, name, counting) for name, counting in zip(names, countings, strict=True)]
    jobs = [counting.wait() for counting in countings]
    assert len(set(jobs)) == 4
    for run, job, counting in zip(runs, jobs, countings, strict=True):
        ui.terminate(run)
        assert in_time(ui.wait(run, "CANCELED"))
        wait_until(lambda job=job: state(cluster, job) == "CANCELLED", timeout=15)
        assert counting.starts == [job], "started once, and never again"
        log = ui.log(run)
        assert f"the run was cancelled: job {job} was cancelled" in log
        assert "SUCCESS" not in log
        assert "runs on" not in log


@pytest.mark.cluster
def test_a_workers_shutdown_leaves_the_job(ui: Ui, cluster: Cluster) -> None:
    """The log says how to re-attach. A retry from failure finds the job running, or its result."""
    names = ["plain_in_process", "plain_multiprocess"]
    countings = [on_cluster(cluster) for _ in names]
    runs = [launch(ui, name, counting) for name, counting in zip(names, countings, strict=True)]
    jobs = [counting.wait() for counting in countings]
    for run, job in zip(runs, jobs, strict=True):
        ui.process(run).send_signal(signal.SIGTERM)
        ui.wait(run, "FAILURE", timeout=20)
        log = ui.log(run)
        assert f"This process was told to stop, but the run was not cancelled: job {job} on" in log
        assert "Retry the run from failure to re-attach to it." in log
        assert f"To end it: scancel {job}." in log
        assert state(cluster, job) == "RUNNING"
    countings[1].go()
    wait_until(lambda: state(cluster, jobs[1]) == "COMPLETED")
    retries = [ui.retry(run) for run in runs]
    wait_until(lambda: f"Re-attached to job {jobs[0]}" in ui.log(retries[0]))
    countings[0].go()
    for run, job, counting in zip(retries, jobs, countings, strict=True):
        ui.wait(run, "SUCCESS")
        assert counting.starts == [job], "the payload ran exactly once"
        assert ui.metadata(run)["job"] == job
        out, err = ui.output(run)
        assert out == "out begins\nout ends\n"
        assert err.count("err begins\n") == 1
        assert [ui.log(run).count(text) for text in ("log begins", "log ends")] == [1, 1]
        assert "Submitted job" not in ui.log(run)


@pytest.mark.cluster
def test_without_forward_termination_no_job_is_cancelled(ui: Ui, cluster: Cluster) -> None:
    names = ["plain_in_process", "patient_multiprocess"]
    countings = [on_cluster(cluster) for _ in names]
    runs = [launch(ui, name, counting, "slurm_keep") for name, counting in zip(names, countings, strict=True)]
    for run, counting in zip(runs, countings, strict=True):
        job = counting.wait()
        ui.terminate(run)
        assert in_time(ui.wait(run, "CANCELED"))
        assert state(cluster, job) == "RUNNING"
        assert f"the run was cancelled, and job {job} on" in ui.log(run)
        assert "since forward_termination=False" in ui.log(run)
        assert counting.starts == [job]
        counting.go()
        wait_until(lambda job=job: state(cluster, job) == "COMPLETED")


@pytest.mark.cluster
def test_max_runtime_cancels_too(ui: Ui, cluster: Cluster) -> None:
    """The daemon writes CANCELING, then FAILURE at once, and only then stops the worker."""
    counting = on_cluster(cluster)
    run = launch(ui, "patient_in_process", counting)
    job = counting.wait()
    found = ui.instance.get_run_by_id(run)
    assert found is not None
    ui.instance.report_run_canceling(found)
    ui.instance.report_run_failed(found)
    ui.process(run).send_signal(signal.SIGINT)
    wait_until(lambda: state(cluster, job) == "CANCELLED", timeout=15)
    assert ui.status(run) == "FAILURE"
    assert counting.starts == [job]


def test_local_processes_end_with_their_run(local_ui: Ui, tmp_path: Path) -> None:
    """By a user's cancel, and by a worker's shutdown: nobody could re-attach."""
    names = ["plain_in_process", "patient_multiprocess", "patient_in_process"]
    countings = [Counting(tmp_path / name) for name in names]
    runs = [launch(local_ui, name, counting, "local") for name, counting in zip(names, countings, strict=True)]
    jobs = [psutil.Process(int(counting.wait())) for counting in countings]
    for run in runs[:2]:
        local_ui.terminate(run)
        assert in_time(local_ui.wait(run, "CANCELED"))
        assert "the run was cancelled: process" in local_ui.log(run)
    local_ui.process(runs[2]).send_signal(signal.SIGTERM)
    local_ui.wait(runs[2], "FAILURE")
    assert "this process was told to stop, and nobody could re-attach" in local_ui.log(runs[2])
    _, alive = psutil.wait_procs(jobs, timeout=5)
    assert not alive
    assert [len(counting.starts) for counting in countings] == [1, 1, 1]


def test_a_payload_that_traps_and_exits_0_is_no_success(local_ui: Ui, tmp_path: Path) -> None:
    counting = Counting(tmp_path / "count")
    script = tmp_path / "payload" / "stubborn.sh"
    script.parent.mkdir()
    script.write_text(
        f"trap 'exit 0' TERM\necho $DAGSTER_SLURM_JOB_ID >>{counting.folder}/starts\n{'sleep 0.1;' * 600}"
    )
    run = local_ui.launch("patient_in_process", "patient", {"where": "local", "payload": str(script)})
    counting.wait()
    local_ui.terminate(run)
    local_ui.wait(run, "CANCELED")
    assert len(counting.starts) == 1


EPHEMERAL = """
import sys
import dagster as dg
from dagster_slurm import ComputeResource

@dg.asset
def one(context: dg.AssetExecutionContext, compute: ComputeResource):
    return compute.run(context=context, payload_path={payload!r}, extras={{"folder": {folder!r}}})

dg.materialize([one], resources={{"compute": ComputeResource.from_env()}})
"""


@pytest.mark.cluster
def test_with_an_ephemeral_instance_the_job_ends(cluster: Cluster, tmp_path: Path) -> None:
    """A script at a terminal, and Ctrl-C."""
    counting = on_cluster(cluster)
    config = counting.config("slurm")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(EPHEMERAL).format(payload=config["payload"], folder=str(counting.folder)))
    home = {"DAGSTER_HOME": ""}
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, **cluster.client_environment, **home},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        job = counting.wait()
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "this process was told to stop, and nobody could re-attach" in printed
    wait_until(lambda: state(cluster, job) == "CANCELLED", timeout=15)


def test_a_cancelled_run_submits_nothing(bench: Bench, tmp_path: Path) -> None:
    path = bench.payloads.plain(f"open({str(tmp_path / 'ran')!r}, 'w')")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource):
        context.instance.report_run_canceling(context.run)
        return compute.run(context=context, payload_path=path)

    ran = bench.materialize(one)
    assert not ran.success
    assert "the run is being cancelled: nothing was submitted" in ran.failure.text
    assert not (tmp_path / "ran").exists()


@pytest.mark.cluster
def test_cancelled_while_it_waits_in_the_queue(ui: Ui, cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "payload" / "never.sh"
    script.parent.mkdir()
    script.write_text("true\n")
    run = ui.launch(
        "plain_in_process",
        "plain",
        {"where": "slurm", "payload": str(script), "resources": {"begin": "now+1hour"}},
    )
    wait_until(lambda: "Submitted job" in ui.log(run))
    job = ui.log(run).split("Submitted job ")[1].split()[0]
    ui.terminate(run)
    assert in_time(ui.wait(run, "CANCELED"))
    wait_until(lambda: state(cluster, job) == "CANCELLED", timeout=15)
