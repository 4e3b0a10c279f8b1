"""Each way in which a session can end, on a real cluster: what becomes of the work in it, and of that which waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from dagster_slurm.cli import main
from dagster_slurm.errors import SessionFailed
from tests.conformance.driver import UNTIL_GO, Play, Rig, until
from tests.sessions.test_units import queued

pytestmark = pytest.mark.cluster


def state(rig: Rig, job: int) -> str:
    return rig.backstage.run(["squeue", "-h", "--states=all", "-j", str(job), "-o", "%T"]).stdout.strip()


def closed(rig: Rig, generation: int = 0) -> str:
    """The session's last word."""
    assert rig.session is not None
    found = rig.base / "sessions" / rig.session.key / str(generation) / "requests"
    return found.read_text() if found.exists() else ""


def one_runs_and_one_waits(rig: Rig) -> tuple[Play, Play]:
    running = rig.begin(UNTIL_GO)
    running.until_begun()
    waiting = rig.begin("echo $SLURM_JOB_ID; echo x >>$SHARED/ran")
    waiting.until(lambda: queued(waiting))
    return running, waiting


def goes_on_elsewhere(rig: Rig, waiting: Play, job: int) -> None:
    played = waiting.result()
    assert played.cause == "success", (played.verdict, played.heard.told)
    assert played.heard.stdout.decode().strip() != str(job)
    assert (rig.shared / "ran").read_text() == "x\n", "exactly once"
    assert any("takes no more work" in text for text in waiting.heard.told)


def test_cancelled_from_outside(session: Callable[..., Rig]) -> None:
    rig = session(max_concurrent_jobs=1)
    running, waiting = one_runs_and_one_waits(rig)
    rig.backstage.run(["scancel", str(running.job)])
    assert running.result().cause == "cancelled"
    goes_on_elsewhere(rig, waiting, running.job)


def test_a_lost_node(session: Callable[..., Rig]) -> None:
    rig = session(max_concurrent_jobs=1)
    running, waiting = one_runs_and_one_waits(rig)
    running.until(lambda: running.following and running.following.tracked.record.start)
    assert running.following is not None
    assert running.following.tracked.record.start is not None
    rig.backstage.fail(running.following.tracked.record.start.node)
    assert running.result().cause == "node_failure"
    goes_on_elsewhere(rig, waiting, running.job)


def test_cancelled_while_it_waits_in_the_queue(session: Callable[..., Rig]) -> None:
    """Whoever did that meant it: nothing is submitted again by itself."""
    rig = session(options={"begin": "now+1hour"})
    play = rig.begin("true")
    job = play.job
    rig.backstage.run(["scancel", str(job)])
    error = play.error()
    assert isinstance(error, SessionFailed)
    assert "cancelled" in error.message


def test_idle(session: Callable[..., Rig]) -> None:
    rig = session(idle_timeout=2.0)
    job = rig.run("echo $SLURM_JOB_ID").heard.stdout.decode().strip()
    until(lambda: state(rig, int(job)) == "COMPLETED")
    assert "it was idle for 2 s" in closed(rig)
    assert rig.run("echo $SLURM_JOB_ID").heard.stdout.decode().strip() != job


def test_stopped_by_hand(rig: Rig, cluster) -> None:
    """What runs goes on to its end; the next work gets another allocation."""
    running = rig.begin(UNTIL_GO)
    running.until_begun()
    words = ["session", "list", "--base", str(rig.base), "--json"]
    environment = cluster.client_environment
    listed = CliRunner().invoke(main, words, env=environment, catch_exceptions=False)
    assert f'"job": "{running.job}"' in listed.output
    assert '"state": "running"' in listed.output
    words = ["session", "stop", "conformance", "--base", str(rig.base)]
    stopped = CliRunner().invoke(main, words, env=environment, catch_exceptions=False)
    assert stopped.output == f"Session conformance (job {running.job}) takes no more work.\n"
    until(lambda: "session stop" in closed(rig))
    other = rig.run("echo $SLURM_JOB_ID")
    assert other.heard.stdout.decode().strip() != str(running.job)
    assert not running.over
    running.go()
    assert running.result().cause == "success"
    until(lambda: state(rig, running.job) == "COMPLETED")
    refused = CliRunner().invoke(main, [*words[:2], "nobody", *words[3:]], env=environment)
    assert refused.exit_code == 1
    assert "there is no session 'nobody'" in refused.output
