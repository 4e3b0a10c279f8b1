"""A payload that was stopped is no success, whatever it says; and the cause has a name."""

from __future__ import annotations

import pytest

from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.submission import cancel
from tests.conformance.driver import Play, Played, Rig, until
from tests.conformance.payloads import AGAIN, TRAPS

HOG = "import os; open('begun', 'w'); x = bytearray(400 << 20)"


def scancel(rig: Rig, play: Play) -> None:
    if rig.kind == "real":
        rig.backstage.run(["scancel", str(play.job)])
    else:
        rig.backstage.cancel(play.job, uid=0)


def saved_but_stopped(played: Played, cause: str) -> Verdict:
    assert played.heard.stdout == b"saved\n"
    assert played.cause == cause
    assert played.verdict.exit is not None
    assert (played.verdict.exit.code, played.verdict.exit.signalled) == (0, True)
    return played.verdict


def test_cancelled_by_us(rig: Rig) -> None:
    play = rig.begin(TRAPS)
    job = play.until_begun()
    unit = f"{job}.0" if rig.session else str(job)
    assert cancel(rig.host, rig.scheduler, play.launch) == [unit]
    # of a step that was told to stop, accounting says what it made of it
    saved_but_stopped(play.result(), "cancelled" if rig.kind in ("faked", "real", "together") else "interrupted")


def test_cancelled_by_others(slurm: Rig) -> None:
    play = slurm.begin(TRAPS)
    play.until_begun()
    scancel(slurm, play)
    saved_but_stopped(play.result(), "cancelled")


def test_the_time_limit(faked: Rig) -> None:
    play = faked.begin(TRAPS, time_limit=5)
    faked.backstage.time_out(play.until_begun())
    saved_but_stopped(play.result(), "time_limit")


@pytest.mark.slow
@pytest.mark.cluster
def test_the_time_limit_of_a_real_job(real: Rig) -> None:
    play = real.begin(TRAPS, time_limit=1)
    saved_but_stopped(play.result(150), "time_limit")


def test_the_warning_before_the_time_limit(faked: Rig) -> None:
    """The signal that was asked for ends a payload that does not trap it; nobody else stopped it."""
    play = faked.begin("touch begun; sleep 60", time_limit=10, signal_before_timeout="TERM@60")
    faked.backstage.warn(play.until_begun())
    assert play.result().cause == "time_limit"


@pytest.mark.cluster
def test_a_real_node_that_fails(real: Rig) -> None:
    play = real.begin(TRAPS, options={"no-requeue": True})
    play.until_begun()
    played: Played | None = None
    real.backstage.fail(play.submitted and _node(play))
    played = play.result()
    assert played.cause == "node_failure"


@pytest.mark.parametrize("code", [0, 3])
def test_a_node_that_only_seemed_lost(faked: Rig, code: int) -> None:
    """The job starts again while its first start goes on, unseen by Slurm, and ends first: the last start counts."""
    body = "echo $DAGSTER_SLURM_RESTART >>$MESSAGES; touch begun.$DAGSTER_SLURM_RESTART; "
    body += (
        f"until [ -e go.$DAGSTER_SLURM_RESTART ]; do sleep 0.02; done; [ $DAGSTER_SLURM_RESTART = 0 ] || exit {code}"
    )
    play = faked.begin(body)
    play.until(lambda: play.file("begun.0").exists())
    faked.backstage.fail_node(play.job, survive=True)
    play.until(lambda: play.file("begun.1").exists())
    play.file("go.0").touch()
    until(lambda: '"event":"exit"' in (play.directory / "record.jsonl").read_text())
    assert not play.over
    play.file("go.1").touch()
    played = play.result()
    assert (played.verdict.code, played.heard.said) == (code, {0: b"0\n", 1: b"1\n"})
    assert played.verdict.exit is not None


def _node(play: Play) -> str:
    until(lambda: play.following and play.following.tracked.record.start)
    assert play.following is not None
    assert play.following.tracked.record.start is not None
    return play.following.tracked.record.start.node


@pytest.mark.parametrize("how", ["requeue", "preempt", "fail_node"])
def test_a_job_that_starts_again_is_followed(faked: Rig, how: str) -> None:
    """Its first start ends as if all were well, and says so; nothing of it counts."""
    play = faked.begin(f"echo $DAGSTER_SLURM_RESTART; {AGAIN}")
    getattr(faked.backstage, how)(play.until_begun())
    played = play.result()
    assert played.cause == "success"
    assert played.tracked.record.restart == 1
    assert played.heard.said == {0: b"0\n", 1: b"1\n"}
    assert sorted(played.heard.stdout.split()) == [b"0", b"1"] + ([b"saved"] if how != "fail_node" else [])
    assert (played.directory / "stdout.1").read_bytes() == b"1\n"
    assert (played.directory / "stdout.0").read_bytes().startswith(b"0\n")


@pytest.mark.cluster
@pytest.mark.parametrize("command", [("python3", "-c", HOG), (f'python3 -c "{HOG}" || exit 3',)])
def test_out_of_memory_for_real(real: Rig, command: tuple[str, ...]) -> None:
    """The kernel kills the payload, or a child of it."""
    if not real.backstage.confines_memory:
        pytest.skip("no control groups of version 1 here")
    assert real.run(*command, mem=100).cause == "out_of_memory"
