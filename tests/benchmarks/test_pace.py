"""The agent's looks at files, in simulated time: how many there are, and how late what is said is heard."""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.figures import percentile
from dagster_slurm.remote.follow import OPERATIONS_PER_SECOND, Follower

_OUTPUT = ("stdout.0", "stderr.0", "messages.0.jsonl")


@dataclass
class Simulation:
    """Some jobs, and a follower that looks at them; nothing waits for anything."""

    folder: Path
    jobs: int
    share: float = 1.0
    now: float = 0.0
    delays: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    _coming: list[tuple[float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(1)
        self.follower = Follower(self._hear, self.share)
        for number in range(self.jobs):
            directory = self.folder / str(number)
            directory.mkdir()
            for name in _OUTPUT:
                (directory / name).touch()
            (directory / "record.jsonl").write_text('{"event":"start","restart":0}\n')
            self.follower.watch(number, str(directory), {}, 1 << 40, 0.0)

    def talk(self, job: int, pause: float, until: float) -> None:
        """Let a job say something in standard output and messages, at random moments."""
        for name in ("stdout.0", "messages.0.jsonl"):
            at = self.chance.expovariate(1 / pause)
            while at < until:
                heapq.heappush(self._coming, (at, f"{job}/{name}", f"{at}\n"))
                at += self.chance.expovariate(1 / pause)

    def end(self, job: int, at: float) -> None:
        """Let a job end."""
        text = json.dumps({"event": "exit", "restart": 0, "time": at, "sizes": {}})
        heapq.heappush(self._coming, (at, f"{job}/record.jsonl", f"{text}\n"))

    def run(self, until: float) -> float:
        """Let time pass; return how many operations there were in a second."""
        begun, before = self.now, self.follower.operations
        self.delays.clear()
        while self.now < until:
            while self._coming and self._coming[0][0] <= self.now:
                _, name, text = heapq.heappop(self._coming)
                with (self.folder / name).open("a") as file:
                    file.write(text)
            self.now += max(self.follower.tick(self.now), 0.005)
        return (self.follower.operations - before) / (until - begun)

    def _hear(self, head: dict[str, object], body: bytes) -> None:
        for line in body.decode().splitlines():
            if head["file"] != "record.jsonl":
                self.delays.append(self.now - float(line))
            elif json.loads(line)["event"] == "exit":
                self.ends.append(self.now - json.loads(line)["time"])


@pytest.mark.parametrize(("jobs", "share"), [(1, 1.0), (5, 1.0), (1, 0.2)])
def test_up_to_five_talking_jobs_are_heard_at_once(tmp_path: Path, jobs: int, share: float) -> None:
    """In one process, or each in a process of its own, which share what one user may do."""
    simulation = Simulation(tmp_path, jobs, share)
    for job in range(jobs):
        simulation.talk(job, 0.5, until=60)
    simulation.run(until=10)
    assert simulation.run(until=60) <= OPERATIONS_PER_SECOND * share
    assert percentile(simulation.delays, 95) <= 0.27


def test_five_that_talk_among_a_hundred_are_heard_first(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, jobs=100)
    for job in range(5):
        simulation.talk(job, 1.0, until=360)
    for job in range(50, 70):
        simulation.end(job, at=305 + 2 * (job - 50))
    simulation.run(until=300)
    assert simulation.run(until=360) <= OPERATIONS_PER_SECOND
    assert percentile(simulation.delays, 95) <= 1.0
    assert len(simulation.ends) == 20
    assert max(simulation.ends) <= 12


def test_a_hundred_that_talk_all_get_their_turn(tmp_path: Path) -> None:
    """Two hundred files at 50 looks a second: four seconds, and no file waits much longer than others."""
    simulation = Simulation(tmp_path, jobs=100)
    for job in range(100):
        simulation.talk(job, 1.0, until=60)
    simulation.run(until=20)
    assert simulation.run(until=60) <= OPERATIONS_PER_SECOND * 1.02  # with what was left over before
    assert percentile(simulation.delays, 95) <= 5.5


def test_quiet_jobs_are_looked_at_rarely(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, jobs=1)
    simulation.run(until=600)
    assert simulation.run(until=1200) <= 0.6
