"""Slurm's answers as two releases gave them, read by our parser."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_slurm.core.observations import Row
from dagster_slurm.core.states import JobState
from dagster_slurm.errors import SubmissionDelayed, SubmissionRefused
from dagster_slurm.schedulers.scheduler import SubmitAnswer
from dagster_slurm.schedulers.slurm import Slurm

RECORDED = Path(__file__).parent / "recorded"
RELEASES = sorted(path.name for path in RECORDED.iterdir() if path.is_dir())
S = JobState

pytestmark = pytest.mark.parametrize("release", RELEASES)

#: what the queue says, and what accounting says at the same moment: None where it does not know the job yet
STATES = {
    "pending_resources": (S.PENDING, {None, S.PENDING}),
    "pending_priority": (S.PENDING, {None, S.PENDING}),
    "pending_dependency": (S.PENDING, {None, S.PENDING}),
    "pending_begin": (S.PENDING, {None, S.PENDING}),
    "pending_held": (S.PENDING, {None, S.PENDING}),
    "running": (S.RUNNING, {S.PENDING, S.RUNNING}),
    "suspended": (S.RUNNING, {S.RUNNING}),
    "completing": (S.ENDING, {S.CANCELLED}),
    "completed": (S.COMPLETED, {S.COMPLETED}),
    "failed": (S.FAILED, {S.FAILED}),
    "killed": (S.FAILED, {S.FAILED}),
    "step_failed": (S.COMPLETED, {S.COMPLETED}),
    "cancelled": (S.CANCELLED, {S.CANCELLED}),
    "cancelled_pending": (S.CANCELLED, {S.CANCELLED}),
    "timeout": (S.TIMEOUT, {S.TIMEOUT}),
    "oom_batch": (S.OUT_OF_MEMORY, {S.OUT_OF_MEMORY}),
    "oom_survived": (S.OUT_OF_MEMORY, {S.OUT_OF_MEMORY}),
    "oom_step": (S.FAILED, {S.FAILED}),
    "requeued_at_once": (S.ENDING, {S.PENDING}),
    "requeued": (S.PENDING, {S.PENDING}),
    "requeued_running": (S.RUNNING, {S.RUNNING}),
    "requeued_cancelled": (S.CANCELLED, {S.CANCELLED}),
    "node_fail_at_once": (S.NODE_FAIL, {S.NODE_FAIL}),
    "node_fail": (S.NODE_FAIL, {S.NODE_FAIL}),
    "node_fail_requeued_at_once": (S.PENDING, {S.NODE_FAIL, S.PENDING}),
    "node_fail_requeued": (S.PENDING, {S.PENDING}),
    "preempted_cancel": (S.PREEMPTED, {S.PREEMPTED}),
    "preempted_requeue_at_once": (S.PENDING, {S.PREEMPTED, S.PENDING}),
    "preempted_requeue": (S.PENDING, {S.PENDING}),
}


def lines(release: str, name: str) -> list[str]:
    return (RECORDED / release / name).read_text().splitlines()


def job_of(release: str, scenario: str) -> str:
    return lines(release, f"{scenario}.squeue")[0].split("|")[0]


def queued(release: str, scenario: str) -> Row:
    row = Slurm().queue_row(lines(release, f"{scenario}.squeue"), job_of(release, scenario))
    assert row is not None
    return row


def accounted(release: str, scenario: str) -> Row | None:
    return Slurm().account_row(lines(release, f"{scenario}.sacct"), job_of(release, scenario))


def ended(release: str, scenario: str) -> Row:
    row = accounted(release, scenario)
    assert row is not None
    return row


@pytest.mark.parametrize("scenario", STATES)
def test_states(release: str, scenario: str) -> None:
    in_queue, in_accounting = STATES[scenario]
    assert queued(release, scenario).state is in_queue
    row = accounted(release, scenario)
    assert (row.state if row else None) in in_accounting


def test_every_recorded_scenario_is_read(release: str) -> None:
    scenarios = {path.stem for path in (RECORDED / release).glob("*.squeue")}
    assert scenarios - set(STATES) <= {"array", "pending_array", "het", "unknown", "preempted_cancel_at_once"}


def test_no_recorded_word_is_unknown(release: str) -> None:
    for path in (RECORDED / release).glob("*.squeue"):
        for line in path.read_text().splitlines():
            row = Slurm().queue_row([line], line.split("|")[0])
            assert row is not None
            assert row.state is not S.UNKNOWN


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("pending_resources", "Resources"),
        ("pending_priority", "Priority"),
        ("pending_dependency", "Dependency"),
        ("pending_begin", "BeginTime"),
        ("pending_held", "JobHeldUser"),
        ("requeued", "BeginTime"),
        ("running", ""),
        ("timeout", "TimeLimit"),
    ],
)
def test_reasons(release: str, scenario: str, reason: str) -> None:
    assert queued(release, scenario).reason == reason


def test_only_who_waits_has_an_expected_start(release: str) -> None:
    assert queued(release, "pending_resources").expected_start.startswith("20")
    assert queued(release, "pending_dependency").expected_start == ""
    assert queued(release, "running").expected_start == ""


@pytest.mark.parametrize(
    ("scenario", "code", "signal"),
    [("completed", 0, 0), ("failed", 3, 0), ("killed", 0, 9), ("oom_batch", 0, 125), ("cancelled", 0, 0)],
)
def test_exit_codes(release: str, scenario: str, code: int, signal: int) -> None:
    row = ended(release, scenario)
    assert (row.exit_code, row.signal) == (code, signal)


@pytest.mark.parametrize("scenario", STATES)
def test_memory_of_job_and_steps(release: str, scenario: str) -> None:
    """A step alone says that it ran out of memory: the job FAILED 1:0."""
    row = accounted(release, scenario)
    assert (row is not None and row.out_of_memory) == scenario.startswith("oom_")


def test_who_cancelled(release: str) -> None:
    assert ended(release, "cancelled").user.isdigit()
    assert ended(release, "cancelled_pending").user.isdigit()
    assert ended(release, "completed").user == ""
    assert ended(release, "cancelled").word == "CANCELLED"


def test_figures_of_the_steps(release: str) -> None:
    facts = dict(ended(release, "oom_step").facts)
    assert int(facts["PeakKiB"]) > 1000
    assert facts["AllocTRES"].startswith("billing=1,cpu=1")
    assert "PeakKiB" not in dict(ended(release, "node_fail").facts)


def test_tasks_of_an_array(release: str) -> None:
    """Each task has its row, waiting or not."""
    waiting, done = lines(release, "pending_array.squeue"), lines(release, "array.squeue")
    base = done[0].split("_")[0]
    assert [Slurm().queue_row(done, f"{base}_{task}").state for task in range(3)] == [S.COMPLETED, S.FAILED, S.FAILED]
    assert Slurm().account_row(lines(release, "array.sacct"), f"{base}_2").exit_code == 2
    assert len(waiting) == 4
    assert Slurm().queue_row(done, base) is None


def test_components_of_a_heterogeneous_job(release: str) -> None:
    rows = lines(release, "het.squeue")
    leader = rows[0].split("+")[0]
    assert [Slurm().queue_row(rows, f"{leader}+{part}").state for part in range(2)] == [S.RUNNING, S.RUNNING]


def test_jobs_that_are_not_known(release: str) -> None:
    assert Slurm().queue_row([], "1") is None
    assert Slurm().queue_row(lines(release, "running.squeue"), "999") is None
    assert Slurm().account_row(lines(release, "completed.sacct"), "999") is None
    assert Slurm().account_row([], "1") is None


@pytest.mark.parametrize("damaged", ["", "|", "12", "12|", "12|RUNNING", "12|RUNNING|N/A|", "||||", "a|b|c|d|e|f|g|h"])
def test_damaged_lines_are_no_rows(release: str, damaged: str) -> None:
    assert Slurm().queue_row([damaged], "12") is None
    row = Slurm().account_row([damaged], "12")
    assert row is None or row.exit_code is None


def test_a_name_with_bars_is_no_harm(release: str) -> None:
    row = Slurm().queue_row(["12|PENDING|N/A||Priority|a|b|RUNNING"], "12")
    assert row is not None
    assert (row.state, row.reason) == (S.PENDING, "Priority")


REFUSALS = {
    "account": (SubmissionRefused, "sacctmgr show assoc"),
    "constraint": (SubmissionRefused, "%f"),
    "controller_down": (SubmissionDelayed, "repeated"),
    "cpus": (SubmissionRefused, "CPUs"),
    "dependency": (SubmissionRefused, "dependency"),
    "gres": (SubmissionRefused, "%G"),
    "memory": (SubmissionRefused, "%m"),
    "memory_format": (SubmissionRefused, "4000M"),
    "nodelist": (SubmissionRefused, "sinfo -N"),
    "nodes": (SubmissionRefused, "CPUs or nodes"),
    "option": (SubmissionRefused, "does not know the option"),
    "partition": (SubmissionRefused, "partition="),
    "qos": (SubmissionRefused, "format=qos"),
    "qos_cpus": (SubmissionRefused, "limits"),
    "qos_wall": (SubmissionRefused, "limits"),
    "reservation": (SubmissionRefused, "show reservation"),
    "submit_limit_qos": (SubmissionDelayed, "repeated"),
    "submit_limit_user": (SubmissionDelayed, "repeated"),
    "time": (SubmissionRefused, "%l"),
    "time_format": (SubmissionRefused, "minutes"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(release: str, what: str) -> None:
    text = (RECORDED / release / f"refused.{what}").read_text()
    if text.startswith("accepted"):
        assert release == "22.05", "the job would wait for ever"
        return
    kind, hint = REFUSALS[what]
    error = Slurm().refusal(SubmitAnswer(text, 1, ["sbatch", "job.sh"], {"run directory": "/x"}))
    assert type(error) is kind
    assert error.allow_retries == (kind is SubmissionDelayed)
    assert hint in str(error)
    assert text.splitlines()[-1].removeprefix("sbatch: ").removeprefix("error: ") in str(error)
    assert "/x" in str(error)
    assert "sbatch job.sh" in str(error)


def test_every_recorded_refusal_is_in_the_table(release: str) -> None:
    assert {path.suffix[1:] for path in (RECORDED / release).glob("refused.*")} <= set(REFUSALS)


@pytest.mark.parametrize(
    "text",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
    ],
)
def test_what_passes_by_itself(release: str, text: str) -> None:
    assert isinstance(Slurm().refusal(SubmitAnswer(text, 1, "sbatch", {})), SubmissionDelayed)


def test_no_answer_at_all_is_no_refusal(release: str) -> None:
    assert isinstance(Slurm().refusal(SubmitAnswer("sbatch gave no answer", None, "sbatch", {})), SubmissionDelayed)


def test_a_machine_without_a_cluster_is_told_apart(release: str) -> None:
    said = (
        "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: error: fetch_config: failed"
    )
    error = Slurm().refusal(SubmitAnswer(said, 1, "sbatch", {}))
    assert isinstance(error, SubmissionRefused)
    assert "name the login node" in str(error)
