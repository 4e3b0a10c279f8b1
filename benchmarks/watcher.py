"""A program: submits some jobs, follows them all from one process, and prints what that took on both sides.

No Dagster run is around it (a process of Dagster's follows one job at a time), but all of ours is: one Host, and a
Following per job in a thread of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import time
import uuid
from typing import Any

import dagster  # noqa: F401 - what we take is measured above it
import psutil

_ME = psutil.Process()
_DAGSTER_ALONE = _ME.memory_info().rss

from benchmarks import place  # noqa: E402
from dagster_slurm import ComputeResource  # noqa: E402
from dagster_slurm.core.observations import Began, Event  # noqa: E402
from dagster_slurm.core.resources import Resources  # noqa: E402
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec  # noqa: E402
from dagster_slurm.engine.following import Following  # noqa: E402
from dagster_slurm.engine.launch import Launch  # noqa: E402
from dagster_slurm.engine.submission import submit  # noqa: E402
from dagster_slurm.engine.target import Target  # noqa: E402
from dagster_slurm.errors import HostError, SubmissionDelayed  # noqa: E402
from dagster_slurm.resources import targets  # noqa: E402
from dagster_slurm.transport.ssh import counts  # noqa: E402

_SAID = re.compile(rb"said at (\d+\.\d+)")


class Ear:
    """Takes what one job says, and notes how late it is."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.lines: list[tuple[float, float]] = []
        self.logs: list[tuple[float, float]] = []

    def output(self, _stream: str, data: bytes) -> None:
        """Note lines."""
        self._note(data, self.lines)

    def messages(self, _restart: int, data: bytes) -> None:
        """Note logs."""
        self._note(data, self.logs)

    def event(self, event: Event) -> None:
        """Note the beginning."""
        if isinstance(event, Began):
            self.began.set()

    def absent(self, error: HostError | None) -> None:
        """Not expected here."""

    def delayed(self, error: SubmissionDelayed) -> None:
        """Not expected here."""

    def _note(self, data: bytes, where: list[tuple[float, float]]) -> None:
        now = time.time()
        where += [(float(said), now) for said in _SAID.findall(data)]


def _launch(target: Target, talks: bool) -> Launch:
    base = target.place().base
    key = LaunchKey(f"bench-{uuid.uuid4().hex[:12]}", "step", "call")
    said = ("-c", (place.PAYLOADS / "talk_plain.py").read_text()) if talks else ("-c", "import time; time.sleep(1e4)")
    variables = {name: os.environ[name] for name in ("BENCH_SECONDS", "BENCH_PAUSE")}
    spec = RunSpec(
        key=key,
        paths=RunPaths(f"{base}/runs/{key.folder}"),
        command=("python3", "-S", *said),
        resources=Resources(partition="compute", time_limit=30, cpus=1, mem=100),
        environment=variables,
    )
    return Launch(spec, base, b"{}")


def _follow(target: Target, launch: Launch, ear: Ear) -> None:
    submitted = submit(target.host, target.scheduler, launch, ear)
    following = Following(target.host, target.scheduler, launch, submitted, ear)
    threading.Thread(target=following.verdict, daemon=True).start()


def _agent(target: Target) -> dict[str, Any]:
    answer, _ = target.host.request("counts")
    return dict(answer, at=time.monotonic(), time=time.time())


def _watch(target: Target, seconds: float, rest: float) -> dict[str, Any]:
    """Let the jobs run, and take the figures of that time."""
    time.sleep(rest)
    before, memory = _agent(target), 0
    agent = psutil.Process(target.host.hello(target.base)["pid"])
    while time.monotonic() < before["at"] + seconds:
        time.sleep(1.0)
        memory = max(memory, _ME.memory_info().rss)
    after = _agent(target)
    took = after["at"] - before["at"]
    queries = sum(after["commands"].get(name, 0) for name in ("squeue", "sacct", "scontrol"))
    return {
        "from": before["time"],
        "operations": (after["operations"] - before["operations"]) / took,
        "cpu_per_hour": (after["cpu"] - before["cpu"]) / took * 3600,
        "agent_mb": agent.memory_info().rss / 1e6,
        "above_dagster_mb": (memory - _DAGSTER_ALONE) / 1e6,
        "queries": queries,
        "sessions": counts.sessions,
        "logins": counts.logins,
    }


def main() -> None:
    """Watch jobs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--talking", type=int, default=0)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rest", type=float, default=5.0)
    given = parser.parse_args()
    slurm = ComputeResource.from_env().slurm
    assert slurm is not None
    target = targets.cluster(slurm)
    ears = [Ear() for _ in range(given.jobs)]
    begun = time.monotonic()
    for number, ear in enumerate(ears):
        _follow(target, _launch(target, number < given.talking), ear)
    for ear in ears:
        if not ear.began.wait(180):
            raise RuntimeError("a job did not begin within 3 minutes")
    figures = {"up_after": time.monotonic() - begun, **_watch(target, given.seconds, given.rest)}
    lines = [pair for ear in ears for pair in ear.lines]
    logs = [pair for ear in ears for pair in ear.logs]
    print(json.dumps({**figures, "lines": lines, "logs": logs}), flush=True)
    targets.close_all()
    os._exit(0)  # threads still follow jobs that the benchmark ends


if __name__ == "__main__":
    main()
