"""Runs payloads through the engine, without Dagster, and keeps all that was heard of them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_slurm.core.observations import Event
from dagster_slurm.core.resources import Resources
from dagster_slurm.core.spec import LaunchKey, RunPaths, RunSpec
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.groundwork import support
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.session_launch import SessionAsk
from dagster_slurm.engine.sessions import Session
from dagster_slurm.engine.submission import Submitted, cancel_others, submit
from dagster_slurm.engine.turns import Turns
from dagster_slurm.engine.unit_run import UnitRun, Work
from dagster_slurm.engine.units import flags
from dagster_slurm.errors import HostError, SubmissionDelayed
from dagster_slurm.schedulers.scheduler import Scheduler
from dagster_slurm.schedulers.slurm import Slurm
from dagster_slurm.transport.stream import Transport
from tests.conformance.together import followed, payload_of, whole_of

#: how long a test waits for anything at all, in seconds
PATIENCE = 60.0

#: a payload that waits for a file ``go``
UNTIL_GO = "touch begun; until [ -e go ]; do sleep 0.02; done"


class Heard:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.said: dict[int, bytes] = {}
        self.events: list[Event] = []
        self.absences: list[HostError | None] = []
        self.delays: list[SubmissionDelayed] = []
        self.told: list[str] = []

    def output(self, stream: str, data: bytes) -> None:
        setattr(self, stream, getattr(self, stream) + data)

    def messages(self, restart: int, data: bytes) -> None:
        self.said[restart] = self.said.get(restart, b"") + data

    def event(self, event: Event) -> None:
        self.events.append(event)

    def absent(self, error: HostError | None) -> None:
        self.absences.append(error)

    def tell(self, text: str) -> None:
        self.told.append(text)

    def delayed(self, error: SubmissionDelayed) -> None:
        self.delays.append(error)

    def kinds(self) -> list[str]:
        """Names of the events."""
        return [type(event).__name__ for event in self.events]


@dataclass(frozen=True)
class Played:
    """What became of a launch."""

    verdict: Verdict
    heard: Heard
    tracked: Tracked
    submitted: Submitted
    launch: Launch = field(repr=False)
    seconds: float

    @property
    def cause(self) -> str:
        return self.verdict.cause

    @property
    def directory(self) -> Path:
        return Path(payload_of(self.launch).directory)

    @property
    def run_directory(self) -> Path:
        """Of the job."""
        return Path(self.launch.directory)


class Abandoned(Exception):
    """The test is over."""


class Play:
    """A launch that a thread takes to its end."""

    def __init__(self, rig: Rig, launch: Launch, host: Host, heard: Heard) -> None:
        self.launch = launch
        self.heard = heard
        self.submitted: Submitted | None = None
        self.following: Following | UnitRun | None = None
        self._played: Played | None = None
        self._error: BaseException | None = None
        self._rig = rig
        self._host = host
        rig.plays.append(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def directory(self) -> Path:
        """Of the payload."""
        return Path(payload_of(self.launch).directory)

    @property
    def run_directory(self) -> Path:
        """Of the job."""
        return Path(self.launch.directory)

    @property
    def job(self) -> int:
        """Its id, once it is submitted."""
        self.until(lambda: self.submitted is not None)
        assert self.submitted is not None
        return int(self.submitted.id.partition(".")[0])

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def file(self, name: str) -> Path:
        """A file in the payload's working directory."""
        return self.directory / "work" / name

    def until(self, condition: Callable[[], object], timeout: float = PATIENCE) -> None:
        """Wait for something, as long as the launch is not over."""
        until(lambda: condition() or self.over, timeout)
        if self._error is not None:
            raise self._error
        assert condition(), f"it ended first: {self._played}"

    def go(self) -> None:
        """Let a payload that waits for it go on."""
        self.file("go").touch()

    def until_begun(self) -> int:
        """Wait for the payload's ``touch begun``; return the job's id."""
        self.until(lambda: self.submitted and self.file("begun").exists())
        return self.job

    def result(self, timeout: float = PATIENCE) -> Played:
        self._thread.join(timeout)
        assert self.over, f"not over after {timeout} s: {self.following and self.following.tracked}"
        if self._error is not None:
            raise self._error
        assert self._played is not None
        return self._played

    def error(self, timeout: float = PATIENCE) -> BaseException:
        """What the launch failed with, before there was a job."""
        self._thread.join(timeout)
        assert self._error is not None, self._played
        return self._error

    def _follow(self) -> Verdict:
        if self.launch.members:
            self.submitted = submit(self._host, self._rig.scheduler, self.launch, self.heard)
            job = followed(self._host, self._rig.scheduler, self.launch, self.submitted, self.heard)
            self.following = job.members[0]
            return job.verdicts(lambda: None)[1][0]
        if self._rig.session is None:
            self.submitted = submit(self._host, self._rig.scheduler, self.launch, self.heard)
            self.following = Following(self._host, self._rig.scheduler, self.launch, self.submitted, self.heard)
            return self.following.verdict(on_tick=self._tick)
        unit = UnitRun(self._rig.session_of(self._host), self._host, self._rig.work(self.launch), self.heard)
        self.submitted = unit.hand_in()
        self.following = unit
        try:
            return unit.verdict(on_tick=self._tick)
        finally:
            self.submitted = unit.submitted

    def _tick(self) -> None:
        if self._rig.closed:
            raise Abandoned

    def _run(self) -> None:
        begun = time.monotonic()
        try:
            verdict = self._follow()
            tracked = self.following.tracked
            outcome = "success" if verdict.success else "failure"
            self._host.notify("collected", dir=self.launch.directory, outcome=outcome)
            if self.submitted.doubtful or tracked.job != self.submitted.id:
                cancel_others(self._host, self._rig.scheduler, self.launch, tracked.job)
            seconds = time.monotonic() - begun
            self._played = Played(verdict, self.heard, tracked, self.submitted, self.launch, seconds)
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self._error = error


