"""Sessions as one process sees them: an allocation is found or asked for, work is handed to it, and it is let go.

A session is a run whose script is a holder: submitted, followed and judged as any other. Its generations lie side by
side in one folder, so that processes that race get or create the same one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dagster_slurm.core.tracker import Tracked
from dagster_slurm.engine import previous
from dagster_slurm.engine.answers import SessionOver
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.generation import Generation, Log
from dagster_slurm.engine.host import Host
from dagster_slurm.engine.launch import Launch, Sink
from dagster_slurm.engine.session_launch import SessionAsk, session_launch
from dagster_slurm.engine.submission import Submitted, adopted, cancel, submit
from dagster_slurm.errors import DagsterSlurmError, SessionFailed
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
        self._successor: Launch | None = None

    def enter(self) -> None:
        """One more step of this process needs it."""
        with self._lock:
            self._users += 1

    def submit(
        self, work: Callable[[Generation | None], tuple[Launch, Mapping[str, Any]]], sink: Sink
    ) -> tuple[Submitted, Generation | None, Launch]:
        """Hand a unit over, or adopt the one that has begun. May be repeated, by any process, at any time.

        Args:
            work: returns what an allocation is handed, and what that asks for; for none, if it has begun.
            sink: hears of delays.

        Returns:
            The unit, and the allocation that it was handed to; none if it has begun, wherever that was.

        Raises:
            SessionFailed: the session's allocation ended by itself.
            SubmissionRefused: Slurm will not take it.
            HostError, RequestFailed: as for any submission.
        """
        launch, flags = work(None)
        found, _ = self._host.request("inspect", dir=launch.directory, say=sink.absent)
        if found["claim"] and found["claim"] != CANCELLED:
            return adopted(dict(found, adopted=True), doubtful=False), None, launch
        while True:
            generation = self._acquire(Place(launch.base, launch.spec.sync), sink)
            try:
                launch, flags = work(generation)
                unit = {"session": generation.launch.directory, "holder": generation.job, "flags": dict(flags)}
                launch = replace(launch, unit=unit)
                return submit(self._host, Step(), launch, sink), generation, launch
            except SessionOver as over:
                generation.closed = over.message

    def watch(self, generation: Generation | None, sink: Sink) -> Callable[[Tracked], None]:
        """Return what looks after a unit that was handed over, once a second; it raises :class:`Moved`."""
        since = time.monotonic()

        def look(tracked: Tracked) -> None:
            nonlocal since
            if generation is None or tracked.started or tracked.record.exit is not None:
                return
            why = generation.why_over()
            if why:
                raise Moved(why)
            self._look_ahead(generation, sink)
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
        item = {"op": "done", "run": run, "step": step, "unfinished": list(unfinished), "keep": self.ask.named}
        for launch in (generation.launch, self._successor):
            if launch is None:
                continue
            if last:
                self._host.lease(launch.directory, held=False)
            # else it ends by itself, when its lease is over
            with contextlib.suppress(DagsterSlurmError):
                self._host.request("tell_session", dir=launch.directory, item=item, within=_WITHIN)
        if last and self._successor is not None and not unfinished and not self.ask.named:
            with contextlib.suppress(DagsterSlurmError):
                cancel(self._host, self._scheduler, self._successor, within=_WITHIN)

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
                current.judged.clear()
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
        self._successor = None
        did = "holds" if submitted.adopted else "was submitted and will hold"
        sink.tell(f"Job {submitted.id} {did} the allocation of session {self.ask.name!r}.")
        log = Log()
        following = Following(self._host, self._scheduler, launch, submitted, log)
        return Generation(number, launch, submitted, log, following)

    def _look_ahead(self, generation: Generation, sink: Sink) -> None:
        """Ask for the next allocation while this one still works, if it says so: its time in the queue is hidden."""
        with contextlib.suppress(IndexError):  # another thread was faster
            sink.tell(generation.news.pop(0))
        # not with the lock yet: whoever has it may be asking for an allocation
        if generation.prepared or not generation.wants_successor:
            return
        with self._lock:
            if generation.prepared:
                return
            generation.prepared = True
        threading.Thread(target=self._prepare, args=(generation,), daemon=True).start()

    def _prepare(self, generation: Generation) -> None:
        place = Place(generation.launch.base, generation.launch.spec.sync)
        launch = session_launch(self.ask, place, generation.number + 1)
        try:
            submitted = submit(self._host, self._scheduler, launch, generation.log)
        except DagsterSlurmError as error:
            # nothing is lost: whoever is left waiting asks for it again, and is told then
            generation.news.append(f"No successor of allocation {generation.job} can be had yet: {error.message}")
            return
        with self._lock:
            if self._users and self._current is generation:
                self._successor = launch
                self._host.lease(launch.directory, held=True)
        generation.news.append(
            f"Job {submitted.id} will go on with the session's work: allocation {generation.job} nears its time limit."
        )

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
        except _Left:
            pass
        except DagsterSlurmError as error:
            # the way there is barred for good; whether the allocation is over, nobody here knows
            generation.log.text += str(error)
        finally:
            with self._lock:
                generation.followed = False
            generation.judged.set()


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
