"""An absence of any length fails nothing, doubles nothing, and is told once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.errors import CannotAuthenticate
from dagster_slurm.transport.ssh.counting import counts
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from dagster_slurm.transport.ssh.login import logout
from tests.conformance import rows
from tests.conformance.driver import UNTIL_GO, Play, Rig, until
from tests.kills.lives import LINES, PAYLOAD, STDOUT

pytestmark = pytest.mark.cluster

#: longer than the pause between two looks whether somebody has logged in
LONG = 7.0

LOGIN = """
from dagster_slurm.transport.ssh import login
from tests.conformance.rows import ssh
from testcluster import load
login(ssh(load({name!r}), batch_mode=True))
"""


@pytest.fixture
def runtime_of_its_own(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = runtime / f"own-{time.monotonic_ns() % 100_000}"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def attempts(cluster: Any) -> int:
    """How often somebody tried to log in and was not let in, as sshd saw it."""
    text = cluster.layout.log_file("sshd").read_text(errors="replace")
    return len(re.findall(r"^Connection (?:closed|reset) by (?:authenticating|invalid) user|^Failed ", text, re.M))


def somebody_logs_in(cluster: Any) -> None:
    """In another process, which has the password, or a code."""
    done = subprocess.run(
        [sys.executable, "-c", LOGIN.format(name=cluster.name)],
        env={**os.environ, **cluster.askpass_environment},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def begin(rig: Rig, name: str, prelude: str = "") -> Play:
    return rig.begin(prelude + PAYLOAD.format(name=name), key=LaunchKey(name, "step", "call"), **rig.resources)


def once(rig: Rig, name: str, play: Play) -> None:
    """It ran once, succeeded, and each byte is here once."""
    played = play.result(90)
    assert played.cause == "success"
    same = played.heard.stdout == STDOUT.encode()
    assert same, len(played.heard.stdout)
    assert (played.heard.stderr, played.heard.said) == (LINES.encode(), {0: LINES.encode()})
    assert (rig.shared / name).read_text() == "begin\nend\n"
    command = ["squeue", "-h", "--states=all", f"--name={played.launch.spec.key.job_name}", "-o", "%i"]
    until(lambda: rig.backstage.admin(command).split() == [played.tracked.job], 20)


def told_once(play: Play) -> None:
    """That the way was barred, and (if there was a job to follow) that it is free again."""
    said = [error is None for error in play.heard.absences]
    assert said in ([False], [False, True]), play.heard.absences


@pytest.mark.timeout(200)
@pytest.mark.parametrize("auth", ["one-time", "password"])
def test_only_a_person_can_open_the_way(make_cluster: Any, runtime_of_its_own: Path, auth: str) -> None:
    cluster = make_cluster(accounting=False, auth=auth)
    with rows.real(cluster, batch_mode=True) as rig:
        refused = begin(rig, "never").error()
        assert isinstance(refused, CannotAuthenticate)
        assert "dagster-slurm login" in str(refused)
        somebody_logs_in(cluster)
        play = begin(rig, "first", f"{UNTIL_GO}; ")
        play.until_begun()

        before, logins = attempts(cluster), counts.logins
        assert before == 1
        assert logout(rows.ssh(cluster, batch_mode=True))
        play.until(lambda: play.heard.absences)
        late = begin(rig, "late")
        play.go()
        time.sleep(LONG)
        assert not play.over
        assert not late.over
        (absence,) = play.heard.absences
        assert isinstance(absence, CannotAuthenticate)
        assert "dagster-slurm login" in str(absence)
        assert attempts(cluster) - before <= 1
        assert counts.logins - logins <= 1

        somebody_logs_in(cluster)
        once(rig, "first", play)
        once(rig, "late", late)
        told_once(play)
        assert not (rig.shared / "never").exists()


@pytest.mark.timeout(200)
def test_sshd_is_away(make_cluster: Any, runtime_of_its_own: Path) -> None:
    """In mid-job, as a job is submitted, and as the very first is."""
    cluster = make_cluster(accounting=False)
    with rows.real(cluster) as rig:
        play = begin(rig, "first", f"{UNTIL_GO}; ")
        play.until_begun()
        cluster.stop("sshd")
        late = begin(rig, "late")
        newcomer = rig.another_host()
        new = rig.take_up(
            rig.launch(PAYLOAD.format(name="new"), key=LaunchKey("new", "step", "call"), **rig.resources), newcomer
        )
        play.go()
        play.until(lambda: play.heard.absences)
        time.sleep(4)
        assert not any(one.over for one in (play, late, new))
        cluster.start("sshd")
        for name, one in {"first": play, "late": late, "new": new}.items():
            once(rig, name, one)
        told_once(play)
