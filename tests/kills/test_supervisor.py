"""The job script beside Dagster is killed, as no user could: its payload never outlives it unseen."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dagster_slurm.engine.previous import fate
from dagster_slurm.engine.submission import cancel, submit
from tests.conformance.driver import UNTIL_GO, Heard, Rig, until

#: says where it is, and cannot be asked to end; what it started has a process group of its own
STAYS = (
    "trap '' TERM; set -m; (trap '' TERM; for _ in {1..60}; do sleep 1; done) & "
    "echo $! >child; echo $$ >pid; touch begun; for _ in {1..60}; do sleep 1; done"
)
kinds = pytest.mark.parametrize("whole_group", [False, True], ids=["alone", "with its group"])


def kill(supervisor: int, *, whole_group: bool) -> None:
    (os.killpg if whole_group else os.kill)(supervisor, signal.SIGKILL)


def payloads(work: Path) -> list[int]:
    return [int((work / name).read_text()) for name in ("pid", "child")]


def running(pids: list[int]) -> list[int]:
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return [
        pid for pid, file in states.items() if file.exists() and file.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    ]


@kinds
def test_its_payload_ends_before_the_run_is_called_lost(local: Rig, whole_group: bool) -> None:
    play = local.begin(STAYS)
    supervisor = play.until_begun()
    pids = payloads(play.directory / "work")
    assert running(pids) == pids
    kill(supervisor, whole_group=whole_group)
    assert play.result().cause == "lost"
    assert running(pids) == []


@kinds
def test_its_payload_ends_before_a_retry_begins(local: Rig, whole_group: bool) -> None:
    """Nobody was there to see it; the next process of Dagster's asks what became of the run."""
    launch = local.launch(STAYS)
    supervisor = int(submit(local.host, local.scheduler, launch, Heard()).id)
    work = Path(launch.directory) / "work"
    until((work / "begun").exists)
    pids = payloads(work)
    local.close()
    kill(supervisor, whole_group=whole_group)
    assert fate(local.another_host(), local.scheduler, launch.directory) == "failed"
    assert running(pids) == []


def test_a_cancel_ends_its_payload(local: Rig) -> None:
    launch = local.launch(STAYS)
    supervisor = int(submit(local.host, local.scheduler, launch, Heard()).id)
    work = Path(launch.directory) / "work"
    until((work / "begun").exists)
    pids = payloads(work)
    kill(supervisor, whole_group=True)
    until(lambda: not running([supervisor]))
    assert cancel(local.host, local.scheduler, launch) == [str(supervisor)]
    assert running(pids) == []


def test_who_has_its_number_now_is_left_alone(local: Rig) -> None:
    """A process that got the number of a job script that is long gone: a job script of ours, even."""
    play = local.begin(UNTIL_GO)
    leader = play.until_begun()
    answer, _ = local.another_host().request("status", kind="direct", jobs=[{"id": str(leader), "ticks": "1"}])
    assert answer["queue"]["rows"] == []
    play.go()
    assert play.result().cause == "success"
