"""Sessions as one process sees them: an allocation is found or asked for, work is handed to it, and it is let go.

A session is a run whose script is a holder: submitted, followed and judged as any other. Its generations lie side by
side in one folder, so that processes that race get or create the same one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dagster_slurm.core.observations import Event
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine import previous
from dagster_slurm.engine.answers import SessionOver
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.session_launch import SessionAsk, session_launch
from dagster_slurm.engine.submission import Submitted, adopted, submit
from dagster_slurm.errors import DagsterSlurmError, HostError, SessionFailed, SubmissionDelayed
from dagster_slurm.remote.rundir import CANCELLED
from dagster_slurm.schedulers.slurm import Slurm, Step

#: a session that has begun says within so many seconds that it has a unit; else one asks whether it is still there
_ANSWER = 10.0
#: how long the end of a step waits for its session to hear of it, in seconds
_WITHIN = 10.0
#: how long the end of an allocation may take to be judged, in seconds
_JUDGED = 60.0
#: ends of an allocation that say nothing against another one like it
_OUTSIDE = ("cancelled", "preempted", "node_failure", "time_limit")


class Moved(Exception):
    """A session ended before a unit began in it, or seems to know nothing of it: it is handed over again."""


class _Left(Exception):
    """Nobody in this process needs the allocation any more."""


class _Log:
    """Takes what a holder's run says: its agent says what matters in its record."""

    def __init__(self) -> None:
        self.text = ""

    def output(self, stream: str, data: bytes) -> None:
        """Keep the end of it, for an error."""
        self.text = (self.text + data.decode("utf-8", "replace"))[-4000:] if stream else self.text

    def messages(self, restart: int, data: bytes) -> None:
        """There are none."""

    def event(self, event: Event) -> None:
        """The units' own following tells."""

    def absent(self, error: HostError | None) -> None:
        """The units' own following tells."""

    def delayed(self, error: SubmissionDelayed) -> None:
        """It is submitted by then."""

    def tell(self, text: str) -> None:
        """It is submitted by then."""


@dataclass
class Generation:
    """One allocation of a session."""

    number: int
    launch: Launch
    submitted: Submitted
    log: _Log
    following: Following
    verdict: Verdict | None = None
    closed: str = ""
    followed: bool = False
    judged: threading.Event = field(default_factory=threading.Event)

    @property
    def job(self) -> str:
        """The id of the job that holds it."""
        return self.submitted.id

    @property
    def began(self) -> bool:
        """Whether its agent is at work, as far as is known."""
        return self.following.tracked.started

    def why_over(self) -> str:
        """Return why it takes no more work; nothing as long as it does."""
        said = self.closed or str(self.following.tracked.record.facts.get("closed", ""))
        if said or self.verdict is None:
            return said
        return "it ended" if self.verdict.success else self.verdict.cause.replace("_", " ")


