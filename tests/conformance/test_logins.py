"""Login nodes as sites have them: odd shells, banners, no Python, few sessions; and how little we take of them."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dagster_slurm.errors import AgentUnavailable
from dagster_slurm.transport.ssh import counts
from dagster_slurm.transport.ssh.folder import FOLDER_VARIABLE
from testcluster import Cluster
from tests.clusters import special_cluster
from tests.conformance import rows
from tests.conformance.driver import PATIENCE, UNTIL_GO, until
from tests.conformance.worker import task

pytestmark = pytest.mark.cluster

TALK = "for n in {1..5}; do echo $n; echo $n >>$MESSAGES; sleep 0.1; done"
LINES = b"1\n2\n3\n4\n5\n"


@pytest.fixture(scope="module", params=["tcsh", "fish"])
def odd(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """An odd shell, that greets whoever comes, and finds no python3."""
    with special_cluster(accounting=False, login_shell=request.param, banner=True, login_python=False) as cluster:
        yield cluster


@pytest.fixture
def own_runtime(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for sockets that no other test uses: the first login is ours."""
    folder = runtime / uuid.uuid4().hex[:6]
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def test_an_odd_shell_without_python(odd: Cluster) -> None:
    with rows.real(odd) as rig:
        error = rig.begin("true").error()
        assert isinstance(error, AgentUnavailable)
        assert "python" in str(error)
        assert "remote_python" in (error.hint or "")
    with rows.real(odd, remote_python="/usr/bin/python3") as rig:
        played = rig.run(TALK)
        assert (played.cause, played.heard.stdout, played.heard.said) == ("success", LINES, {0: LINES})
        assert rig.run("exit 3").cause == "exit_code"


@pytest.mark.parametrize(
    "settings",
    [
        {"force_tty": True},
        {"post_login_command": "cd /tmp"},
        {"post_login_command": "bash -lc {cmd}"},
        {"force_tty": True, "post_login_command": "bash -lc {cmd}"},
    ],
    ids=["tty", "first", "inner", "tty and inner"],
)
def test_other_ways_in(cluster: Cluster, settings: dict[str, Any]) -> None:
    with rows.real(cluster, **settings) as rig:
        played = rig.run("head -c 300000 /dev/urandom | tee copy; sha256sum <copy >&2")
        assert played.cause == "success"
        assert played.heard.stdout == (played.directory / "work" / "copy").read_bytes()


@pytest.mark.parametrize("sessions", [1, 3])
def test_eight_processes_share_few_sessions(
    make_cluster: Callable[..., Cluster], own_runtime: Path, sessions: int
) -> None:
    with rows.real(make_cluster(accounting=False, max_sessions=sessions)) as rig:
        go = rig.shared / "go"
        keys = [(f"run-{number}", "step", "call") for number in range(8)]
        body = f"{TALK}; echo $DAGSTER_SLURM_JOB_ID >>$SHARED/ran"
        asked = [task(rig, body, key=key) for key in keys]
        go.touch()
        begun = time.monotonic()
        workers = [subprocess.Popen(one.argv(), stdout=subprocess.PIPE, text=True) for one in asked]
        answers = [json.loads(worker.communicate(timeout=2 * PATIENCE)[0].splitlines()[-1]) for worker in workers]
        assert {(answer["cause"], answer["stdout"]) for answer in answers} == {("success", LINES.decode())}
        assert sum(answer["logins"] for answer in answers) == 1
        assert len((rig.shared / "ran").read_text().split()) == 8
        assert time.monotonic() - begun < PATIENCE


def test_one_login_and_one_session_for_twenty_launches(cluster: Cluster, own_runtime: Path) -> None:
    with rows.real(cluster, connect_timeout=17) as rig:  # settings of its own: a connection of its own
        counts.reset()
        plays = [rig.begin(f"echo {number}") for number in range(20)]
        assert [play.result().heard.stdout for play in plays] == [f"{number}\n".encode() for number in range(20)]
        assert (counts.logins, counts.sessions) == (1, 1)
        used, _ = rig.host.request("counts")
        assert used["commands"].pop("sbatch") == 20
        assert sum(used["commands"].values()) <= 2


def test_nothing_is_left_on_the_login_node(cluster: Cluster) -> None:
    with rows.real(cluster) as rig:
        rig.run("true")
        agent = psutil.Process(rig.host.hello("~")["pid"])
        rig.host.close()
        until(lambda: not agent.is_running(), 5)


def ssh_processes(folder: Path, what: str) -> list[psutil.Process]:
    """The processes of ssh whose shared connection lies in a folder: the clients, or the master."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "ssh"
        and any(word.startswith(f"{folder}/") for word in process.info["cmdline"] or ())
        and ("-N" in process.info["cmdline"]) == (what == "master")
    ]


@pytest.mark.parametrize("what", ["client", "master"])
def test_a_process_of_ssh_is_killed(cluster: Cluster, own_runtime: Path, what: str) -> None:
    """Who follows goes on where it was, and who comes finds a way; only a dead master costs a login."""
    with rows.real(cluster, connect_timeout=18 if what == "client" else 19) as rig:
        play = rig.begin(f"echo begin; {UNTIL_GO}; {TALK}")
        play.until_begun()
        play.until(lambda: play.heard.stdout == b"begin\n")
        counts.reset()
        for process in ssh_processes(own_runtime, what):
            process.kill()
        assert rig.run(TALK).heard.stdout == LINES
        play.go()
        played = play.result()
        assert (played.cause, played.heard.stdout, played.heard.said) == ("success", b"begin\n" + LINES, {0: LINES})
        assert counts.logins == (what == "master")
        assert [error is None for error in play.heard.absences] in ([], [False, True])
