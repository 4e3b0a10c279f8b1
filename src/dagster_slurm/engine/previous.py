"""What became of a launch that an earlier execution of the step began."""

from __future__ import annotations

import time
from typing import Any, Literal

from dagster_slurm.core import record as records
from dagster_slurm.core.observations import Looked, Recorded
from dagster_slurm.core.states import JobState
from dagster_slurm.core.tracker import Tracked, advance
from dagster_slurm.core.verdict import PATIENCE, Verdict, decide
from dagster_slurm.engine.host import Host, Say
from dagster_slurm.remote.rundir import CANCELLED
from dagster_slurm.schedulers.scheduler import Scheduler

Fate = Literal["unknown", "going on", "succeeded", "failed"]

#: seconds between two looks
_PAUSE_FROM, _PAUSE_TO = 0.5, 8.0


def fate(host: Host, scheduler: Scheduler, directory: str, say: Say | None = None) -> Fate:
    """Return what became of the launch with this run directory.

    ``unknown``: it may never have been submitted. Only a terminal failure that was read there is ``failed``; the same
    directory serves for everything else.
    """
    found, _ = host.request("inspect", dir=directory, say=say, patient=True)
    if found.get("collected"):
        return "succeeded" if found["collected"] == "success" else "failed"
    if found["claim"] == CANCELLED:
        return "failed"  # before it had a job
    record = records.parse(found["record"])
    submitted: dict[str, Any] = found["job"] or {}
    # the one that won the claim is the run, whatever was submitted
    job = str(found["claim"] or (record.start.job if record.start else "") or submitted.get("id") or "")
    if not job:
        return "unknown"
    ticks: str | None = submitted.get("ticks") if submitted.get("id") == job else None
    begun = time.monotonic()
    tracked, _ = advance(Tracked(job, begun, scheduler.asks), Recorded(record, begun, whole=True), begun)
    return _judged(host, scheduler, tracked, directory, ticks)


def is_unread(host: Host, directory: str) -> bool:
    """Whether nobody has taken over how a launch ended that had a job."""
    found, _ = host.request("inspect", dir=directory)
    return not found.get("collected") and found["claim"] != CANCELLED


def _judged(host: Host, scheduler: Scheduler, tracked: Tracked, directory: str, ticks: str | None) -> Fate:
    """Look until it is decided how the job ended, or clear that this is for those to find out who follow it."""
    begun, pause = time.monotonic(), _PAUSE_FROM
    while True:
        decision, ended = decide(tracked, time.monotonic()), tracked.record.exit
        if isinstance(decision, Verdict):
            return "succeeded" if decision.success else "failed"
        if ended is not None and not ended.signalled:
            return "failed" if ended.code else "succeeded"  # why and with what is not the question here
        tracked = _look(host, scheduler, tracked, directory, ticks)
        if _goes_on(tracked) or time.monotonic() - begun > PATIENCE:
            return "going on"
        time.sleep(pause)
        pause = min(pause * 2, _PAUSE_TO)


def _goes_on(tracked: Tracked) -> bool:
    """Whether the job waits or runs; not so if it is only on its way out."""
    word, over = tracked.word, tracked.record.exit is not None
    if word is None:
        return tracked.asks and not over
    return word.state is JobState.PENDING if over else not word.state.terminal


def _look(host: Host, scheduler: Scheduler, tracked: Tracked, directory: str, ticks: str | None) -> Tracked:
    """Ask the scheduler, and read the record again after that."""
    jobs = [{"id": tracked.job, "ticks": ticks}]
    answer, _ = host.request("status", kind=scheduler.kind, jobs=jobs, accounting=bool(scheduler.accounting))
    now = time.monotonic()
    for source in ("accounting", "queue"):
        look = answer[source]
        if look and look["ok"]:
            parse = scheduler.queue_row if source == "queue" else scheduler.account_row
            row = parse(look["rows"], tracked.job)
            seen = Looked("queue" if source == "queue" else "accounting", row, now - float(look["age"]))
            tracked, _ = advance(tracked, seen, now)
    begun = time.monotonic()
    found, _ = host.request("inspect", dir=directory)
    record = records.parse(found["record"])
    return advance(tracked, Recorded(record, begun, whole=True), time.monotonic())[0]