class Session:
    """A session, for all steps of this process.

    Args:
        host: where.
        scheduler: what is spoken there.
        ask: what it asks for.
    """

    def __init__(self, host: Host, scheduler: Slurm, ask: SessionAsk) -> None:
        self.ask = ask
        self._host = host
        self._scheduler = scheduler
        self._lock = threading.RLock()
        self._current: Generation | None = None
        self._users = 0

    def enter(self) -> None:
        """One more step of this process needs it."""
        with self._lock:
            self._users += 1

    def submit(
        self, launch: Launch, place: Place, flags: dict[str, Any], sink: Sink
    ) -> tuple[Submitted, Generation | None]:
        """Hand a unit over, or adopt the one that has begun. May be repeated, by any process, at any time.

        Returns:
            The unit, and the allocation that it was handed to; none if it has begun, wherever that was.

        Raises:
            SessionFailed: the session's allocation ended by itself.
            SubmissionRefused: Slurm will not take it.
            HostError, RequestFailed: as for any submission.
        """
        found, _ = self._host.request("inspect", dir=launch.directory, say=sink.absent)
        if found["claim"] and found["claim"] != CANCELLED:
            return adopted(dict(found, adopted=True), doubtful=False), None
        while True:
            generation = self._acquire(place, sink)
            unit = {"session": generation.launch.directory, "holder": generation.job, "flags": flags}
            try:
                return submit(self._host, Step(), replace(launch, unit=unit), sink), generation
            except SessionOver as over:
                generation.closed = over.message

    def watch(self, generation: Generation | None) -> Callable[[Tracked], None]:
        """Return what looks after a unit that was handed over, once a second; it raises :class:`Moved`."""
        since = time.monotonic()

        def look(tracked: Tracked) -> None:
            nonlocal since
            if generation is None or tracked.started or tracked.record.exit is not None:
                return
            why = generation.why_over()
            if why:
                raise Moved(why)
            if not generation.began or generation.job in tracked.record.queued:
                since = time.monotonic()
            elif time.monotonic() - since > _ANSWER:
                self._ask_about(generation)
                raise Moved(generation.closed or "it did not answer")

        return look

    @staticmethod
    def refuse_what_never_began(generation: Generation | None, tracked: Tracked) -> None:
        """Judge no unit by the end of an allocation in which it did not begin.

        Raises:
            Moved: it did not begin; it is known how the allocation ended, as far as that takes no more than a minute.
        """
        if generation is None or tracked.started or tracked.record.exit is not None:
            return
        if not generation.why_over():
            generation.judged.wait(_JUDGED)
        generation.closed = generation.closed or generation.why_over() or "it is gone"
        raise Moved(generation.closed)

    def leave(self, run: str, step: str, unfinished: Sequence[str]) -> None:
        """A step has ended; these steps of its run may still come."""
        with self._lock:
            self._users -= 1
            generation, last = self._current, self._users == 0
        if generation is None:
            return
        directory = generation.launch.directory
        if last:
            self._host.lease(directory, held=False)
        item = {"op": "done", "run": run, "step": step, "unfinished": list(unfinished), "keep": self.ask.named}
        try:
            self._host.request("tell_session", dir=directory, item=item, within=_WITHIN)
        except DagsterSlurmError:
            return  # it ends by itself, when its lease is over

    @property
    def followed(self) -> bool:
        """Whether a thread follows the allocation."""
        return self._current is not None and self._current.followed

    # --- the allocation

    def _acquire(self, place: Place, sink: Sink) -> Generation:
        with self._lock:
            current = self._current
            if current is None or current.why_over():
                current = self._current = self._next(place, sink)
            self._host.lease(current.launch.directory, held=True)
            if not current.followed:
                current.followed = True
                threading.Thread(target=self._follow, args=(current,), daemon=True).start()
            return current

    def _next(self, place: Place, sink: Sink) -> Generation:
        """Find the session's latest allocation, or ask for another."""
        before = self._current
        if before is not None:
            _refuse_another(before)
            self._host.lease(before.launch.directory, held=False)
        found, _ = self._host.request("session", base=place.base, key=self.ask.key, say=sink.absent)
        number = int(found["generation"])
        if number < 0:
            number = 0
        elif (before is not None and number <= before.number) or self._is_over(found):
            number += 1
        if before is not None:
            sink.tell(f"The session's allocation {before.job} takes no more work: {before.why_over()}.")
        launch = session_launch(self.ask, place, number)
        submitted = submit(self._host, self._scheduler, launch, sink)
        did = "holds" if submitted.adopted else "was submitted and will hold"
        sink.tell(f"Job {submitted.id} {did} the allocation of session {self.ask.name!r}.")
        log = _Log()
        following = Following(self._host, self._scheduler, launch, submitted, log)
        return Generation(number, launch, submitted, log, following)

    def _is_over(self, found: dict[str, Any]) -> bool:
        if found["closed"] or found["claim"] == CANCELLED or '"event":"exit"' in found["record"]:
            return True
        # one that has begun shows itself by taking the unit; one that has not may have been cancelled
        return not found["claim"] and self._fate(found["dir"]) in ("failed", "succeeded")

    def _ask_about(self, generation: Generation) -> None:
        """Find out whether an allocation that says nothing is still there."""
        if self._fate(generation.launch.directory) in ("failed", "succeeded"):
            generation.closed = generation.closed or "it is gone"

    def _fate(self, directory: str) -> previous.Fate:
        return previous.fate(self._host, self._scheduler, directory)

    def _follow(self, generation: Generation) -> None:
        """Follow an allocation, as long as somebody here needs it."""

        def leave() -> None:
            if self._users == 0 or self._current is not generation:
                raise _Left

        try:
            verdict = generation.following.verdict(on_tick=leave)
            outcome = "success" if verdict.success else "failure"
            self._host.notify("collected", dir=generation.launch.directory, outcome=outcome)
            generation.verdict = verdict
            generation.judged.set()
        except _Left:
            with self._lock:
                generation.followed = False
        except DagsterSlurmError as error:
            generation.log.text += str(error)
            generation.closed = error.message


def _refuse_another(before: Generation) -> None:
    """Raise an error if another allocation would end as the last one did: of itself, or cancelled as it waited."""
    verdict = before.verdict
    if verdict is None or verdict.success or before.following.tracked.record.facts.get("served"):
        return
    if verdict.cause in _OUTSIDE and (before.began or verdict.cause != "cancelled"):
        return
    raise SessionFailed(
        f"the session's job {before.job} ended before it took any work: {verdict.cause.replace('_', ' ')}",
        exit_code=verdict.code,
        log_tail=before.log.text,
        hint="See the log of the session's job; a retry asks for a new allocation.",
        details={"job": before.job, "evidence": verdict.evidence, "run directory": before.launch.directory},
    )
