"""One launch from submit to verdict. Drives the pure core with what arrives, and hands on what a person should see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dagster_slurm.core import record as records
from dagster_slurm.core.resources import parse_signal
from dagster_slurm.core.script import render_environment, render_job
from dagster_slurm.core.spec import RunSpec
from dagster_slurm.core.tracker import Event, Looked, LookFailed, Recorded, Tracked, advance
from dagster_slurm.core.verdict import Verdict, Wait, decide
from dagster_slurm.engine.answers import LookupUnanswered, NotSubmitted
from dagster_slurm.engine.followed import Absent, Arrival, Back, Followed, Output, RecordText
from dagster_slurm.engine.host import Host
from dagster_slurm.errors import HostError, SubmissionDelayed
from dagster_slurm.payloads.bundle import Bundle
from dagster_slurm.schedulers.scheduler import Scheduler, SubmitAnswer

#: how long output that the record promises may stay invisible (NFS), in seconds
_DRAIN = 75.0
_ASK_FROM, _ASK_TO, _LOOK_LOCAL = 0.2, 30.0, 2.0
_SUBMIT_AGAIN_FROM, _SUBMIT_AGAIN_TO = 2.0, 60.0
_LOG_TAIL = 4000


class Sink(Protocol):
    """Who takes what a run says."""

    def output(self, stream: str, data: bytes) -> None:
        """Take bytes of ``stdout`` or ``stderr``."""
        ...

    def messages(self, restart: int, data: bytes) -> None:
        """Take bytes of the Pipes messages of one restart."""
        ...

    def event(self, event: Event) -> None:
        """Take what happened to the job."""
        ...

    def absent(self, error: HostError | None) -> None:
        """Hear that the way to the host is barred, or (None) that it is free again."""
        ...

    def delayed(self, error: SubmissionDelayed) -> None:
        """Hear that the submission is not taken now and will be repeated."""
        ...


@dataclass(frozen=True)
class Launch:
    """What is to run.

    Args:
        spec: the run.
        base: the folder with runs and store, absolute on the host.
        context: the Pipes context.
        bundles: what must lie in the store, by key.
        extra: bundles (by key) whose files are to appear in a folder of the working directory.
        keep: seconds to keep run directories, by outcome; ``None`` keeps them.
    """

    spec: RunSpec
    base: str
    context: bytes
    bundles: Mapping[str, Bundle] = field(default_factory=dict[str, Bundle])
    extra: tuple[tuple[str, str], ...] = ()
    keep: Mapping[str, float] | None = None

    @property
    def directory(self) -> str:
        """The run directory."""
        return self.spec.paths.directory


class Execution:
    """One launch on one host.

    Args:
        host: where.
        scheduler: what is spoken there.
        launch: what.
        sink: who takes what it says.
    """

    def __init__(self, host: Host, scheduler: Scheduler, launch: Launch, sink: Sink) -> None:
        self._host = host
        self._scheduler = scheduler
        self._launch = launch
        self._sink = sink
        self._doubtful = False
        self.adopted = False
        self.job: dict[str, Any] = {}
        self.tracked: Tracked | None = None
        self.submitted_at = 0.0

    @property
    def command(self) -> tuple[str, ...]:
        """What the job runs."""
        return self._launch.spec.command

    def submit(self, *, known: bool = False) -> None:
        """Make sure that the job exists: submit it, or adopt the one that does.

        Args:
            known: the launch was begun before, perhaps by another process: wait for the host without end.

        Raises:
            SubmissionRefused: Slurm will not take it.
            HostError: the host never answered, or refuses us.
            RequestFailed: the run directory cannot be made.
        """
        pause = _SUBMIT_AGAIN_FROM
        while True:
            try:
                answer = self._submit_once(known or self._doubtful)
                break
            except (NotSubmitted, LookupUnanswered) as error:
                self._sink.delayed(self._delay(error))  # raises what no repetition will mend
            self._doubtful = True
            time.sleep(pause)
            pause = min(pause * 2, _SUBMIT_AGAIN_TO)
        self._adopt(answer)

    def follow(self, *, on_tick: Callable[[], None] | None = None) -> Verdict:
        """Hand on what the run says until it is decided how it ended.

        Args:
            on_tick: called at least once a second.
        """
        assert self.tracked is not None, "submit first"
        followed = self._host.follow(self._launch.directory, self.job)
        asks = _Backoff()
        try:
            while True:
                decision = decide(self.tracked, time.monotonic())
                if isinstance(decision, Verdict) and self._drained(followed, decision):
                    return decision
                if isinstance(decision, Wait):
                    self._help(decision, followed, asks)
                item = followed.next(asks.due_in())
                if on_tick is not None:
                    on_tick()
                if item is not None:
                    self._take(item)
                    self._host.granted(followed)
                    followed.job = {**followed.job, "id": self.tracked.job}
        finally:
            self._host.leave(followed)

    def cancel(self) -> list[str]:
        """Ask the scheduler to end the job; return the ids that were asked for."""
        name = self._launch.spec.key.job_name
        answer, _ = self._host.request(
            "cancel", dir=self._launch.directory, kind=self._scheduler.kind, find=self._scheduler.find(name)
        )
        return list(answer["cancelled"])

    def collected(self, *, success: bool) -> None:
        """Note on the host that the result was taken over."""
        self._host.notify("collected", dir=self._launch.directory, outcome="success" if success else "failure")
        if self._doubtful:
            self._cancel_others()

    def tail(self, file: str) -> str:
        """Return the end of a file in the run directory."""
        _, data = self._host.request("tail", dir=self._launch.directory, file=file, bytes=_LOG_TAIL)
        return data.decode("utf-8", "replace")

    # --- submitting

    def _submit_once(self, patient: bool) -> dict[str, Any]:
        files = self._files()
        body = b"".join(content for _, _, content in files)
        name = self._launch.spec.key.job_name
        while True:
            answer, _ = self._host.request(
                "submit",
                body,
                say=self._sink.absent,
                patient=patient,
                dir=self._launch.directory,
                base=self._launch.base,
                kind=self._scheduler.kind,
                files=[[file, mode, len(content)] for file, mode, content in files],
                extra=list(self._launch.extra),
                needs=list(self._launch.bundles),
                submit=self._scheduler.submit(),
                find=self._scheduler.find(name),
                keep=self._launch.keep,
            )
            if "missing" not in answer:
                return answer
            for key in answer["missing"]:
                self._send(key)

    def _send(self, key: str) -> None:
        first = True
        chunks = iter(self._launch.bundles[key].chunks())
        chunk = next(chunks, b"")
        while chunk:
            following = next(chunks, b"")
            self._host.request(
                "put", chunk, key=key, base=self._launch.base, first=first, last=not following, say=self._sink.absent
            )
            first, chunk = False, following

    def _files(self) -> list[tuple[str, int, bytes]]:
        script = render_job(self._launch.spec, slurm=self._scheduler.kind == "slurm")
        empty = ("record.jsonl", "stdout.0", "stderr.0", "messages.0.jsonl", "slurm.log")
        return [
            ("job.sh", 0o700, script.encode()),
            ("env.sh", 0o600, render_environment(self._launch.spec.environment).encode("utf-8", "surrogateescape")),
            ("context.json", 0o600, self._launch.context),
            *((name, 0o600, b"") for name in empty),
        ]

    def _delay(self, error: NotSubmitted | LookupUnanswered) -> SubmissionDelayed:
        details = {"host": self._host.name, "run directory": self._launch.directory}
        if isinstance(error, LookupUnanswered):
            return SubmissionDelayed(error.message, details=details)
        answer = SubmitAnswer(error.text, error.exit_code, error.command or "", details)
        refusal = self._scheduler.refusal(answer)
        if isinstance(refusal, SubmissionDelayed):
            return refusal
        raise refusal from None

    def _adopt(self, answer: dict[str, Any]) -> None:
        record = records.parse(answer["record"])
        winner = answer["claim"] or (record.start.job if record.start else "")
        self.job = dict(answer["job"]) if answer["job"] else {"id": winner, "cluster": "", "time": 0}
        if winner and winner != str(self.job["id"]):
            self.job = {**self.job, "id": winner}
            self._doubtful = True
        self.adopted = bool(answer["adopted"])
        warning = self._launch.spec.resources.signal_before_timeout
        self.submitted_at = float(self.job.get("time") or time.time())
        self.tracked = Tracked(
            job=str(self.job["id"]),
            submitted=time.monotonic(),
            asks=self._scheduler.asks,
            warning="" if warning is None else parse_signal(warning)[0],
        )

    def _cancel_others(self) -> None:
        """A submission whose reply was lost may have landed late; it lost the claim and must not wait for nodes."""
        assert self.tracked is not None
        find = self._scheduler.find(self._launch.spec.key.job_name)
        if find:
            self._host.request("cancel_others", find=find, spare=self.tracked.job)

    # --- following

    def _take(self, item: Arrival) -> None:
        assert self.tracked is not None
        if isinstance(item, Output):
            kind, restart = item.file.split(".")[0], int(item.file.split(".")[1])
            if kind == "messages":
                self._sink.messages(restart, item.data)
            else:
                self._sink.output(kind, item.data)
        elif isinstance(item, RecordText):
            self._observe(Recorded(records.parse(item.text), time.monotonic()))
        elif isinstance(item, (Absent, Back)):
            self._sink.absent(item.error if isinstance(item, Absent) else None)
        else:
            self._observe(item)

    def _observe(self, observation: Recorded | Looked | LookFailed) -> None:
        assert self.tracked is not None
        self.tracked, events = advance(self.tracked, observation, time.monotonic())
        for event in events:
            self._sink.event(event)

    def _help(self, wait: Wait, followed: Followed, asks: _Backoff) -> None:
        """Get what a decision needs, at a pace that slows down."""
        if wait.need == "time" and self._scheduler.asks:
            asks.reset()
        elif asks.is_due():
            if wait.need in ("word", "time"):
                self._host.ask(followed)  # a process beside us is looked at by and by; a queue shows itself
            if wait.need == "record":
                begun = time.monotonic()
                answer, _ = self._host.request("inspect", dir=self._launch.directory, say=self._sink.absent)
                self._observe(Recorded(records.parse(answer["record"]), begun, whole=True))
            asks.done(_ASK_TO if self._scheduler.asks else _LOOK_LOCAL)

    def _drained(self, followed: Followed, verdict: Verdict) -> bool:
        """Whether all output that the record promises, or that is there, has arrived and been handed on."""
        assert self.tracked is not None
        restart = self.tracked.record.restart
        sizes = verdict.exit.sizes if verdict.exit else self._sizes(restart)
        names = {"stdout": f"stdout.{restart}", "stderr": f"stderr.{restart}", "messages": f"messages.{restart}.jsonl"}
        deadline = time.monotonic() + _DRAIN
        while time.monotonic() < deadline:
            short = [name for key, name in names.items() if followed.offsets.get(name, 0) < sizes.get(key, 0)]
            item = followed.next(0.5 if short else 0.0)
            if item is not None:
                self._take(item)
                self._host.granted(followed)
            elif not short:
                return True
        return True

    def _sizes(self, restart: int) -> dict[str, int]:
        """Ask how much output there is, for a job that could not say so itself."""
        names = {"stdout": f"stdout.{restart}", "stderr": f"stderr.{restart}", "messages": f"messages.{restart}.jsonl"}
        return {
            key: int(self._host.request("tail", dir=self._launch.directory, file=name, bytes=0)[0]["size"])
            for key, name in names.items()
        }


class _Backoff:
    """When to ask again."""

    def __init__(self) -> None:
        self._pause = _ASK_FROM
        self._next = 0.0

    def reset(self) -> None:
        self._pause, self._next = _ASK_FROM, 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def done(self, longest: float) -> None:
        self._next = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, longest)

    def due_in(self) -> float:
        """Return how long to wait for an arrival at most."""
        return min(max(self._next - time.monotonic(), 0.05), 1.0) if self._next else 1.0


def with_attempt(spec: RunSpec, attempt: int) -> RunSpec:
    """Return the same run as another attempt; its directory is the caller's to set."""
    return replace(spec, key=replace(spec.key, attempt=attempt))
