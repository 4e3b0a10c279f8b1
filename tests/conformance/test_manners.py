"""What we ask of a cluster, counted; and what we leave there."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from dagster_slurm.remote import queues
from dagster_slurm.remote.commands import Commands
from dagster_slurm.schedulers.slurm import Slurm
from tests.conformance import rows
from tests.conformance.driver import UNTIL_GO, Played, Rig, until

_DAY = 86400.0


def test_a_no_op_takes_one_command(slurm: Rig) -> None:
    """On a warm connection; and a failure one question more."""
    for _ in range(3):
        assert slurm.run("true").cause == "success"
    used, _ = slurm.host.request("counts")
    assert used["commands"] == {"sbatch": 3}
    assert slurm.run("exit 3").cause == "exit_code"
    used, _ = slurm.host.request("counts")
    assert used["commands"].pop("sbatch") == 4
    assert sum(used["commands"].values()) <= 10


#: how much faster than real time the cadence is tried
FASTER = 30


def test_two_questions_a_minute_for_any_number_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked by all agents of a user together."""
    for name in ("LOOK_EVERY", "_AFTER_FAILURE", "_FIRST_LOOK", "_LEAST_GAP", "_SECOND_LOOK"):
        monkeypatch.setattr(queues, name, getattr(queues, name) / FASTER)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slurm = Slurm()
    with rows.faked(tmp_path) as rig:
        jobs = [rig.begin("sleep 60", metered=False, options={"begin": "now+1hour"}).job for _ in range(20)]
        rig.close()
        heard: list[list[str]] = [[], [], []]
        agents = []
        for number in range(3):
            commands = Commands({**os.environ, "PATH": rig.backstage.path})
            emit = lambda head, _body, number=number: heard[number].extend(head["rows"])  # noqa: E731
            agents.append(queues.Queues(commands, emit, list(slurm.queue), list(slurm.accounting)))
        rig.backstage.forget_calls()
        begun = time.monotonic()
        for number, agent in enumerate(agents):
            for run, job in enumerate(jobs):
                agent.follow(run, str(job))
                time.sleep(0.01 * number)
        time.sleep(180 / FASTER)
        for agent in agents:
            for run in range(len(jobs)):
                agent.leave(run)
        minutes = (time.monotonic() - begun) * FASTER / 60
        calls = rig.backstage.calls()
        assert 1 <= len(calls) <= 2 * minutes + 1
        assert all(len(rows) >= len(jobs) for rows in heard)


def test_what_nobody_needs_any_more_is_removed(rig: Rig) -> None:
    well, badly = rig.run("true"), rig.run("exit 3")
    young = rig.run("true")
    play = rig.begin(UNTIL_GO)
    play.until_begun()
    until(lambda: all((played.run_directory / "collected.json").exists() for played in (well, badly, young)))
    for directory in (well.run_directory, badly.run_directory, play.run_directory):
        _age(directory, 40 if directory == play.run_directory else 4)
    keep = {"success": 3 * _DAY, "failure": 30 * _DAY}
    again = rig.run("true", keep=keep)
    until(lambda: not well.run_directory.exists())
    until((rig.base / ".swept").exists)
    assert badly.run_directory.exists()
    assert young.run_directory.exists()
    assert play.run_directory.exists()
    _age(badly.run_directory, 31)
    _age(rig.base / ".swept", 2)
    last = rig.run("true", keep=keep)
    until(lambda: not badly.run_directory.exists())
    play.go()
    assert play.result().cause == "success"
    assert _all_there(young, again, last)


def _all_there(*played: Played) -> bool:
    return all((one.directory / "record.jsonl").exists() for one in played)


def _age(path: Path, days: float) -> None:
    then = time.time() - days * _DAY
    for entry in (path, *(path.iterdir() if path.is_dir() else [])):
        os.utime(entry, (then, then), follow_symlinks=False)
