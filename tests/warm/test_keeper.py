"""The list of a scope, and who ends a cluster: real processes, without Ray or Spark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagster_slurm.engine.warm import keeper_program
from dagster_slurm.remote import clusters
from dagster_slurm.remote.cluster_requests import ClusterRequests

#: stands for a cluster: ends with 0 when its stop file has a line
CLUSTER = 'until [ -s "$1" ]; do sleep 0.1; done'


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class World:
    """A scope with requests as the agent answers them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scope = str(folder / "clusters/run")
        self.agent = ClusterRequests()

    def take(self, user: str, number: int | None = None, *, pid: int = 0, **changes: Any) -> Any:
        state = self.agent.clusters({"scope": self.scope})
        new = {"number": state["number"], "name": f"c-{state['number']}", "framework": "ray", "kind": "k"}
        new["dir"] = str(self.folder / f"c-{state['number']}")
        head = {
            "scope": self.scope,
            "version": state["version"],
            "user": str(self.folder / user),
            "pid": pid or os.getpid(),
            "number": number,
            "replaces": None,
            "facts": {"step": user},
            "new": new,
            **changes,
        }
        return self.agent.take_cluster(head).get("cluster")

    def leave(self, step: str, *keep: int) -> None:
        self.agent.leave_clusters({"scope": self.scope, "step": step, "keep": list(keep)})

    def begin(self, entry: Any) -> subprocess.Popen[bytes]:
        """Start the cluster as its job script would."""
        program = self.folder / "program"
        for member in keeper_program().members:
            target = program / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(member.source).read_bytes())
        directory = Path(entry["dir"])
        (directory / "ray.0").mkdir(parents=True)
        (directory / "ray.0/stop").touch()
        main = [sys.executable, "-I", "-S", "-B", program / "main.py", self.scope, str(entry["number"])]
        process = subprocess.Popen([*main, "bash", "-c", CLUSTER, "cluster", directory / "ray.0/stop"])
        self.submitted(directory, process.pid)
        return process

    def submitted(self, directory: Path, pid: int) -> None:
        directory.mkdir(exist_ok=True)
        number, ticks = clusters.identity(pid)
        (directory / "job.id").write_text(json.dumps({"id": str(number), "ticks": ticks}))

    def names(self) -> list[str]:
        return [entry["name"] for entry in self.agent.clusters({"scope": self.scope})["clusters"]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def other() -> Any:
    """A process that stands for somebody's Dagster."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_it_ends_when_no_step_needs_it(world: World) -> None:
    process = world.begin(world.take("first"))
    world.leave("first")
    assert process.wait(60) == 0
    assert world.names() == []


def test_it_stays_while_a_step_may_come_and_ends_with_the_process_that_would_bring_it(
    world: World, other: subprocess.Popen[bytes]
) -> None:
    entry = world.take("first", pid=other.pid)
    process = world.begin(entry)
    world.leave("first", other.pid)
    with clusters.change(world.scope) as state:
        state["linger"] = 0
    time.sleep(1)
    assert process.poll() is None
    assert world.take("second", entry["number"])["name"] == entry["name"]
    world.leave("second", other.pid)
    with clusters.change(world.scope) as state:
        state["kept"] = [item for item in state["kept"] if item[0] == other.pid]
    other.kill()
    other.wait()
    assert process.wait(60) == 0


def test_it_outlives_dagster_as_long_as_a_payload_runs(world: World, other: subprocess.Popen[bytes]) -> None:
    dagster = subprocess.Popen(["sleep", "600"])
    process = world.begin(world.take("first", pid=dagster.pid))
    world.submitted(world.folder / "first", other.pid)
    dagster.kill()
    dagster.wait()
    time.sleep(1)
    assert process.poll() is None
    other.kill()
    other.wait()
    assert process.wait(60) == 0


def test_cleanup_waits_for_users_and_lets_nobody_in(world: World) -> None:
    entry = world.take("first")
    process = world.begin(entry)
    base = str(world.folder)
    assert world.agent.end_clusters({"sessions": None, "base": base, "name": "another"})["ended"] == []
    assert world.agent.end_clusters({"sessions": None, "base": base, "name": None})["ended"] == ["c-0"]
    assert world.agent.clusters({"scope": world.scope})["clusters"][0]["ending"]
    time.sleep(1)
    assert process.poll() is None
    world.leave("first", os.getpid())
    assert process.wait(60) == 0


def test_who_decided_on_an_old_list_decides_again(world: World) -> None:
    first = world.take("first")
    assert world.take("second", None, version=0) is None
    # a run that has a cluster keeps it, whatever it decided since
    assert world.take("first", None, version=0)["number"] == first["number"]
    assert world.names() == ["c-0"]


def test_a_cluster_that_died_is_not_on_the_list(world: World) -> None:
    process = world.begin(world.take("first"))
    until(world.names)
    process.kill()
    process.wait()
    assert world.names() == []
    # its stand-in ends by itself
    (world.folder / "c-0/ray.0/stop").write_text("stop\n")


def test_a_cluster_whose_starter_died_before_it_began_is_not_on_the_list(
    world: World, other: subprocess.Popen[bytes]
) -> None:
    world.take("first", pid=other.pid)
    assert world.names() == ["c-0"]
    other.kill()
    other.wait()
    assert world.names() == []
