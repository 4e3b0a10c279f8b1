"""A job comes into being once, whatever becomes of the submission; or it is said why it does not."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.engine.submission import cancel, submit
from dagster_slurm.errors import RequestFailed, SubmissionDelayed, SubmissionRefused
from dagster_slurm.schedulers.slurm import Slurm
from tests.conformance import rows
from tests.conformance.driver import PATIENCE, UNTIL_GO, Heard, Rig, until
from tests.conformance.worker import task

#: ends by adding a line to a file that all share
COUNTED = "echo out; echo $DAGSTER_SLURM_JOB_ID >>$SHARED/ran"


def ran(rig: Rig) -> list[str]:
    """Ids of the jobs whose payload ran to its end."""
    file = rig.shared / "ran"
    return file.read_text().split() if file.exists() else []


# --- once


def test_submitted_again_it_is_the_same_job(rig: Rig) -> None:
    launch = rig.launch(f"{COUNTED}; {UNTIL_GO}")
    play = rig.take_up(launch)
    play.until_begun()
    again = rig.take_up(launch, rig.another_host())
    again.until(lambda: again.submitted)
    assert again.submitted
    assert again.submitted.adopted
    play.go()
    first, second = play.result(), again.result()
    third = rig.take_up(launch, rig.another_host()).result()
    assert first.tracked.job == second.tracked.job == third.tracked.job
    assert [played.heard.stdout for played in (first, second, third)] == [b"out\n"] * 3
    assert ran(rig) == [first.tracked.job]


def test_eight_processes_submit_one_launch_at_once(rig: Rig) -> None:
    go = rig.shared / "go"
    asked = task(rig, COUNTED, key=(f"run-{time.time()}", "step", "call"), go=str(go))
    workers = [subprocess.Popen(asked.argv(), stdout=subprocess.PIPE, text=True) for _ in range(8)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    go.touch()
    answers = [json.loads(worker.communicate(timeout=2 * PATIENCE)[0]) for worker in workers]
    assert {(answer["cause"], answer["stdout"]) for answer in answers} == {("success", "out\n")}
    assert len({answer["job"] for answer in answers}) == 1
    assert sorted(answer["adopted"] for answer in answers) == [False] + [True] * 7
    assert len(ran(rig)) == 1


def test_launches_that_resemble_each_other_have_jobs_of_their_own(rig: Rig) -> None:
    keys = [("run", "step", "call"), ("run", "step", "call2"), ("run", "step2", "call"), ("run2", "step", "call")]
    keys += [("run", "s" * 100 + end, "call") for end in "ab"] + [
        ("run", "step[a,b]", "call"),
        ("run", "step[a b]", "call"),
    ]
    run = f"{time.time()}"
    plays = [
        rig.begin(f"echo {number}; {COUNTED}", key=LaunchKey(run + key[0], *key[1:])) for number, key in enumerate(keys)
    ] + [rig.begin("echo 8; " + COUNTED, key=LaunchKey(run + "run", "step", "call", 1))]
    for number, play in enumerate(plays):
        assert play.result().heard.stdout == f"{number}\nout\n".encode()
    assert len(set(ran(rig))) == len(plays)


@pytest.mark.parametrize("how", ["error", "kill", "silent"])
def test_the_reply_of_sbatch_is_lost(faked: Rig, how: str) -> None:
    faked.backstage.lose_reply(how, times=1)
    played = faked.run(COUNTED)
    assert (played.cause, played.submitted.adopted, played.submitted.doubtful) == ("success", True, True)
    assert len(played.heard.delays) == 1
    assert len(faked.backstage.jobs()) == len(ran(faked)) == 1


def test_a_submission_lands_late_while_the_second_runs(faked: Rig) -> None:
    """The late one finds the run claimed: it ends, and leaves everything as it is."""
    faked.backstage.land_late(3.5, times=1)
    play = faked.begin(f"{UNTIL_GO}; {COUNTED}")
    winner = play.until_begun()
    late = next(job.id for job in faked.backstage.jobs() if job.id != winner)
    faked.backstage.wait(late, "COMPLETED")
    play.go()
    played = play.result()
    assert (played.cause, played.heard.stdout) == ("success", b"out\n")
    assert ran(faked) == [str(winner)]
    assert [start.job for start in played.tracked.record.starts] == [str(winner)]


def test_a_submission_lands_late_and_wins(faked: Rig) -> None:
    """The second one waits in the queue when the first one appears; it is cancelled when all is over."""
    faked.backstage.configure(pending_time=None)
    faked.backstage.land_late(3.5, times=1)
    play = faked.begin(f"{UNTIL_GO}; {COUNTED}")
    second = play.job
    until(lambda: len(faked.backstage.jobs()) == 2)
    first = next(job.id for job in faked.backstage.jobs() if job.id != second)
    faked.backstage.release(first)
    play.until(lambda: play.file("begun").exists())
    play.until(lambda: play.following and play.following.tracked.job == str(first))
    # the queue is asked about the one that runs
    play.until(lambda: play.following and (row := play.following.tracked.queue) and row.word == "RUNNING")
    play.go()
    played = play.result()
    assert (played.cause, played.heard.stdout, ran(faked)) == ("success", b"out\n", [str(first)])
    faked.backstage.wait(second, "CANCELLED")


def test_a_submission_lands_after_all_is_over(faked: Rig) -> None:
    faked.backstage.land_late(6, times=1)
    played = faked.run(COUNTED)
    before = {path: path.read_bytes() for path in played.directory.iterdir() if path.is_file()}
    winner = int(played.tracked.job)
    late = next(job.id for job in faked.backstage.jobs() if job.id != winner)
    assert faked.backstage.wait(late).state in ("COMPLETED", "CANCELLED")
    assert {path: path.read_bytes() for path in before} == before
    assert ran(faked) == [str(winner)]


def test_a_job_id_that_is_not_alone(faked: Rig) -> None:
    """A site's wrapper, a warning, a cluster's name."""
    faked.backstage.banner("sbatch", stdout="Welcome 2 all | 7\n12 nodes are free", stderr="sbatch: warning: be brief")
    faked.backstage.configure(parsable_cluster=True)
    played = faked.run(COUNTED)
    assert (played.cause, played.submitted.job["cluster"], ran(faked)) == ("success", "fake", [played.tracked.job])


# --- not now


@pytest.mark.parametrize("reason", ["AssocMaxSubmitJobLimit", "QOSMaxSubmitJobPerUserLimit", "max_jobs"])
def test_a_limit_is_waited_out(faked: Rig, reason: str) -> None:
    faked.backstage.refuse(reason, times=1)
    played = faked.run(COUNTED)
    assert (played.cause, len(ran(faked))) == ("success", 1)
    assert [type(error) for error in played.heard.delays] == [SubmissionDelayed]
    assert not played.submitted.adopted


@pytest.mark.cluster
def test_a_real_limit_is_waited_out(make_cluster) -> None:
    with rows.real(make_cluster(max_submit_jobs=1)) as rig:
        first = rig.begin(UNTIL_GO)
        first.until_begun()
        second = rig.begin(COUNTED)
        second.until(lambda: second.heard.delays)
        assert "limit" in second.heard.delays[0].message
        first.go()
        assert (first.result().cause, second.result().cause, len(ran(rig))) == ("success", "success", 1)


def test_the_queue_does_not_answer_when_it_matters(faked: Rig) -> None:
    """Whether the job exists is not known, so none is submitted until the queue answers."""
    faked.backstage.configure(pending_time=None)
    faked.backstage.lose_reply("error", times=1)
    faked.backstage.fail("squeue", stderr="slurm_load_jobs error: Socket timed out", times=1)
    play = faked.begin(COUNTED)
    job = play.job
    assert len(play.heard.delays) == 2
    faked.backstage.release(job)
    assert (play.result().cause, len(faked.backstage.jobs()), ran(faked)) == ("success", 1, [str(job)])


def test_a_controller_that_takes_its_time(faked: Rig) -> None:
    faked.backstage.hang("sbatch", 4, times=1)
    assert faked.run(COUNTED).cause == "success"
    assert len(ran(faked)) == 1


# --- never

REFUSED = {
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "time_limit": "time limit",
    "node_configuration": "node configuration",
    "Invalid generic resource (gres) specification": "gres",
    "Requested node list is invalid": "node",
    "Memory specification can not be satisfied": "memory",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_is_told_with_what_to_do(faked: Rig, reason: str) -> None:
    faked.backstage.refuse(reason)
    launch = faked.launch(COUNTED)
    for _ in range(2):  # what Slurm keeps of a refused job is no job
        error = faked.take_up(launch).error()
        assert type(error) is SubmissionRefused
        assert REFUSED[reason] in error.message.lower()
        assert error.hint != "See sbatch(1)."
        assert not error.allow_retries
        assert "sbatch" in (error.command or "")
    assert not ran(faked)


@pytest.mark.cluster
@pytest.mark.parametrize(
    "wrong",
    [
        {"partition": "nowhere"},
        {"account": "nobody"},
        {"qos": "best"},
        {"mem": "9T"},
        {"gpus_per_node": 99},
        {"constraint": "nice"},
        {"reservation": "mine"},
        {"nodelist": "node99"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_real_refusal(real: Rig, wrong: dict[str, object]) -> None:
    launch = real.launch(COUNTED, **wrong)
    for _ in range(2):
        error = real.take_up(launch).error()
        assert type(error) is SubmissionRefused
        assert error.hint != "See sbatch(1)."


def test_there_is_no_sbatch(tmp_path: Path) -> None:
    with rows.local(tmp_path) as rig:
        nowhere = rows.environment(tmp_path / "tmp", PATH=str(tmp_path), SHELL="/bin/false")
        rig.transport, rig.scheduler = lambda: rows.Beside(nowhere), Slurm()
        error = rig.begin(COUNTED).error()
    assert isinstance(error, RequestFailed)
    assert "sbatch" in str(error)


# --- cancelled before there is a job


def test_cancelled_before_it_is_submitted(rig: Rig) -> None:
    launch = rig.launch(COUNTED)
    assert cancel(rig.host, rig.scheduler, launch) == []
    error = rig.take_up(launch).error()
    assert isinstance(error, RequestFailed)
    assert "cancelled" in error.message
    assert not ran(rig)


def test_cancelled_before_it_lands(faked: Rig) -> None:
    faked.backstage.land_late(2.5)
    launch, heard = faked.launch(COUNTED), Heard()
    play = faked.take_up(launch, heard=heard)
    until(lambda: heard.delays)
    cancel(faked.host, faked.scheduler, launch)
    assert isinstance(play.error(), RequestFailed)
    for job in faked.backstage.jobs():
        faked.backstage.wait(job.id)
    assert not ran(faked)


def test_a_submission_of_an_earlier_process_is_found(faked: Rig) -> None:
    """Its reply never arrived, and nobody wrote it down."""
    faked.backstage.lose_reply("error", times=1)
    launch = faked.launch(f"{UNTIL_GO}; {COUNTED}")
    first = faked.take_up(launch)
    until(lambda: first.heard.delays)
    submitted = submit(faked.another_host(), faked.scheduler, launch, Heard())
    assert submitted.adopted
    first.until_begun()
    first.go()
    assert first.result().tracked.job == submitted.id
    assert len(faked.backstage.jobs()) == 1
