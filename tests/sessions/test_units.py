"""Work in one allocation of a real cluster: what runs at once, what each unit sees, and what ends one of them alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from dagster_slurm.engine.overview import end, look
from dagster_slurm.engine.submission import cancel
from dagster_slurm.schedulers.slurm import Slurm
from tests.conformance.driver import UNTIL_GO, Play, Rig, until

pytestmark = pytest.mark.cluster


def step(play: Play) -> str:
    until(lambda: play.following is not None and play.following.tracked.started)
    assert play.following is not None
    return play.following.tracked.job


def queued(play: Play) -> bool:
    """Whether the session says that it has it."""
    return play.following is not None and bool(play.following.tracked.record.queued)


def jobs(rig: Rig) -> list[str]:
    """Jobs of this rig, whatever became of them."""
    rows = rig.backstage.run(["squeue", "-h", "--states=all", "-o", "%i|%T|%Z"]).stdout.splitlines()
    return [row.rpartition("|")[0] for row in rows if row.rpartition("|")[2].startswith(f"{rig.base}/")]


def test_units_share_an_allocation_side_by_side(rig: Rig) -> None:
    plays = [rig.begin(f"echo $SLURM_JOB_ID.$SLURM_STEP_ID; {UNTIL_GO}") for _ in range(3)]
    for play in plays:
        play.until_begun()
    steps = [step(play) for play in plays]
    assert len(set(steps)) == 3
    assert len({name.partition(".")[0] for name in steps}) == 1
    for play in plays:
        play.go()
    for play in plays:
        played = play.result()
        assert played.cause == "success"
        assert played.heard.stdout.decode().strip() == played.tracked.job
    assert len(jobs(rig)) == 1


def test_what_does_not_fit_waits_in_order(rig: Rig) -> None:
    """Four CPUs: two units of two fill it; those that come later begin as they came, though the last one would fit."""
    running = [rig.begin(UNTIL_GO, cpus=2) for _ in range(2)]
    for play in running:
        play.until_begun()
    waiting: list[Play] = []
    for cpus in (3, 1):
        waiting.append(rig.begin(f"echo $SLURM_STEP_ID; {UNTIL_GO}", cpus=cpus))
        until(lambda: queued(waiting[-1]))
    running[0].go()
    assert running[0].result().cause == "success"
    assert not [play for play in waiting if play.file("begun").exists()]
    running[1].go()
    for play in waiting:
        play.until_begun()
        play.go()
    numbers = [int(play.result().heard.stdout) for play in waiting]
    assert numbers == sorted(numbers)


def test_what_finds_no_memory_waits(session: Callable[..., Rig]) -> None:
    """On several nodes Slurm would refuse it."""
    rig = session(nodes=2)
    first = rig.begin(UNTIL_GO, nodes=2, mem=800)
    first.until_begun()
    second = rig.begin("true", nodes=2, mem=800)
    until(lambda: queued(second))
    time.sleep(1)
    assert not second.over
    assert second.following is not None
    assert not second.following.tracked.started
    first.go()
    assert [play.result().cause for play in (first, second)] == ["success", "success"]
    never = rig.run("true", mem=1200)
    assert never.verdict.exit is not None
    assert "Memory required by task is not available" in never.verdict.exit.text


def test_as_many_at_once_as_the_user_allows(session: Callable[..., Rig]) -> None:
    rig = session(max_concurrent_jobs=1)
    first = rig.begin(UNTIL_GO)
    first.until_begun()
    second = rig.begin(f"[ -e {first.file('go')} ] || exit 9")
    until(lambda: queued(second))
    first.go()
    assert [play.result().cause for play in (first, second)] == ["success", "success"]


def test_three_units_with_a_gpu_see_three_gpus(session: Callable[..., Rig]) -> None:
    rig = session(partition="gpu", gpus_per_node=4)
    plays = [rig.begin(f"echo $CUDA_VISIBLE_DEVICES; {UNTIL_GO}", gpus_per_node=1) for _ in range(3)]
    for play in plays:
        play.until_begun()
    for play in plays:
        play.go()
    assert len({play.result().heard.stdout for play in plays}) == 3
    without = rig.run("echo ${CUDA_VISIBLE_DEVICES:-none}")
    assert b"0" not in without.heard.stdout


def test_a_unit_on_two_nodes(session: Callable[..., Rig]) -> None:
    rig = session(nodes=3)
    played = rig.run("echo $SLURM_JOB_NUM_NODES; srun $DAGSTER_SLURM_STEP_OPTIONS -N2 -n2 hostname | wc -l", nodes=2)
    assert played.heard.stdout.decode().split() == ["2", "2"]
    assert played.tracked.record.start is not None
    assert played.tracked.record.start.count == 2


def test_a_cancel_ends_one_unit_alone(rig: Rig) -> None:
    plays = [rig.begin(UNTIL_GO) for _ in range(2)]
    for play in plays:
        play.until_begun()
    assert cancel(rig.host, rig.scheduler, plays[0].launch) == [step(plays[0])]
    assert plays[0].result().cause == "interrupted"
    plays[1].go()
    assert plays[1].result().cause == "success"


def test_who_knows_of_no_session_cancels_one_unit_alone(session: Callable[..., Rig]) -> None:
    """The command line and the orphan sensor see run directories, and ids of steps in them."""
    rig = session(max_concurrent_jobs=1)
    first = rig.begin(UNTIL_GO)
    first.until_begun()
    second = rig.begin("touch $SHARED/ran")
    until(lambda: queued(second))
    seen = {item.directory: item for item in look(rig.host, Slurm(), str(rig.base))}
    end(rig.host, Slurm(), seen[str(second.directory)])
    first.go()
    assert first.result().cause == "success"
    assert not (rig.shared / "ran").exists()


def test_a_unit_that_waits_is_cancelled(session: Callable[..., Rig]) -> None:
    rig = session(max_concurrent_jobs=1)
    first = rig.begin(UNTIL_GO)
    first.until_begun()
    second = rig.begin("touch $SHARED/ran")
    until(lambda: queued(second))
    cancel(rig.host, rig.scheduler, second.launch)
    first.go()
    assert first.result().cause == "success"
    assert rig.run("true").cause == "success"
    assert not (rig.shared / "ran").exists()


@pytest.mark.parametrize("whom", ["payload", "everything"])
def test_a_unit_that_is_killed_was_not_cancelled(rig: Rig, whom: str) -> None:
    """By a signal to its payload, or to all of its step, so that its script could not say how it ended."""
    play = rig.begin("kill -KILL $$" if whom == "payload" else "touch begun; kill -KILL $PPID $(ps -o ppid= $PPID) $$")
    played = play.result()
    assert (played.cause, played.verdict.signal) == ("signal", signal.SIGKILL)


def test_a_cancel_from_outside_is_told(rig: Rig) -> None:
    play = rig.begin(UNTIL_GO)
    play.until_begun()
    rig.backstage.run(["scancel", step(play)])
    assert play.result().cause == "cancelled"


def test_what_the_allocation_cannot_give_is_refused(rig: Rig) -> None:
    played = rig.run("true", cpus=100)
    assert played.cause == "exit_code"
    assert played.verdict.exit is not None
    assert played.verdict.exit.phase == "session"
    assert "More processors requested than permitted" in played.verdict.exit.text
    assert rig.run("true").cause == "success"


def test_a_second_process_finds_the_same_session_and_unit(rig: Rig) -> None:
    launch = rig.launch(f"echo x >>$SHARED/ran; {UNTIL_GO}")
    play = rig.take_up(launch)
    play.until_begun()
    other = rig.another_host()
    again = rig.take_up(launch, host=other)
    beside = rig.begin("true", host=other)
    assert beside.result().tracked.job.partition(".")[0] == str(play.job)
    play.go()
    assert again.result().tracked.job == play.result().tracked.job
    assert (rig.shared / "ran").read_text() == "x\n"
    assert len(jobs(rig)) == 1


def test_at_most_five_steps_are_started_in_a_second(rig: Rig) -> None:
    plays = [rig.begin("true") for _ in range(12)]
    starts: list[float] = []
    for play in plays:
        record = play.result().tracked.record
        assert record.start is not None
        starts.append(record.start.time)
    starts.sort()
    # between a start by the agent and the script's own word lies what srun takes, and the load of this machine
    assert starts[11] - starts[0] > 1.5
