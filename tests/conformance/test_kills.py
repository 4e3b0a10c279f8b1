"""Whoever is killed, and when: the payload ran once, and what it said is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from dagster_slurm.core.spec import LaunchKey
from tests.conformance import rows
from tests.conformance.driver import PATIENCE, UNTIL_GO, Played, Rig
from tests.conformance.taps import POINTS
from tests.conformance.worker import Task, task

LINES = 8
#: says a little, takes a moment, and ends by adding a line to a file of its own
WORK = f"for n in {{1..{LINES}}}; do echo $n; echo $n >>$MESSAGES; sleep 0.04; done; echo $DAGSTER_SLURM_JOB_ID >>$RAN"
WHOLE = "".join(f"{number}\n" for number in range(1, LINES + 1))


class Attempt:
    """A launch that somebody begins and somebody else ends."""

    def __init__(self, rig: Rig, begin: str = "") -> None:
        self.rig = rig
        self.name = uuid.uuid4().hex
        self.ran = rig.shared / f"ran-{self.name}"
        self.command = f"RAN={self.ran}; {begin}{WORK}"
        self.key = (f"run-{self.name}", "step", "call")

    def task(self, **more: Any) -> Task:
        return task(self.rig, self.command, key=self.key, **more)

    def worker(self, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(self.task(**more).argv(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def repeat(self) -> Played:
        """Do it again, as another process would."""
        host = self.rig.another_host()
        try:
            launch = self.rig.launch(self.command, key=LaunchKey(*self.key), **self.rig.resources)
            return self.rig.take_up(launch, host).result(2 * PATIENCE)
        finally:
            host.close()

    def judge(self, played: Played) -> None:
        heard = played.heard
        assert (played.cause, heard.stdout.decode(), heard.said) == ("success", WHOLE, {0: WHOLE.encode()})
        assert len(self.ran.read_text().splitlines()) == 1


@pytest.mark.parametrize("point", POINTS)
def test_dagster_is_killed_at(rig: Rig, point: str) -> None:
    attempt = Attempt(rig)
    worker = attempt.worker(kill=point)
    _, errors = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == -signal.SIGKILL, errors
    played = attempt.repeat()
    attempt.judge(played)
    assert played.submitted.adopted == (point not in POINTS[:2] or played.submitted.adopted)


def killed_at_random(rig: Rig, seed: int) -> int:
    """Once, or twice; the next one goes on to the end. Return how many were still at it."""
    attempt, chance, killed = Attempt(rig), random.Random(seed), 0
    for _ in range(chance.choice([1, 1, 2])):
        worker = attempt.worker()
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.9))
        worker.kill()
        worker.communicate()
        killed += worker.returncode == -signal.SIGKILL
    attempt.judge(attempt.repeat())
    return killed


TIMES = {"local": 12, "faked": 26, "real": 12}


def test_dagster_is_killed_at_any_moment(rig: Rig) -> None:
    at_random(rig, range(TIMES[rig.kind]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_dagster_is_killed_at_very_many_moments(rig: Rig) -> None:
    at_random(rig, range(1000, 1000 + 9 * TIMES[rig.kind]))


def at_random(rig: Rig, seeds: range) -> None:
    with ThreadPoolExecutor(3) as pool:
        outcomes = [(seed, pool.submit(killed_at_random, rig, seed)) for seed in seeds]
    failed = {seed: error for seed, future in outcomes if (error := future.exception()) is not None}
    assert not failed
    assert sum(future.result() for _, future in outcomes) > len(seeds) / 2


# --- the agent


def test_the_agent_is_killed_in_mid_follow(rig: Rig) -> None:
    attempt = Attempt(rig, begin=f"{UNTIL_GO}; ")
    play = rig.begin(attempt.command)
    play.until_begun()
    os.kill(rig.host.hello("~")["pid"], signal.SIGKILL)
    play.until(lambda: _agent(rig) is not None)
    play.go()
    attempt.judge(play.result())


def _agent(rig: Rig) -> int | None:
    """The pid of an agent that answers."""
    answer, _ = rig.host.request("hello", expand=[])
    return answer["pid"]


def test_the_agent_is_killed_once_the_process_runs(tmp_path: Path) -> None:
    """The process beside us has begun, and nobody noted its id."""
    murder = tmp_path / "murder.sh"
    murder.write_text(f"[ -e {tmp_path}/done ] || {{ touch {tmp_path}/done; kill -9 $PPID; }}\n")
    with rows.local(tmp_path) as rig:
        variables = rows.environment(tmp_path / "tmp", BASH_ENV=str(murder))
        rig.transport = lambda: rows.Beside(variables)
        for _ in range(5):
            (tmp_path / "done").unlink(missing_ok=True)
            attempt = Attempt(rig)
            attempt.judge(rig.run(attempt.command))


MURDEROUS = """#!/bin/sh
{sbatch} "$@"
code=$?
[ -e {mark} ] || {{ touch {mark}; kill -9 $PPID; }}
exit $code
"""


def test_the_agent_is_killed_once_sbatch_is_through(slurm: Rig, cluster_ssh: Any, tmp_path: Path) -> None:
    """The job exists, and nobody noted its id. The next agent does not wait for the lock of one that is dead."""
    odd = slurm.shared / "odd"
    odd.mkdir()
    real = "/usr/bin/sbatch" if slurm.kind == "real" else str(slurm.backstage.bin / "sbatch")
    (odd / "sbatch").write_text(MURDEROUS.format(sbatch=real, mark=slurm.shared / "murdered"))
    (odd / "sbatch").chmod(0o755)
    if slurm.kind == "real":
        (slurm.shared / "murdered").parent.chmod(0o777)
        slurm.transport = lambda: cluster_ssh(post_login_command=f"export PATH={odd}:$PATH")
    else:
        variables = rows.environment(tmp_path / "tmp", PATH=f"{odd}:{slurm.backstage.path}")
        slurm.transport = lambda: rows.Beside(variables)
    attempt = Attempt(slurm)
    played = slurm.run(attempt.command)
    assert (slurm.shared / "murdered").exists()
    attempt.judge(played)
    assert played.submitted.adopted
    assert played.seconds < 20


# --- the connection


def ssh_processes(folder: Path, what: str) -> list[psutil.Process]:
    """The processes of ssh whose shared connection lies in a folder: the clients, or the master."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "ssh"
        and any(word.startswith(f"{folder}/") for word in process.info["cmdline"])
        and ("-N" in process.info["cmdline"]) == (what == "master")
    ]


@pytest.mark.cluster
@pytest.mark.parametrize("what", ["client", "master", "sshd", "all connections"])
def test_the_connection_breaks(make_cluster: Any, monkeypatch: pytest.MonkeyPatch, runtime: Path, what: str) -> None:
    own = runtime / what.split(maxsplit=1)[0]
    own.mkdir(mode=0o700)
    monkeypatch.setenv("DAGSTER_SLURM_RUNTIME_DIR", str(own))
    with rows.real(make_cluster(accounting=False)) as rig:
        attempt = Attempt(rig, begin=f"{UNTIL_GO}; ")
        play = rig.begin(attempt.command)
        play.until_begun()
        if what in ("client", "master"):
            processes = ssh_processes(own, what)
            assert processes
            for process in processes:
                process.kill()
        else:
            rig.backstage.stop("sshd")
            if what == "sshd":
                time.sleep(3)
                play.until(lambda: play.heard.absences)
            rig.backstage.start("sshd")
        play.go()
        late = Attempt(rig)
        late.judge(rig.run(late.command))
        attempt.judge(play.result())
        absences = [error is None for error in play.heard.absences]
        assert absences in ([], [False, True])
        assert what != "sshd" or absences
