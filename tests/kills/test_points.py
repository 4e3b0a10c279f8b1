"""Exactly once, whatever is killed at a named point."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.driver import Rig, until
from tests.kills.lives import LINES, PAYLOAD, Life
from tests.kills.nursery import Nursery
from tests.kills.points import AGENT_POINTS, CLIENT_POINTS

#: what else may be wrong as it is submitted: (fault, its argument), and how many jobs there may be
TROUBLES: dict[str, tuple[list[tuple[Any, ...]], int | None]] = {
    "nothing": ([], 1),
    "it lands late": ([("land_late", 0.6)], None),
    "the reply is lost with an error": ([("lose_reply", "error")], 1),
    "the reply is lost in silence": ([("lose_reply", "silent")], 1),
    "sbatch is killed": ([("lose_reply", "kill")], 1),
    "the queue lags": ([("lag", "squeue", 4.0)], 1),
    "the queue lags, no accounting": ([("lag", "squeue", 4.0), ("accounting_away",)], None),
    "sbatch takes its time": ([("hang", "sbatch", 0.7)], 1),
    "no accounting": ([("accounting_away",)], 1),
}


def trouble(rig: Rig, name: str) -> int | None:
    faults, jobs = TROUBLES[name]
    for kind, *arguments in faults:
        getattr(rig.backstage, kind)(*arguments)
    return jobs


def together(work: Any, cases: Any) -> None:
    """All cases beside each other; the first that fails is shown."""
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(work, case) for case in cases]:
            future.result()


@pytest.mark.parametrize("name", TROUBLES)
def test_a_client_killed_at_each_point(faked: Rig, nursery: Nursery, name: str) -> None:
    jobs = trouble(faked, name)

    def live(point: str) -> None:
        life = Life(faked, nursery).live({"point": point})
        assert life.killed == 1, point
        life.check(jobs=jobs)

    together(live, CLIENT_POINTS)


def test_a_client_killed_at_each_point_beside_its_payload(local: Rig, nursery: Nursery) -> None:
    """It outlives the client, and is adopted."""

    def live(point: str) -> None:
        life = Life(local, nursery).live({"point": point})
        assert life.killed == 1, point
        life.check()

    together(live, CLIENT_POINTS)


@pytest.mark.cluster
def test_a_client_killed_at_each_point_of_a_real_one(real: Rig, nursery: Nursery) -> None:
    def live(point: str) -> None:
        life = Life(real, nursery).live({"point": point})
        assert life.killed == 1, point
        life.check()

    together(live, CLIENT_POINTS)


def test_a_submission_that_landed_late_is_withdrawn(faked: Rig, nursery: Nursery) -> None:
    """It waits for nodes that it does not need."""
    faked.backstage.configure(pending_time=None)
    faked.backstage.land_late(3.0, times=1)
    life = Life(faked, nursery)
    name = life.key.job_name
    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(life.live, {"point": "after the reply"})
        try:
            until(lambda: len(faked.backstage.jobs_named(name)) == 2)
            time.sleep(3.5)  # both are in the queue
            early, late = sorted(faked.backstage.jobs_named(name), key=lambda job: job.submit)
            faked.backstage.release(early.id)
            living.result(60)
        finally:
            faked.backstage.configure(pending_time=0.0)
            for job in faked.backstage.jobs():
                faked.backstage.release(job.id)
    said = {key: life.answer[key] for key in ("job", "submitted", "doubtful", "adopted")}
    assert faked.backstage.job(late.id).state == "CANCELLED", (said, early.id, late.id)
    life.check(jobs=2)


@pytest.mark.parametrize("with_client", [False, True])
def test_an_agent_killed_at_each_point(rig: Rig, nursery: Nursery, tmp_path: Path, with_client: bool) -> None:
    """By a reaper of the login node: alone, or as the machine beside it goes down too."""

    def live(point: str) -> None:
        marker = rig.shared / f"marker-{point}".replace(" ", "-")
        death = {"agent": point, "marker": str(marker), "with_agent": with_client}
        life = Life(rig, nursery).live(death)
        assert marker.exists()
        assert life.killed == with_client, point
        life.check()

    together(live, AGENT_POINTS)


def test_an_agent_killed_while_sbatch_is_at_it(faked: Rig) -> None:
    """Its sbatch goes on and lands after the next agent's: one of the two jobs does nothing."""
    faked.backstage.hang("sbatch", 1.0, times=1)
    agent = faked.host.hello("~")["pid"]
    play = faked.begin(PAYLOAD.format(name="once"))
    until(lambda: faked.backstage.calls("sbatch"))
    os.kill(agent, signal.SIGKILL)
    played = play.result()
    assert (played.cause, played.heard.said) == ("success", {0: LINES.encode()})
    assert (faked.shared / "once").read_text() == "begin\nend\n"
    assert played.submitted.doubtful
    until(lambda: len(faked.backstage.jobs()) == 2)
    until(lambda: all(job.terminal for job in faked.backstage.jobs()))
    assert (faked.shared / "once").read_text() == "begin\nend\n"
