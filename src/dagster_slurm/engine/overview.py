"""Which runs there are on a host and how each stands, as tracker and verdict judge it; nothing is followed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dagster_slurm.core import record as records
from dagster_slurm.core.observations import Looked, Recorded
from dagster_slurm.core.record import Record
from dagster_slurm.core.tracker import Tracked, advance
from dagster_slurm.core.verdict import Verdict, decide
from dagster_slurm.engine.host import Host
from dagster_slurm.remote.rundir import CANCELLED
from dagster_slurm.schedulers.scheduler import Scheduler
from dagster_slurm.schedulers.step import is_step

#: how many run directories are looked at, the newest first
MOST = 500
#: letters of a Dagster run's id that name it
_LEAST = 4


@dataclass(frozen=True)
class Seen:
    """One run, as it stands.

    Args:
        job: the scheduler's id; empty if it has none yet.
        run: the Dagster run.
        step: the step in it, which is named for the asset.
        call: call and attempt.
        directory: the run directory.
        name: the job's name.
        state: ``pending``, ``running``, ``submitted`` or the like, or how it ended: ``success``, ``out_of_memory``.
        reason: why it waits.
        expected_start: Slurm's guess, as text.
        nodes: where it runs.
        since: seconds since it was submitted.
        restart: how often Slurm started it anew.
        ended: whether nothing is to come.
        submitted: what the submit's answer said: ``id``, ``time``, ``ticks``.
    """

    job: str
    run: str
    step: str
    call: str
    directory: str
    name: str
    state: str
    reason: str = ""
    expected_start: str = ""
    nodes: str = ""
    since: float = 0.0
    restart: int = 0
    ended: bool = False
    submitted: Mapping[str, Any] | None = None


def look(
    host: Host,
    scheduler: Scheduler,
    base: str,
    *,
    everything: bool = False,
    fresh: bool = False,
    most: int = MOST,
    within: float | None = None,
) -> list[Seen]:
    """Return the runs below a folder, the newest first.

    Args:
        host: where.
        scheduler: what is spoken there.
        base: the folder with runs, absolute on the host.
        everything: also those whose result Dagster has taken over.
        fresh: ask the queue now, and do not take the look that all processes of this user share.
        most: how many.
        within: seconds in which the host must answer.

    Raises:
        HostError: the host does not answer.
    """
    answer, _ = host.request(
        "runs", within=within, base=base, all=everything, most=most, queue=scheduler.asks, fresh=fresh
    )
    found: list[dict[str, Any]] = answer["runs"]
    queue: Mapping[str, Any] | None = answer["queue"]
    if not scheduler.asks and found:
        jobs = [{"id": str(item["job"].get("id")), "ticks": item["job"].get("ticks")} for item in found if item["job"]]
        queue = host.request("status", kind=scheduler.kind, jobs=jobs, accounting=False)[0]["queue"]
    now = time.monotonic()
    return [_seen(scheduler, item, queue, now, float(answer["time"])) for item in found]


def _seen(
    scheduler: Scheduler, item: Mapping[str, Any], queue: Mapping[str, Any] | None, now: float, there: float
) -> Seen:
    """Judge one run; ``there``: the host's clock, in seconds since the epoch."""
    record = records.parse(item["record"])
    start = record.start
    submitted: Mapping[str, Any] = item["job"] or {}
    claim = "" if item["claim"] == CANCELLED else str(item["claim"])
    job = claim or (start.job if start else "") or str(submitted.get("id") or "")
    since = max(there - float(submitted.get("time") or there), 0.0)
    tracked = Tracked(job, now - since, scheduler.asks)
    # as of the moment of its last line: a look at the queue that began later tells something
    wrote = now - max(there - _written(record, there), 0.0)
    tracked, _ = advance(tracked, Recorded(record, now, whole=True, claim=claim), wrote)
    if queue is not None and queue["ok"]:
        row = scheduler.queue_row(queue["rows"], job)
        tracked, _ = advance(tracked, Looked("queue", row, now - float(queue["age"])), now)
    word, place = tracked.word, PurePosixPath(item["dir"])
    state, ended = _state(tracked, item, now)
    return Seen(
        job=job,
        run=place.parent.parent.name,
        step=place.parent.name,
        call=place.name,
        directory=str(place),
        name=str(item["name"]),
        state=state,
        reason=word.reason if word is not None and state == "pending" else "",
        expected_start=word.expected_start if word is not None and state == "pending" else "",
        nodes=(start.nodes or start.node)
        if start is not None
        else dict(word.facts).get("NodeList", "")
        if word
        else "",
        since=since,
        restart=record.restart,
        ended=ended,
        submitted=submitted,
    )


def _written(record: Record, there: float) -> float:
    times = [item.time for item in (*record.starts, *record.exits)]
    return min(max(times), there) if times else 0.0


def _state(tracked: Tracked, item: Mapping[str, Any], now: float) -> tuple[str, bool]:
    """Return a word for how it stands, and whether it has ended."""
    if item["collected"]:
        return str(item["collected"]), True
    if item["claim"] == CANCELLED:
        return "cancelled", True
    decision = decide(tracked, now)
    if isinstance(decision, Verdict):
        return decision.cause, True
    word = tracked.word
    if word is not None:
        return word.state.value, False
    return _without_word(tracked), False


def _without_word(tracked: Tracked) -> str:
    """Return a word for a run of which the queue says nothing."""
    if not tracked.job:
        return "not submitted"
    if tracked.started and (tracked.record.exit is not None or tracked.absences):
        return "ending"
    if tracked.started:
        return "running"
    return "gone" if tracked.absences else "submitted"


def end(host: Host, scheduler: Scheduler, seen: Seen) -> list[str]:
    """Cancel the job of a run directory; return the ids that were asked for.

    Raises:
        HostError: the host does not answer.
        RequestFailed: the scheduler did not take it.
    """
    answer, _ = host.request(
        "cancel",
        dir=seen.directory,
        # to scancel a unit that has not begun ("7.pending") may be all of the session's job, which others share
        kind="step" if scheduler.asks and is_step(seen.job) else scheduler.kind,
        find=scheduler.find(seen.name) if seen.name else [],
        no_job=scheduler.no_job,
    )
    return list(answer["cancelled"])


def matching(runs: Sequence[Seen], text: str) -> list[Seen]:
    """Return the runs that somebody means by a job's id or name, a step, or the beginning of a Dagster run's id."""
    by_job = [seen for seen in runs if text in (seen.job, seen.name)]
    by_step = [seen for seen in runs if text == seen.step]
    by_run = [seen for seen in runs if len(text) >= _LEAST and seen.run.startswith(text)]
    return by_job or by_step or by_run
