"""What an earlier execution of a step left behind decides what a later one does."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.previous import Fate, fate
from dagster_slurm.engine.submission import cancel
from tests.conformance.driver import UNTIL_GO, Rig, until
from tests.conformance.payloads import TRAPS
from tests.conformance.together import payload_of


def of(rig: Rig, launch: Launch) -> Fate:
    return fate(rig.host, rig.scheduler, launch.directory)


def submitted_only(rig: Rig, body: str, **options: object) -> tuple[Launch, str]:
    """Somebody submitted it, and was seen no more."""
    launch = rig.launch(body, **options)
    return launch, rig.hand_in(launch).id


def rundir(launch: Launch) -> Path:
    return Path(launch.directory)


def record(launch: Launch) -> str:
    file = rundir(launch) / "record.jsonl"
    return file.read_text() if file.exists() else ""


def work(launch: Launch) -> list[str]:
    """Names in the payload's working directory."""
    folder = Path(payload_of(launch).directory) / "work"
    return os.listdir(folder) if folder.exists() else []  # noqa: PTH208


def test_never_submitted(rig: Rig) -> None:
    assert of(rig, rig.launch("true")) == "unknown"


def test_ended_and_collected(rig: Rig) -> None:
    well, badly = rig.run("true"), rig.run("exit 3")
    assert (of(rig, well.launch), of(rig, badly.launch)) == ("succeeded", "failed")


def test_ended_and_nobody_came(rig: Rig) -> None:
    launches = [submitted_only(rig, body)[0] for body in ("true", "exit 3", "exit 255", "kill -SEGV $$")]
    for launch in launches:
        until(lambda launch=launch: '"event":"exit"' in record(launch))
    assert [of(rig, launch) for launch in launches] == ["succeeded", "failed", "failed", "failed"]


def test_ended_well_on_two_nodes_and_nobody_came(slurm: Rig) -> None:
    """What was used there is worth a question; how it ended is not."""
    launch, _ = submitted_only(slurm, "true", nodes=2)
    until(lambda: '"event":"exit"' in record(launch))
    assert of(slurm, launch) == "succeeded"


def test_going_on(rig: Rig) -> None:
    play = rig.begin(UNTIL_GO)
    play.until_begun()
    assert of(rig, play.launch) == "going on"
    play.go()
    play.result()


def test_waiting(slurm: Rig) -> None:
    launch, _ = submitted_only(slurm, "true", options={"begin": "now+1hour"})
    assert of(slurm, launch) == "going on"
    cancel(slurm.host, slurm.scheduler, launch)
    assert of(slurm, launch) == "failed"


def test_stopped_and_ended_as_if_all_were_well(rig: Rig) -> None:
    launch, _ = submitted_only(rig, TRAPS)
    until(lambda: "begun" in work(launch))
    cancel(rig.host, rig.scheduler, launch)
    until(lambda: '"event":"exit"' in record(launch))
    assert of(rig, launch) == "failed"


def test_cancelled_before_it_had_a_job(rig: Rig) -> None:
    launch = rig.launch("true")
    cancel(rig.host, rig.scheduler, launch)
    assert of(rig, launch) == "failed"


def test_requeued(faked: Rig) -> None:
    """The first start ended, the second is to come."""
    faked.backstage.configure(requeue_delay=30)
    launch, job = submitted_only(faked, TRAPS)
    until(lambda: "begun" in work(launch))
    faked.backstage.requeue(int(job))
    until(lambda: '"event":"exit"' in record(launch))
    assert of(faked, launch) == "going on"


def test_the_late_one_won(faked: Rig) -> None:
    """Two jobs were submitted; the one whose reply was lost runs, the other was cancelled."""
    faked.backstage.configure(pending_time=None)
    launch, second = submitted_only(faked, UNTIL_GO)
    noted = rundir(launch) / "job.id"
    noted.write_text(json.dumps({**json.loads(noted.read_text()), "id": "99"}))
    faked.backstage.release(int(second))
    until(lambda: '"event":"start"' in record(launch))
    assert of(faked, launch) == "going on"
    (rundir(launch) / "work" / "go").touch()
    until(lambda: '"event":"exit"' in record(launch))
    assert of(faked, launch) == "succeeded"
