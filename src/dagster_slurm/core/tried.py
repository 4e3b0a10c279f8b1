"""The jobs that one call has needed so far, where one follows another: what Dagster's event log remembers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dagster_slurm.core.facts import Fact
from dagster_slurm.core.resources import Resources

#: figures that add up over the jobs of an asset
_ADDED = ("elapsed_seconds", "cpu_seconds", "node_hours", "gpu_hours", "queue_wait_seconds")


@dataclass(frozen=True)
class Tried:
    """A job of a call that has ended, and after which another one was submitted.

    Args:
        attempt: its run directory's number.
        job: its id.
        cause: of its end.
        kind: how the next one relates to it.
        how: what the next one asks for in another way, for people.
        change: ... and as options; of all that was tried so far, together.
        facts: figures that add up.
    """

    attempt: int
    job: str
    cause: str
    kind: str
    how: str
    change: Mapping[str, str | int]
    facts: Mapping[str, Fact]

    def text(self) -> str:
        """Say it in half a line."""
        return f"job {self.job}: {self.cause}, then {'continued' if self.kind == 'continue' else 'again'} {self.how}"


def count(tried: Sequence[Tried], kind: str) -> int:
    """Return how many of the next jobs began the work anew, or continued it."""
    return sum(item.kind == kind for item in tried)


def next_change(tried: Sequence[Tried], change: Resources) -> dict[str, str | int]:
    """Return all that the next job asks for in another way than the first one."""
    names = ("mem", "mem_per_cpu", "time_limit", "exclude")
    own: dict[str, str | int] = {name: getattr(change, name) for name in names if getattr(change, name) is not None}
    return {**(tried[-1].change if tried else {}), **own}


def changed(asked: Resources, tried: Sequence[Tried]) -> Resources:
    """Return what the next job asks for, after those that were tried."""
    change = cast("dict[str, Any]", dict(tried[-1].change)) if tried else {}
    return Resources(**change).over(asked)


def continuation(tried: Sequence[Tried]) -> int:
    """Return which continuation of the work the next job is; a retry of a continuation is the same one again."""
    return count(tried, "continue")


def summed(tried: Sequence[Tried], facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return what is to be said of an asset that took several jobs: the last one's facts, with the costs of all."""
    found = dict(facts)
    if not tried:
        return found
    every = [item.facts for item in tried] + [facts]
    for name in _ADDED:
        figures = [float(item[name]) for item in every if name in item]
        if figures:
            found[name] = round(sum(figures), 5)
    efficiency = _efficiency(every)
    found.pop("cpu_efficiency", None)
    if efficiency is not None:
        found["cpu_efficiency"] = efficiency
    found["retries"] = count(tried, "retry")
    found["continuations"] = count(tried, "continue")
    found["earlier_jobs"] = "; ".join(item.text() for item in tried)
    return found


def figures(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return those facts of a job that count when an asset takes several."""
    return {name: facts[name] for name in (*_ADDED, "cpu_efficiency") if name in facts}


def _efficiency(every: Sequence[Mapping[str, Fact]]) -> float | None:
    """Return CPU time against what was there, over all jobs; None if one of them does not tell."""
    parts = [(float(item.get("cpu_seconds", 0)), float(item.get("cpu_efficiency", 0))) for item in every]
    if not all(cpu > 0 and efficiency > 0 for cpu, efficiency in parts):
        return None
    return round(sum(cpu for cpu, _ in parts) / sum(cpu / efficiency for cpu, efficiency in parts), 3)


def packed(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """Return what Dagster's event log is to remember."""
    return [{**vars(item), "change": dict(item.change), "facts": dict(item.facts)} for item in tried]


def unpacked(said: object) -> tuple[Tried, ...]:
    """Return what the event log remembers; nothing, of a launch before which there was none."""
    return tuple(Tried(**item) for item in cast("list[dict[str, Any]]", said or []))
