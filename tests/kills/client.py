"""A client that takes a launch to its end, unless it is killed; run in a child of :mod:`.nursery`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.submission import cancel_others, submit
from dagster_slurm.engine.unit_run import UnitRun
from tests.conformance import taps
from tests.conformance.driver import Heard, Rig
from tests.conformance.together import followed
from tests.conformance.worker import Task, rig_for
from tests.kills import points


@dataclass(frozen=True)
class Errand:
    """What a client does, and how it dies.

    Args:
        task: what to run and where.
        point: a named point of its own at which it dies.
        frame: the number of the frame with which it dies.
        delay: seconds between that frame and its death.
        moment: seconds after its beginning at which it dies.
        agent: a named point at which its agent dies.
        marker: the agent that makes this folder dies.
        with_agent: it dies as soon as it sees that its agent did.
    """

    task: Task
    point: str = ""
    frame: int | None = None
    delay: float = 0.0
    moment: float | None = None
    agent: str = ""
    marker: str = ""
    with_agent: bool = False


def run(errand: Errand) -> dict[str, Any]:
    asked = errand.task
    if errand.agent:
        points.deadly_agents(errand.agent, errand.marker)
    rig = rig_for(asked)
    way = rig.transport
    if errand.point in (*taps.POINTS, *taps.UNIT_POINTS):
        rig.transport = lambda: taps.Tapped(way(), taps.killing_at(errand.point))
    elif errand.frame is not None or errand.with_agent:
        tap = points.Deaths(errand.frame, errand.delay, with_agent=errand.with_agent)
        rig.transport = lambda: taps.Tapped(way(), tap)
    launch = rig.launch(*asked.command, key=LaunchKey(*asked.key), **asked.resources)
    if asked.go:
        rig.host.hello(asked.base)
        Path(asked.go).with_name(f"ready.{os.getpid()}").touch()
        while not Path(asked.go).exists():
            time.sleep(0.002)
    if errand.moment is not None:
        points.die_in(errand.moment)
    return _to_the_end(rig, launch, errand)


def _to_the_end(rig: Rig, launch: Any, errand: Errand) -> dict[str, Any]:
    heard, host = Heard(), rig.host
    following: Following | UnitRun
    judge: Callable[[], Verdict]
    if launch.members:
        submitted = submit(host, rig.scheduler, launch, heard)
        job = followed(host, rig.scheduler, launch, submitted, heard)
        following, judge = job.members[0], lambda: job.verdicts(lambda: None)[1][0]
    elif rig.session is None:
        submitted = submit(host, rig.scheduler, launch, heard)
        following = Following(host, rig.scheduler, launch, submitted, heard)
        judge = following.verdict
    else:
        following = UnitRun(rig.session_of(host), host, rig.work(launch), heard)
        submitted, judge = following.hand_in(), following.verdict
    verdict = judge()
    if errand.point == "before collected":
        points.die()
    host.notify("collected", dir=launch.directory, outcome="success" if verdict.success else "failure")
    if submitted.doubtful or following.tracked.job != submitted.id:
        cancel_others(host, rig.scheduler, launch, following.tracked.job)
    rig.close()
    return {
        "cause": verdict.cause,
        "evidence": verdict.evidence,
        "job": following.tracked.job,
        "submitted": submitted.id,
        "doubtful": submitted.doubtful,
        "adopted": submitted.adopted,
        "stdout": heard.stdout.decode(),
        "stderr": heard.stderr.decode(),
        "said": {str(number): data.decode() for number, data in heard.said.items()},
        "directory": launch.directory,
    }
