"""The test job: submitted, followed and judged by the code that runs payloads."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from uuid import uuid4

from dagster_slurm.cli.doctor.choice import Choice
from dagster_slurm.cli.doctor.finding import Finding
from dagster_slurm.core.causes import job_error
from dagster_slurm.core.facts import Ended
from dagster_slurm.core.observations import Began, Event, Waiting
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.engine import submission
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import DagsterSlurmError, HostError, SubmissionDelayed

_PROGRAM = "probe.py"
#: minutes that it asks for, and MiB
_TIME_LIMIT, _MEMORY = 1, 200


class _StillWaiting(Exception):
    """It did not start while we were willing to wait."""


@dataclass
class _Heard:
    """Takes what the job says."""

    say: Callable[[str], None]
    began: float = 0.0
    node: str = ""
    reason: str = ""
    expected: str = ""
    written: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def output(self, stream: str, data: bytes) -> None:
        self.written[stream] = self.written.get(stream, b"") + data

    def messages(self, restart: int, data: bytes) -> None:
        """It sends none."""

    def event(self, event: Event) -> None:
        if isinstance(event, Began):
            self.began, self.node = time.monotonic(), event.start.nodes or event.start.node
        elif isinstance(event, Waiting):
            self.reason, self.expected = event.reason, event.expected_start
            self.tell(f"the test job waits in the queue: {event.reason or 'no reason given'}")

    def absent(self, error: HostError | None) -> None:
        self.tell("the connection is lost" if error else "the connection is back")

    def delayed(self, error: SubmissionDelayed) -> None:
        raise error

    def tell(self, text: str) -> None:
        self.say(text)

    def text(self, stream: str) -> str:
        """Return what came on a stream."""
        return self.written.get(stream, b"").decode("utf-8", "replace")


@dataclass(frozen=True)
class Trial:
    """What came of it: the line for people, and what the node said of itself."""

    finding: Finding
    facts: dict[str, Any] | None = None
    #: how far the node's clock is off ours, in seconds
    skew: float = 0.0


def run(
    target: Target, place: Place, choice: Choice, *, python: str, patience: float, tell: Callable[[str], None]
) -> Trial:
    """Run the test job.

    Args:
        target: the cluster.
        place: where runs go there.
        choice: what it asks for.
        python: Python on the nodes.
        patience: seconds to wait for its start; then it is cancelled.
        tell: hears what is going on.
    """
    launch = _launch(place, choice, python)
    heard = _Heard(tell)
    try:
        return _run(target, launch, heard, patience)
    except DagsterSlurmError as error:
        return Trial(Finding("test job", "bad", error.message, error.hint or "See sbatch(1)."))


def _run(target: Target, launch: Launch, heard: _Heard, patience: float) -> Trial:
    begun = time.monotonic()
    submitted = submission.submit(target.host, target.scheduler, launch, heard)
    following = Following(target.host, target.scheduler, launch, submitted, heard)
    deadline = begun + patience

    def check() -> None:
        if not heard.began and time.monotonic() > deadline:
            raise _StillWaiting

    try:
        verdict = following.verdict(on_tick=check)
    except (_StillWaiting, KeyboardInterrupt) as stop:
        submission.cancel(target.host, target.scheduler, launch)
        if isinstance(stop, KeyboardInterrupt):
            raise
        return Trial(_waiting(submitted.id, heard, patience))
    outcome = "success" if verdict.success else "failure"
    target.host.notify("collected", dir=launch.directory, outcome=outcome)
    if not verdict.success:
        ended = Ended(following.tracked, verdict, launch.spec.resources, launch.directory, submitted.time)
        error = job_error(ended, shlex.join(launch.spec.command), heard.text("stderr"))
        log = (error.log_tail or following.tail("slurm.log")).strip()
        return Trial(Finding("test job", "bad", error.message, f"{error.hint} Its log: {log or 'empty'}"))
    return _ended_well(submitted.id, heard, begun)


def _ended_well(job: str, heard: _Heard, begun: float) -> Trial:
    try:
        facts: dict[str, Any] = json.loads(heard.text("stdout").strip().splitlines()[-1])
    except (ValueError, IndexError):
        said = heard.text("stdout")[-200:]
        return Trial(Finding("test job", "bad", f"job {job} ended well but said: {said!r}", "Report this to us."))
    waited, whole = heard.began - begun, time.monotonic() - begun
    text = f"job {job} began on {heard.node} after {waited:.1f} s; all was seen here after {whole:.1f} s"
    # its clock was read between its start, as seen here, and now
    skew = float(facts["time"]) - (time.time() - (time.monotonic() - heard.began) / 2)
    return Trial(Finding("test job", "ok", text), {**facts, "node": heard.node}, skew)


def _waiting(job: str, heard: _Heard, patience: float) -> Finding:
    expected = f", expected to start at {heard.expected}" if heard.expected else ""
    text = f"job {job} did not start within {patience:.0f} s: {heard.reason or 'no reason given'}{expected}; cancelled"
    remedy = "Try again with a longer --wait; `dagster-slurm why JOB` says what a waiting job waits for."
    return Finding("test job", "note", text, remedy)


def _launch(place: Place, choice: Choice, python: str) -> Launch:
    key = LaunchKey(f"doctor-{uuid4().hex[:12]}", "doctor", "test")
    paths = RunPaths(place.directory(key))
    spec = RunSpec(
        key=key,
        paths=paths,
        command=(python, "-I", paths.file(_PROGRAM)),
        resources=Resources(
            partition=choice.partition,
            account=choice.account,
            qos=choice.qos,
            cpus=1,
            mem=_MEMORY,
            time_limit=_TIME_LIMIT,
            options={"requeue": False},
        ),
        sync=place.late,
    )
    program = (files("dagster_slurm.remote") / "probe.py").read_text(encoding="utf-8")
    return Launch(spec, place.base, b"{}", more={_PROGRAM: program})
