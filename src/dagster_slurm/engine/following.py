"""Following a job until it is decided how it ended, handing on what it says."""

from __future__ import annotations

import time
from collections.abc import Callable

from dagster_slurm.core import record as records
from dagster_slurm.core.observations import Looked, LookFailed, Recorded
from dagster_slurm.core.resources import parse_signal
from dagster_slurm.core.tracker import Tracked, advance
from dagster_slurm.core.verdict import Verdict, Wait, asks_log, decide, with_log
from dagster_slurm.engine.followed import Absent, Arrival, Back, Followed, Output, RecordText
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.schedulers.scheduler import Scheduler

#: how long output that the record promises may stay invisible (NFS), in seconds
_DRAIN = 75.0
_ASK_FROM, _ASK_TO, _LOOK_LOCAL = 0.2, 30.0, 2.0
_LOG_TAIL = 4000


class Following:
    """One job that is followed.

    Args:
        host: where.
        scheduler: what is spoken there.
        launch: what.
        submitted: the job.
        sink: who takes what it says.
        leader: the run directory of the job, if this is a component of it.
    """

    def __init__(
        self,
        host: Host,
        scheduler: Scheduler,
        launch: Launch,
        submitted: Submitted,
        sink: Sink,
        *,
        leader: str | None = None,
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._launch = launch
        self._sink = sink
        self._job = submitted.job
        self._leader = leader
        self._hurries = False
        warning = launch.spec.resources.signal_before_timeout
        self.tracked = Tracked(
            job=submitted.id,
            submitted=submitted.answered,
            asks=scheduler.asks,
            accounts=bool(scheduler.accounting),
            warning="" if warning is None else parse_signal(warning)[0],
            late=launch.spec.sync,
        )

    def hurry(self) -> None:
        """Ask the scheduler soon, unless it is decided already: from any thread."""
        self._hurries = True

    def verdict(self, *, on_tick: Callable[[], None] | None = None) -> Verdict:
        """Hand on what the run says until it is decided how it ended.

        Args:
            on_tick: called at least once a second.
        """
        followed = self._host.follow(self._launch.directory, self._job)
        asks = _Backoff()
        try:
            while True:
                if self.tracked.job != str(followed.job["id"]):
                    self._host.renamed(followed, self.tracked.job)
                decision = decide(self.tracked, time.monotonic())
                if isinstance(decision, Verdict):
                    self._drain(followed)
                    return self._after_log(decision)
                if self._hurries:
                    self._hurries = False
                    self._host.ask(followed)
                if self._help(decision, followed, asks):
                    continue
                item = followed.next(asks.due_in())
                if on_tick is not None:
                    on_tick()
                while item is not None:  # what was seen together is decided together
                    self._take(item)
                    self._host.granted(followed)
                    item = None if isinstance(item, Output) else followed.next(0.0)
        finally:
            self._host.leave(followed)

    def tail(self, file: str) -> str:
        """Return the end of a file in the run directory."""
        _, data = self._host.request("tail", dir=self._launch.directory, file=file, bytes=_LOG_TAIL)
        return data.decode("utf-8", "replace")

    def _after_log(self, verdict: Verdict) -> Verdict:
        if not asks_log(self.tracked, verdict):
            return verdict
        files = (f"stderr.{self.tracked.record.restart}", "slurm.log")
        return with_log(verdict, "\n".join(self.tail(file) for file in files))

    def _take(self, item: Arrival) -> None:
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
        self.tracked, events = advance(self.tracked, observation, time.monotonic())
        for event in events:
            self._sink.event(event)

    def _help(self, wait: Wait, followed: Followed, asks: _Backoff) -> bool:
        """Get what a decision needs, at a pace that slows down; say whether something is known at once."""
        if asks.need != wait.need:
            asks.reset(wait.need)
        if (wait.need == "time" and self._scheduler.asks) or not asks.is_due():
            return False  # a process beside us is looked at by and by; a queue shows itself
        if wait.need == "record":
            begun = time.monotonic()
            answer, _ = self._host.request("inspect", dir=self._launch.directory, say=self._sink.absent)
            claim = answer["claim"] or self._claim_of_the_job()
            self._observe(Recorded(records.parse(answer["record"]), begun, whole=True, claim=claim))
        else:
            self._host.ask(followed)
        asks.done(_ASK_TO if self._scheduler.asks else _LOOK_LOCAL)
        return wait.need == "record"

    def _claim_of_the_job(self) -> str:
        """Return which job a component belongs to that has not begun: another may have won the claim."""
        if self._leader is None:
            return ""
        answer, _ = self._host.request("inspect", dir=self._leader, say=self._sink.absent)
        return f"{answer['claim']}+{self._launch.spec.group}" if str(answer["claim"]).isdigit() else ""

    def _drain(self, followed: Followed) -> None:
        """Hand on all output that the record promises, or that is there: of the last start, and of those before it."""
        sizes = self._sizes()
        deadline = time.monotonic() + _DRAIN
        while time.monotonic() < deadline:
            short = any(followed.offsets.get(name, 0) < size for name, size in sizes.items())
            item = followed.next(0.5 if short else 0.0)
            if item is not None:
                self._take(item)
                self._host.granted(followed)
            elif not short:
                return

    def _sizes(self) -> dict[str, int]:
        """Return how much output there is, by file; of a start that could not say so itself, ask."""
        record, sizes = self.tracked.record, dict[str, int]()
        exits = {item.restart: item for item in record.exits}
        for restart in {record.restart, *(item.restart for item in record.starts)}:
            for key, name in _output_files(restart).items():
                sizes[name] = exits[restart].sizes.get(key, 0) if restart in exits else self._size(name)
        return sizes

    def _size(self, file: str) -> int:
        answer, _ = self._host.request("tail", dir=self._launch.directory, file=file, bytes=0)
        return int(answer["size"])


def _output_files(restart: int) -> dict[str, str]:
    return {"stdout": f"stdout.{restart}", "stderr": f"stderr.{restart}", "messages": f"messages.{restart}.jsonl"}


class _Backoff:
    """When to ask again."""

    def __init__(self) -> None:
        self.need = ""
        self._pause = _ASK_FROM
        self._next = 0.0

    def reset(self, need: str) -> None:
        self.need, self._pause, self._next = need, _ASK_FROM, 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def done(self, longest: float) -> None:
        self._next = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, longest)

    def due_in(self) -> float:
        """Return how long to wait for an arrival at most."""
        return min(max(self._next - time.monotonic(), 0.05), 1.0) if self._next else 1.0
