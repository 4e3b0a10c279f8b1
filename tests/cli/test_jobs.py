"""``jobs``, ``logs``, ``cancel``, ``why`` and ``runs gc`` on the real cluster, and for local runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testcluster import Cluster
from tests.cli.conftest import invoke, read
from tests.cli.jobs import Job, submitting, until

Submit = Callable[..., Job]
HELD = {"options": {"hold": True}}


@pytest.fixture
def submit(at_cluster: Cluster) -> Iterator[Submit]:
    with submitting() as go:
        yield go


@pytest.fixture
def local_base(tmp_path: Path) -> str:
    return str(tmp_path / "local")


@pytest.fixture
def submit_here(local_base: str) -> Iterator[Submit]:
    with submitting("local", local_base) as go:
        yield go


@pytest.fixture
def cache(at_cluster: Cluster) -> Path:
    """The look at the queue that all processes of the user share."""
    return Path(f"/tmp/dagster-slurm-agents-{at_cluster.home.stat().st_uid}/queue.json")


def state(cluster: Cluster, job: Job) -> str:
    return cluster.admin(["squeue", "-h", "-t", "all", "-j", job.id, "-o", "%T"]).strip()


@pytest.mark.cluster
def test_what_waits_and_runs_is_listed(submit: Submit) -> None:
    runs, waits = submit("sleep 100", "running_asset"), submit("true", "waiting_asset", **HELD)
    running, waiting = until("running", runs), until("pending", waits)
    assert (running["job"], running["run"], running["step"]) == (runs.id, runs.run, "running_asset")
    assert running["nodes"].startswith("node")
    assert waiting["reason"] == "JobHeldUser"
    lines = invoke("jobs").stdout.splitlines()
    assert lines[0].split()[:4] == ["JOB", "STATE", "ASSET", "RUN"]
    by_job = {line.split()[0]: line for line in lines[1:]}
    assert set(by_job) == {runs.id, waits.id}
    assert by_job[runs.id].split()[1:4] == ["running", "running_asset", runs.run[:8]]
    assert "JobHeldUser" in by_job[waits.id]


@pytest.mark.cluster
def test_what_dagster_has_seen_to_its_end_is_listed_on_demand(submit: Submit) -> None:
    job = submit("true")
    until("success", job)
    job.collected("success")
    assert read("jobs") == []
    assert "No jobs below" in invoke("jobs").stdout
    assert [item["state"] for item in read("jobs", "--all")] == ["success"]


@pytest.mark.cluster
def test_how_jobs_ended_that_nobody_collected(submit: Submit) -> None:
    job = submit("exit 3")
    assert until("exit_code", job)["ended"] is True
    assert job.id in invoke("jobs").stdout


@pytest.mark.cluster
def test_many_looks_are_one_question_to_the_queue(submit: Submit, cache: Path) -> None:
    submit("sleep 100")
    read("jobs")
    seen = [cache.stat().st_mtime_ns for _ in range(4) if read("jobs")]
    assert len(seen) == 4
    assert len(set(seen)) == 1  # the look that they share was written once


@pytest.mark.cluster
def test_logs(submit: Submit) -> None:
    job = submit("echo one; echo two; echo wrong >&2; exit 3", "noisy")
    until("exit_code", job)
    for name in (job.id, "noisy", job.run[:8]):
        result = invoke("logs", name)
        assert (result.stdout, result.stderr) == ("one\ntwo\n", "wrong\n")
    assert invoke("logs", job.id, "-n", 1).stdout == "two\n"
    assert invoke("logs", job.id, "--slurm").exit_code == 0


@pytest.mark.cluster
def test_logs_of_a_job_that_has_not_begun(submit: Submit) -> None:
    job = submit("true", **HELD)
    until("pending", job)
    result = invoke("logs", job.id)
    assert result.stdout == ""
    assert "has not begun (pending: JobHeldUser)" in result.stderr


@pytest.mark.cluster
@pytest.mark.parametrize(("end", "code", "says"), [("exit 0", 0, "success"), ("exit 4", 1, "exit_code")])
def test_logs_are_followed_to_the_end(end: str, code: int, says: str, submit: Submit) -> None:
    job = submit(f"for n in 1 2 3; do echo $n; sleep 0.5; done; {end}")
    result = invoke("logs", "-f", job.id, code=code)
    assert result.stdout == "1\n2\n3\n"
    assert f"-- Job {job.id} ended: {says}" in result.stderr


@pytest.mark.cluster
def test_cancel_a_job(submit: Submit, at_cluster: Cluster) -> None:
    job, other = submit("sleep 100", "one"), submit("sleep 100", "two")
    assert f"Cancelled {job.id} (one, run {job.run[:8]})" in invoke("cancel", job.id).stdout
    assert state(at_cluster, job) in ("CANCELLED", "COMPLETING")
    assert state(at_cluster, other) in ("PENDING", "RUNNING")


@pytest.mark.cluster
def test_cancel_a_run(submit: Submit, at_cluster: Cluster) -> None:
    first = submit("sleep 100", "one")
    second, other = submit("sleep 100", "two", run=first.run), submit("sleep 100", "one")
    assert read("cancel", "--run", first.run[:12])["cancelled"] == sorted([first.id, second.id])
    assert {state(at_cluster, job) for job in (first, second)} <= {"CANCELLED", "COMPLETING"}
    assert state(at_cluster, other) in ("PENDING", "RUNNING")


@pytest.mark.cluster
def test_what_ended_is_not_cancelled(submit: Submit) -> None:
    job = submit("true")
    until("success", job)
    printed = invoke("cancel", job.id, code=1).output
    assert f"there is no job that goes on of ours by '{job.id}'" in printed


@pytest.mark.cluster
@pytest.mark.parametrize("command", ["logs", "cancel", "why"])
def test_nobody_by_that_name(command: str, submit: Submit) -> None:
    submit("sleep 100")
    printed = invoke(command, "4711", code=1).output
    assert "by '4711'" in printed
    assert "dagster-slurm jobs --all" in printed
    assert "Traceback" not in printed


@pytest.mark.cluster
def test_a_run_with_several_steps_is_not_one_job(submit: Submit) -> None:
    first = submit("sleep 100", "one")
    submit("sleep 100", "two", run=first.run)
    printed = invoke("logs", first.run, code=1).output
    assert "may mean several jobs" in printed
    assert f"{first.id} (one)" in printed


def test_cancel_wants_one_thing() -> None:
    assert "Give either JOB or --run" in invoke("cancel", code=2).output
    assert "Give either JOB or --run" in invoke("cancel", "1", "--run", "abcd", code=2).output


@pytest.mark.cluster
def test_why_a_job_is_held(submit: Submit) -> None:
    job = submit("true", "held", cpus=2, **HELD)
    until("pending", job)
    printed = invoke("why", "held").stdout
    assert f"Job {job.id} (held, run {job.run[:8]}) waits since" in printed
    assert "you hold it (JobHeldUser)" in printed
    assert f"scontrol release {job.id}" in printed
    assert "It asks for: cpu=2" in printed
    assert "time 00:05:00" in printed


@pytest.mark.cluster
def test_why_a_job_waits_for_others(submit: Submit, at_cluster: Cluster) -> None:
    everything = {"nodes": at_cluster.options.nodes, "options": {"exclusive": True}}
    blocking = submit("sleep 100", "blocking", **everything)
    until("running", blocking)
    first, second = submit("true", "first", **everything), submit("true", "second", **everything)
    until("pending", second)
    said = [read("why", job.id) for job in (first, second)]
    assert said[0]["reason"] in ("Resources", "Priority", "")
    ahead = [next(line for line in item["more"] if line.startswith("In compute")) for item in said]
    assert "0 of 1 others that wait come first; 1 run" in ahead[0]
    assert "1 of 1 others that wait come first; 1 run; the first of them ends within" in ahead[1]
    assert read("why", blocking.id)["means"].startswith("runs on node")


@pytest.mark.cluster
def test_why_something_ended(submit: Submit) -> None:
    job = submit("exit 1")
    until("exit_code", job)
    assert "has ended: exit code" in invoke("why", job.id).stdout


@pytest.mark.cluster
def test_old_runs_are_removed_and_no_others(submit: Submit, at_cluster: Cluster) -> None:
    collected, failed, waits = submit("true", "one"), submit("exit 1", "two"), submit("true", "three", **HELD)
    until("success", collected)
    until("exit_code", failed)
    nobody = submit("exit 1", "four")
    until("exit_code", nobody)
    collected.collected("success")
    failed.collected("failure")
    at_once = ("runs", "gc", "--older-than", 0, "--failures-older-than", 0)
    time.sleep(0.1)
    both = {collected.directory, failed.directory}
    assert set(read(*at_once, "--dry-run")["removed"]) == both
    assert read("runs", "gc")["removed"] == []
    assert set(read(*at_once)["removed"]) == both
    assert [Path(job.directory).exists() for job in (collected, failed, waits)] == [False, False, True]
    assert Path(nobody.directory).exists()  # the queue knows its job yet, and Dagster may come back for it


def test_runs_of_local_mode(submit_here: Submit, local_base: str) -> None:
    options = ("-H", "local", "--base", local_base)
    goes_on, ended = submit_here("echo here; sleep 100", "one"), submit_here("exit 2", "two")
    until("exit_code", ended, *options)
    assert until("running", goes_on, *options)["job"] == goes_on.id
    assert invoke("logs", *options, "one").stdout == "here\n"
    assert "runs" in read("why", *options, "one")["means"]
    invoke("cancel", *options, "one")
    assert until("interrupted", goes_on, *options)["ended"]


def test_a_folder_without_runs(tmp_path: Path) -> None:
    assert "No jobs below" in invoke("jobs", "-H", "local", "--base", tmp_path / "nothing").stdout


def test_jobs_are_watched_until_ctrl_c(submit_here: Submit, local_base: str) -> None:
    """A job that comes later is seen; the end is no failure."""
    program = "from dagster_slurm.cli import main; main()"
    asked = ["jobs", "--watch", "--every", "1", "--json", "-H", "local", "--base", local_base]
    with subprocess.Popen([sys.executable, "-c", program, *asked], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline()) == []
        job = submit_here("sleep 100", "later")
        seen = next(found for line in watching.stdout if (found := json.loads(line)))
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
        assert watching.wait(timeout=60) == 0
    assert [item["job"] for item in seen] == [job.id]


def test_watching_too_often() -> None:
    assert "is not in the range x>=1" in invoke("jobs", "--watch", "--every", "0", code=2).output


def test_it_must_be_said_which_cluster_is_meant() -> None:
    printed = invoke("jobs", code=1).output
    assert "it is not said which cluster is meant" in printed
    assert "DAGSTER_SLURM_PROFILE" in printed


@pytest.mark.cluster
def test_the_cluster_of_a_profile(submit: Submit, at_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit("sleep 100")
    base = job.directory.partition("/runs/")[0]
    ssh = f"{{host: {at_cluster.ssh_alias}, config_file: {at_cluster.ssh_config}}}"
    Path("site.yaml").write_text(f"slurm:\n  ssh: {ssh}\n  remote_base: {base}\n")
    for name in at_cluster.client_environment:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SLURM_DEPLOYMENT_BASE_PATH")
    listed: list[dict[str, Any]] = read("jobs", "--profile", "site.yaml")
    assert [item["job"] for item in listed] == [job.id]
    monkeypatch.setenv("DAGSTER_SLURM_PROFILE", "site.yaml")
    assert read("jobs")[0]["job"] == job.id