@dataclass
class Rig:
    """One row: where payloads run, and how one gets there.

    Args:
        kind: ``local``, ``faked``, ``real``, ``session``, or ``together``: each is the first component of a job.
        transport: makes the way there; each process would have one of its own.
        scheduler: what is spoken there.
        base: the base folder.
        shared: a folder that all payloads may write to.
        turns: makes the taking of turns.
        backstage: the fake, or the real cluster.
        session: what the session asks for that work is handed to; none: each launch is a job.
        asked: the arguments of that, for other processes.
    """

    kind: str
    transport: Callable[[], Transport]
    scheduler: Scheduler
    base: Path
    shared: Path
    turns: Callable[[], Turns] | None = None
    backstage: Any = None
    resources: Mapping[str, Any] = field(default_factory=dict[str, Any])
    session: SessionAsk | None = None
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    hosts: list[Host] = field(default_factory=list[Host])
    plays: list[Play] = field(default_factory=list[Play])
    closed: bool = False
    _sessions: dict[Host, Session] = field(default_factory=dict[Host, Session])

    @property
    def slurm(self) -> bool:
        return self.kind != "local"

    @property
    def host(self) -> Host:
        """The host, as this process sees it."""
        return self.hosts[0] if self.hosts else self.another_host()

    def session_of(self, host: Host) -> Session:
        """The session, as the process with this host sees it."""
        assert self.session is not None
        if host not in self._sessions:
            self._sessions[host] = Session(host, Slurm(), self.session)
            self._sessions[host].enter()
        return self._sessions[host]

    def leave(self, host: Host) -> None:
        """Need the session no more, as the process with this host."""
        session = self._sessions.pop(host, None)
        if session is not None:
            session.leave("run", "step", [])
            until(lambda: not session.followed)

    def hand_in(self, launch: Launch) -> Submitted:
        """Submit a launch, or hand it to the session, and follow it no further."""
        if self.session is None:
            return submit(self.host, self.scheduler, launch, Heard())
        return UnitRun(self.session_of(self.host), self.host, self.work(launch), Heard()).hand_in()

    def work(self, launch: Launch) -> Work:
        """What a session is handed for a launch."""
        key = launch.spec.key
        return Work(launch, flags(key, launch.spec.resources, key.run_id, key.step_key))

    def another_host(self) -> Host:
        """The host, as another process would see it."""
        turns = self.turns() if self.turns else None
        self.hosts.append(Host(self.transport(), self.scheduler, turns))
        return self.hosts[-1]

    def launch(
        self,
        *command: str,
        key: LaunchKey | None = None,
        environment: Mapping[str, str] | None = None,
        prelude: tuple[str, ...] = (),
        base: str | None = None,
        context: bytes = b"{}",
        metered: bool = True,
        keep: Mapping[str, float] | None = None,
        **resources: Any,
    ) -> Launch:
        """A launch of a command; of one word: of a line for bash. Unnamed ones are all different."""
        key = key or LaunchKey(f"run-{uuid.uuid4()}", "step", "call")
        base = base or str(self.base)
        paths = RunPaths(f"{base}/runs/{key.folder}")
        spec = RunSpec(
            key=key,
            paths=paths,
            command=command if len(command) > 1 else ("bash", "-c", *command),
            resources=Resources(**{**self.resources, **resources}),
            environment={"MESSAGES": paths.messages, "SHARED": str(self.shared), **(environment or {})},
            prelude=prelude,
            meter=("python3", "-I", "-S", f"{base}/store/{support().key}/bundled/meter.py") if metered else (),
        )
        launch = Launch(spec, base, context, {support().key: support()} if metered else {}, keep=keep)
        return whole_of(launch) if self.kind == "together" else launch

    def begin(self, *command: str, host: Host | None = None, **options: Any) -> Play:
        """Start a launch, see :meth:`launch`."""
        return self.take_up(self.launch(*command, **options), host)

    def take_up(self, launch: Launch, host: Host | None = None, heard: Heard | None = None) -> Play:
        """Submit or adopt a launch, and follow it."""
        return Play(self, launch, host or self.host, heard or Heard())

    def run(self, *command: str, timeout: float = PATIENCE, **options: Any) -> Played:
        """Take a launch to its end."""
        return self.begin(*command, **options).result(timeout)

    def close(self) -> None:
        """Let go what a test began and did not see through, and end the channels."""
        self.closed = True
        for host in list(self._sessions):
            self.leave(host)
        until(lambda: all(play.over for play in self.plays))
        for host in self.hosts:
            host.close()


def until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.02)
