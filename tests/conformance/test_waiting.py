"""What takes its time: looks at the queue, lags that are waited out, jobs that will not end. See :mod:`.acts`."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from dagster_slurm.core.observations import OddWord, Waiting
from dagster_slurm.core.verdict import PATIENCE
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.previous import fate
from dagster_slurm.engine.submission import cancel, submit
from tests.conformance.acts import Stage, waits
from tests.conformance.conftest import REAL
from tests.conformance.driver import UNTIL_GO, Heard, Rig, until
from tests.conformance.payloads import AGAIN, DEAF, TRAPS
from tests.conformance.places import small_disk

pytestmark = pytest.mark.timeout(240)

#: "neither waits for minutes": with everything away, a verdict comes within this, in seconds
SOON = 60


@waits("local", "faked", REAL)
def test_a_payload_that_will_not_end_is_ended(stage: Stage, row: str) -> None:
    rig = stage.row(row)
    play = rig.begin(f"echo out; {DEAF}")
    play.until_begun()
    cancel(rig.host, rig.scheduler, play.launch)
    played = play.result(90)
    assert (played.cause, played.heard.stdout) == ("cancelled" if rig.slurm else "interrupted", b"out\n")


@waits("faked", REAL)
def test_cancelled_while_it_waits(stage: Stage, row: str) -> None:
    rig = stage.row(row)
    play = rig.begin("echo no", options={"begin": "now+1hour"})
    job = play.job
    assert cancel(rig.host, rig.scheduler, play.launch) == [str(job)]
    played = play.result()
    assert (played.cause, played.heard.stdout, played.tracked.started) == ("cancelled", b"", False)


@waits(TRAPS, "touch begun; sleep 60")
def test_preempted_for_good(stage: Stage, body: str) -> None:
    rig = stage.faked()
    play = rig.begin(body, options={"no-requeue": True})
    rig.backstage.preempt(play.until_begun())
    assert play.result().cause == "preempted"


@waits(pytest.param("requeue", marks=pytest.mark.cluster), pytest.param("cancel", marks=pytest.mark.cluster))
def test_preempted_for_real(stage: Stage, mode: str) -> None:
    """Without accounting: the same id starts again, or the job is over."""
    rig = stage.special(accounting=False, preemption=mode, grace_time=2, requeue_delay=3)
    play = rig.begin(AGAIN, nodes=4, options={"exclusive": True})
    play.until_begun()
    urgent = rig.begin("true", nodes=4, partition="urgent", options={"exclusive": True})
    assert urgent.result(120).cause == "success"
    played = play.result(120)
    assert played.cause == ("success" if mode == "requeue" else "preempted")
    assert played.heard.said == ({0: b"0\n", 1: b"1\n"} if mode == "requeue" else {0: b"0\n"})


@waits()
def test_a_node_that_fails_takes_the_last_word_with_it(stage: Stage) -> None:
    rig = stage.faked()
    play = rig.begin(f"echo out; {TRAPS}", options={"no-requeue": True})
    rig.backstage.fail_node(play.until_begun())
    played = play.result()
    assert (played.cause, played.verdict.exit, played.heard.stdout) == ("node_failure", None, b"out\n")


@waits(True, False)
def test_out_of_memory(stage: Stage, whole: bool) -> None:
    """With the batch shell, or without."""
    rig = stage.faked()
    play = rig.begin("touch begun; sleep 60; exit 1", mem="100M")
    rig.backstage.out_of_memory(play.until_begun(), whole=whole)
    assert play.result().cause == "out_of_memory"


@waits(REAL)
def test_a_real_job_that_starts_again_is_followed(stage: Stage, row: str) -> None:
    rig = stage.row(row)
    play = rig.begin(AGAIN)
    play.until_begun()
    assert rig.backstage.run(["scontrol", "requeue", str(play.job)]).returncode == 0
    played = play.result(120)
    assert (played.cause, played.heard.said) == ("success", {0: b"0\n", 1: b"1\n"})


@waits("faked", REAL)
def test_a_batch_shell_that_is_killed(stage: Stage, row: str) -> None:
    """Nobody can write a record, and Slurm knows no more than the signal."""
    rig = stage.row(row)
    played = rig.run("echo out; kill -9 $(ps -o ppid= -p $PPID); sleep 60", metered=False, timeout=90)
    assert (played.cause, played.verdict.signal, played.heard.stdout) == ("signal", 9, b"out\n")
    assert played.seconds < SOON


# --- Slurm says nothing, or odd things


@waits()
def test_a_word_that_nobody_knows_is_waited_out(stage: Stage) -> None:
    rig = stage.faked()
    play = rig.begin(UNTIL_GO)
    rig.backstage.show_state(play.until_begun(), "BAMBOOZLED")
    play.until(lambda: OddWord("BAMBOOZLED") in play.heard.events)
    assert not play.over
    play.go()
    assert play.result().cause == "success"


@waits()
def test_why_a_job_waits_is_told_once(stage: Stage) -> None:
    rig = stage.faked(pending_time=15.0, pending_reason="Resources")
    played = rig.run("true")
    assert played.cause == "success"
    told = [event for event in played.heard.events if isinstance(event, Waiting)]
    assert len(told) == 1
    assert told[0].reason == "Resources"
    assert told[0].expected_start


ENDS = {"exit 0": "success", "exit 3": "exit_code", "kill -SEGV $$": "signal"}


@waits(*((away, end) for away in ("sacct", "squeue", "both") for end in ENDS))
def test_ends_without_a_witness(stage: Stage, case: tuple[str, str]) -> None:
    away, end = case
    rig = stage.faked()
    silence(rig, away)
    played = rig.run(f"echo out; {end}", timeout=90)
    assert (played.cause, played.heard.stdout) == (ENDS[end], b"out\n")
    assert played.seconds < (SOON if (away, end) == ("both", "kill -SEGV $$") else PATIENCE)


@waits("sacct", "squeue", "both")
def test_cancelled_without_a_witness(stage: Stage, away: str) -> None:
    """It says that all is well, and was told to stop."""
    rig = stage.faked()
    play = rig.begin(TRAPS)
    job = play.until_begun()
    silence(rig, away)
    rig.backstage.cancel(job)
    played = play.result(90)
    assert played.cause == ("interrupted" if away == "both" else "cancelled")
    assert played.seconds < SOON


@waits("sacct", "squeue", "both")
def test_killed_without_a_witness(stage: Stage, away: str) -> None:
    """No record of its end, and whoever could tell is away; what can be known is known soon, and nothing is made up."""
    rig = stage.faked()
    play = rig.begin(DEAF)
    job = play.until_begun()
    silence(rig, away)
    rig.backstage.cancel(job)
    if away == "both":
        rig.backstage.wait(job)
        play.until(lambda: "Unanswered" in play.heard.kinds())
        assert not play.over
        rig.backstage.heal()
    assert play.result(120).cause == "cancelled"


@waits(True, False)
def test_a_job_that_is_forgotten_at_once(stage: Stage, accounted: bool) -> None:
    """``squeue`` forgets it when it ends; it had no time for a record."""
    rig = stage.faked(min_job_age=0.0)
    if not accounted:
        rig.backstage.accounting_away()
    play = rig.begin(DEAF)
    rig.backstage.cancel(play.until_begun())
    played = play.result(90)
    assert played.cause == ("cancelled" if accounted else "lost")
    assert played.seconds < (SOON if accounted else 100)


@waits()
def test_a_job_that_is_forgotten_at_once_ended_well_all_the_same(stage: Stage) -> None:
    rig = stage.faked(min_job_age=0.0)
    rig.backstage.accounting_away()
    assert [rig.run(end).cause for end in ENDS] == list(ENDS.values())


@waits(60.0)
def test_accounting_that_lags(stage: Stage, lag: float) -> None:
    """It tells the world of a minute ago; the queue does not know the job any more."""
    rig = stage.faked(min_job_age=0.0)
    play = rig.begin(TRAPS)
    job = play.until_begun()
    rig.backstage.lag("sacct", lag)
    rig.backstage.cancel(job)
    assert play.result(120).cause in ("cancelled", "interrupted")


@waits(pytest.param("real", marks=pytest.mark.cluster), "faked")
def test_the_controller_is_away_for_a_while(stage: Stage, row: str) -> None:
    """In mid-job; the payload ends meanwhile, well or not. Then at the submit."""
    rig = stage.special(accounting=False) if row == "real" else stage.faked()
    plays = {end: rig.begin(f"{UNTIL_GO}; {end}") for end in ENDS}
    for play in plays.values():
        play.until_begun()
    controller(rig, away=True)
    late = rig.begin("echo late; echo 1 >>$SHARED/ran")
    for play in plays.values():
        play.go()
    assert plays["exit 0"].result().cause == "success"
    late.until(lambda: late.heard.delays)
    assert late.submitted is None
    controller(rig, away=False)
    assert {end: play.result(90).cause for end, play in plays.items()} == ENDS
    played = late.result(90)
    assert (played.cause, played.heard.stdout) == ("success", b"late\n")
    assert (rig.shared / "ran").read_text() == "1\n"


def silence(rig: Rig, away: str) -> None:
    if away in ("sacct", "both"):
        rig.backstage.accounting_away()
    if away in ("squeue", "both"):
        rig.backstage.fail("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller")


def controller(rig: Rig, *, away: bool) -> None:
    if rig.kind == "real":
        (rig.backstage.stop if away else rig.backstage.start)("slurmctld")
    elif away:
        rig.backstage.controller_away()
    else:
        rig.backstage.heal()


@waits()
def test_what_a_stopped_job_was_stopped_by_is_not_known(stage: Stage) -> None:
    """An earlier execution left it; that is no failure that was read, so the same directory serves."""
    rig = stage.faked()
    launch = rig.launch(TRAPS)
    job = int(submit(rig.host, rig.scheduler, launch, Heard()).id)
    until((Path(launch.directory) / "work" / "begun").exists)
    rig.backstage.cancel(job)
    rig.backstage.wait(job)
    rig.backstage.purge(job)
    rig.backstage.accounting_away()
    assert fate(rig.host, rig.scheduler, launch.directory) in ("going on", "failed")


@waits("local", "faked", REAL)
def test_a_disk_that_is_full_in_the_end(stage: Stage, row: str) -> None:
    """The payload ends well, and there is no room for the line that would say so: that is no success."""
    rig = stage.row(row)
    small = stage.enter(small_disk(rig))
    last_page = "yes '' | head -c $((4076 - $(stat -c %s ../record.jsonl) % 4096)) >>../record.jsonl"
    fill = f"dd if=/dev/zero of={small}/filler bs=1k 2>/dev/null"
    played = rig.run(f"{last_page}; {fill}; exit 0", base=str(small), metered=False, timeout=90)
    assert played.cause == "lost"


@waits("faked", pytest.param("real", marks=[pytest.mark.cluster, pytest.mark.slow]))
def test_twenty_jobs_for_a_minute(stage: Stage, row: str) -> None:
    """Watched by two processes: two questions a minute, and few looks at files."""
    rig = stage.row(row)
    hosts = [rig.another_host(), rig.another_host()]
    plays = [rig.begin(UNTIL_GO, host=hosts[number % 2], metered=False) for number in range(20)]
    for play in plays:
        play.until_begun()
    asked, looked = _used(hosts)
    time.sleep(65)
    more, further = _used(hosts)
    assert sum(more.values()) - sum(asked.values()) <= 3
    assert further - looked < 65 * 50
    for play in plays:
        play.go()
    assert {play.result(120).cause for play in plays} == {"success"}


def _used(hosts: list[Host]) -> tuple[Counter[str], int]:
    """Commands that were run, and operations on files, by all agents."""
    counts = [host.request("counts")[0] for host in hosts]
    commands = sum((Counter(count["commands"]) for count in counts), Counter[str]())
    return commands, sum(count["operations"] for count in counts)
