"""The job that won the claim is the run, whichever was looked at before."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from dagster_slurm.core.observations import Looked, Recorded
from dagster_slurm.core.record import Record
from dagster_slurm.core.tracker import Tracked, advance
from dagster_slurm.core.verdict import Wait, decide
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.submission import Submitted
from tests.conformance.driver import Heard, Rig


def test_a_winner_that_has_not_begun() -> None:
    """Of two submissions one lost the claim and is gone; the winner has it, and has written nothing yet."""
    tracked = Tracked("2", 0.0, asks=False)
    tracked, _ = advance(tracked, Looked("queue", None, 1.0), 1.0)
    assert tracked.gone
    tracked, _ = advance(tracked, Recorded(Record(), 2.0, whole=True, claim="1"), 2.0)
    assert (tracked.job, tracked.gone) == ("1", False)
    assert isinstance(decide(tracked, 2.0), Wait)


def test_a_process_that_lost_the_claim_and_is_gone(local: Rig) -> None:
    """Nobody noted the winner's id; what was noted is the loser's."""
    launch = local.launch("touch begun; sleep 1.5; echo out")
    play = local.take_up(launch)
    winner = play.until_begun()
    loser = subprocess.Popen(["/bin/bash", Path(launch.directory) / "job.sh"], cwd=launch.directory)
    assert loser.wait() == 0
    submitted = Submitted({"id": str(loser.pid), "ticks": "1"}, adopted=False, doubtful=True, answered=time.monotonic())
    heard = Heard()
    following = Following(local.host, local.scheduler, launch, submitted, heard)
    assert following.verdict().success
    assert (following.tracked.job, heard.stdout) == (str(winner), b"out\n")
    assert play.result().cause == "success"
