"""What became of a launch that an earlier execution of the step began."""

from __future__ import annotations

import time
from typing import Any, Literal

from dagster_slurm.core import record as records
from dagster_slurm.core.tracker import Looked, Recorded, Tracked, advance
from dagster_slurm.core.verdict import PATIENCE, Verdict, decide
from dagster_slurm.engine.host import Host, Say
from dagster_slurm.remote.rundir import CANCELLED
from dagster_slurm.schedulers.scheduler import Scheduler

Fate = Literal["unknown", "going on", "succeeded", "failed"]

_PAUSE = 0.5


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
    job = str(submitted.get("id") or found["claim"] or (record.start.job if record.start else ""))
    if not job:
        return "unknown"
    ticks: str | None = submitted.get("ticks")
    begun = time.monotonic()
    tracked, _ = advance(Tracked(job, begun, scheduler.asks), Recorded(record, begun, whole=True), begun)
    while True:
        decision = decide(tracked, time.monotonic())
        if isinstance(decision, Verdict):
            return "succeeded" if decision.success else "failed"
        tracked = _look(host, scheduler, tracked, ticks)
        word = tracked.word
        settled = tracked.record.exit is None and (word is None or not word.state.terminal)
        if (settled and scheduler.asks) or time.monotonic() - begun > PATIENCE:
            return "going on"
        if not scheduler.asks and word is not None:
            return "going on"
        time.sleep(_PAUSE)


def _look(host: Host, scheduler: Scheduler, tracked: Tracked, ticks: str | None) -> Tracked:
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
    return advance(tracked, Recorded(tracked.record, now, whole=True), now)[0]
