"""Ends of a session that take a minute or two: its limit, nobody left to need it, somebody more urgent, a bad node."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable

import pytest

from testcluster.execute import ClusterError
from tests.conformance import rows
from tests.conformance.driver import UNTIL_GO, Rig, until
from tests.conformance.worker import task
from tests.sessions.test_ends import closed, goes_on_elsewhere, one_runs_and_one_waits, state
from tests.sessions.test_units import jobs

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_the_time_limit_and_a_successor_in_time(session: Callable[..., Rig]) -> None:
    """While work waits and the end is near, the next allocation is asked for, and is there when this one is closed."""
    rig = session(max_concurrent_jobs=1, time_limit=2)
    running, waiting = one_runs_and_one_waits(rig)
    until(lambda: len(jobs(rig)) == 2, 110)
    assert not closed(rig).count('"closed"'), "this one still takes work"
    successor = max(int(row.partition("|")[0]) for row in jobs(rig))
    assert waiting.result(150).cause == "success"
    assert waiting.heard.stdout.decode().strip() == str(successor)
    assert (rig.shared / "ran").read_text() == "x\n"
    assert "its time limit is near" in closed(rig)
    assert any(f"Job {successor} will go on with the session's work" in text for text in waiting.heard.told)
    assert running.result(150).cause == "time_limit"
    assert len(jobs(rig)) == 2


def test_no_successor_without_waiting_work(session: Callable[..., Rig]) -> None:
    rig = session(max_concurrent_jobs=1, time_limit=1)
    play = rig.begin(UNTIL_GO)
    play.until_begun()
    until(lambda: "its time limit is near" in closed(rig), 90)
    play.go()
    assert play.result().cause == "success"
    until(lambda: state(rig, play.job) == "COMPLETED")
    assert len(jobs(rig)) == 1


def test_all_processes_of_dagster_die(session: Callable[..., Rig]) -> None:
    """By SIGKILL: what runs is finished, what waits does not begin, and the session ends by itself."""
    rig = session(max_concurrent_jobs=1)
    words = ("run", "step")
    commands = [f"touch begun; until [ -e {rig.shared}/go ]; do sleep 0.05; done; touch {rig.shared}/finished"]
    commands.append(f"touch {rig.shared}/never")
    processes = [
        subprocess.Popen(task(rig, command, key=(*words, str(number))).argv(), stdout=subprocess.DEVNULL)
        for number, command in enumerate(commands[:1])
    ]
    until(lambda: list(rig.base.glob("runs/**/begun")))
    processes.append(subprocess.Popen(task(rig, commands[1], key=(*words, "1")).argv(), stdout=subprocess.DEVNULL))
    until(lambda: '"queued"' in "".join(path.read_text() for path in rig.base.glob("runs/run/step/1.0/record.jsonl")))
    for process in processes:
        process.kill()
        process.wait()
    job = int(jobs(rig)[0].partition("|")[0])
    time.sleep(62)  # the lease is over, and what runs is no concern of its
    assert state(rig, job) == "RUNNING"
    (rig.shared / "go").touch()
    until(lambda: state(rig, job) == "COMPLETED")
    assert (rig.shared / "finished").exists()
    assert not (rig.shared / "never").exists()
    assert "no process of Dagster's is there any more" in closed(rig)


def test_somebody_more_urgent(make_cluster) -> None:
    cluster = make_cluster(preemption="cancel")
    with rows.session(cluster, max_concurrent_jobs=1, options={"exclusive": True}, nodes=4) as rig:
        running, waiting = one_runs_and_one_waits(rig)
        urgent = ["sbatch", "--parsable", "-p", "urgent", "-N4", "--exclusive", "-t1", "--wrap", "sleep 3"]
        assert cluster.run(urgent).returncode == 0
        assert running.result().cause == "preempted"
        goes_on_elsewhere(rig, waiting, running.job)


def test_a_node_that_starts_nothing_is_left_out(session: Callable[..., Rig]) -> None:
    rig = session(nodes=2)
    first = rig.run("echo $SLURMD_NODENAME")
    record = first.tracked.record
    assert record.start is not None
    holder = rig.backstage.run(
        ["squeue", "-h", "-o", "%B %N", "-j", first.tracked.job.partition(".")[0]]
    ).stdout.split()
    names = rig.backstage.run(["scontrol", "show", "hostnames", holder[1]]).stdout.split()
    broken = next(name for name in names if name != holder[0])
    rig.backstage.stop(f"slurmd:{broken}")
    try:
        # more than the good node has CPUs for at once: one of them is tried on the other node
        plays = [rig.begin(f"echo $SLURMD_NODENAME; {UNTIL_GO}", cpus=3) for _ in range(2)]
        until(lambda: any(play.file("begun").exists() for play in plays))
        for play in plays:
            play.until(lambda play=play: play.file("go").parent.exists())
            play.go()
        played = [play.result(120) for play in plays]
    finally:
        rig.backstage.start(f"slurmd:{broken}")
        with contextlib.suppress(ClusterError):  # nobody may have noticed
            rig.backstage.resume(broken)
    assert [one.cause for one in played] == ["success", "success"]
    assert {one.heard.stdout.decode().strip() for one in played} == {holder[0]}
