"""What is killed in the allocation: its agent, or the script of the job that holds it. Work is done once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.driver import Rig, until
from tests.sessions.test_ends import goes_on_elsewhere, one_runs_and_one_waits, state

pytestmark = pytest.mark.cluster


def kill(rig: Rig, whom: str) -> None:
    """Kill the agent in the allocation, or the shells that the holder's script consists of."""
    mine, found = f"{rig.base}/sessions/".encode(), list[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words, variables = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        is_agent = words.endswith(b"/main.py\0") and b"DAGSTER_SLURM_RUN_DIR=" + mine in variables
        is_holder = b"slurm_script" in words and str((process / "cwd").readlink()).startswith(mine.decode())
        if is_agent if whom == "agent" else is_holder:
            found.append(int(process.name))
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("whom", ["agent", pytest.param("holder", marks=pytest.mark.slow)])
def test_while_one_runs_and_one_waits(session: Callable[..., Rig], whom: str) -> None:
    """What ran is no success, and nobody cancelled it."""
    rig = session(max_concurrent_jobs=1)
    running, waiting = one_runs_and_one_waits(rig)
    kill(rig, whom)
    assert running.result().cause in ("interrupted", "lost", "signal")
    goes_on_elsewhere(rig, waiting, running.job)


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["agent", "holder"])
def test_while_nothing_runs(session: Callable[..., Rig], whom: str) -> None:
    rig = session()
    job = rig.run("echo $SLURM_JOB_ID").heard.stdout.decode().strip()
    kill(rig, whom)
    # what is handed over before that may begin, and end with it
    until(lambda: state(rig, int(job)) not in ("RUNNING", "COMPLETING"))
    # nobody has said how that job ended: it takes a while until its end is certain
    played = rig.run("echo $SLURM_JOB_ID; echo x >>$SHARED/ran", timeout=200)
    assert played.cause == "success"
    assert played.heard.stdout.decode().strip() != job
    assert (rig.shared / "ran").read_text() == "x\n"


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [0, 50, 150, 400])
def test_as_units_begin(session: Callable[..., Rig], milliseconds: int) -> None:
    """At one moment after the other from the hand-over on: each of them ran once, wherever that was, or failed."""
    rig = session()
    rig.run("true")
    plays = [rig.begin(f"echo x >>$SHARED/ran-{number}") for number in range(3)]
    until(lambda: all(play.submitted for play in plays))
    time.sleep(milliseconds / 1000)
    kill(rig, "agent")
    for number, play in enumerate(plays):
        cause, trace = play.result(150).cause, rig.shared / f"ran-{number}"
        assert cause in ("success", "interrupted", "lost", "signal")
        assert not trace.exists() or trace.read_text() == "x\n"
        assert trace.exists() or cause != "success"
    assert rig.run("true").cause == "success"
