"""What all calls of a step do: begin a launch or take one up again, and say and note what became of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from dagster_slurm.core.causes import job_error, kind_of
from dagster_slurm.core.facts import Ended, facts
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.engine import previous
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, cancel_others
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import HostError, JobCancelled, JobError
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.interruption import INTERRUPTS, run_is_cancelled
from dagster_slurm.pipes.telling import Telling


class Tailed(Protocol):
    """A run that was followed."""

    def tail(self, file: str) -> str:
        """Return the end of a file in its directory."""
        ...


Judge = Callable[[Place, LaunchKey], previous.Fate]


def where(
    target: Target, context: handles.Context, name: str, *, unread: bool = False, fate: Judge | None = None
) -> tuple[Place, LaunchKey, handles.Earlier | None]:
    """Return where runs go, the launch to begin or to take up again, and for that where it was written down.

    Args:
        target: where.
        context: of the step.
        name: which call of it.
        unread: a launch that failed is taken up again, too, if nobody has read its end: somebody is to decide on that.
        fate: says what became of an earlier launch that has no run directory of its own.

    Raises:
        JobCancelled: the run was cancelled meanwhile.
        HostError: the host never answered, or refuses us.
    """
    earlier = handles.find(context, name)
    try:
        place = target.place(_say(context))
        fate = fate or partial(_fate, target, context, unread=unread)
        return (place, *_key(context, name, place, earlier, fate))
    except INTERRUPTS:
        if not run_is_cancelled(context):
            raise
        job = f"; an earlier job {earlier.key.job_name} may still run" if earlier else ""
        raise JobCancelled(f"the run was cancelled before anything was submitted{job}") from None


def announce(context: handles.Context, target: Target, submitted: Submitted) -> None:
    """Say that the job exists."""
    if submitted.adopted:
        kind = kind_of(submitted.id)
        context.log.info(f"Re-attached to {kind} {submitted.id} on {target.host.name}; nothing was submitted.")
    elif not target.local:
        context.log.info(f"Submitted job {submitted.id} to {target.host.name}.")


def collected(target: Target, launch: Launch, submitted: Submitted, job: str, *, success: bool) -> None:
    """Note on the host that the result was taken over: its variables go now, its directory in some days."""
    target.host.notify("collected", dir=launch.directory, outcome="success" if success else "failure")
    _end_others(target, launch, submitted, job)


def clear(target: Target, launch: Launch, submitted: Submitted, job: str) -> None:
    """Note on the host that nothing will run here again, and another job goes on: only its variables go."""
    target.host.notify("collected", dir=launch.directory, outcome=None)
    _end_others(target, launch, submitted, job)


def _end_others(target: Target, launch: Launch, submitted: Submitted, job: str) -> None:
    if submitted.doubtful or job != submitted.id:
        cancel_others(target.host, target.scheduler, launch, job)


def log_of(following: Tailed, ended: Ended, telling: Telling) -> str:
    """Return the lines that show a failure: the payload's, or the scheduler's where the payload has nothing to say."""
    log = telling.last_lines()
    if ended.verdict.exit is None or not log:
        log = f"{log}\n{following.tail('slurm.log')}".strip()
    return log


def error_of(launch: Launch, ended: Ended, log: str, exception: Mapping[str, Any] | None) -> JobError:
    """Return the error for a run that did not end well."""
    error = job_error(ended, shlex.join(launch.spec.command), log[-4000:], exception)
    error.facts = facts(ended)
    return error


def _fate(target: Target, context: handles.Context, place: Place, key: LaunchKey, *, unread: bool) -> previous.Fate:
    directory = place.directory(key)
    found = previous.fate(target.host, target.scheduler, directory, _say(context))
    if found == "failed" and unread and previous.is_unread(target.host, directory):
        return "going on"
    return found


def _key(
    context: handles.Context, name: str, place: Place, earlier: handles.Earlier | None, fate: Judge
) -> tuple[LaunchKey, handles.Earlier | None]:
    """A fresh directory is made only after a terminal failure was read in the old one."""
    if earlier is None:
        return handles.fresh(context, name), None
    if fate(place, earlier.key) == "failed":
        return handles.fresh(context, name, earlier), None
    return earlier.key, earlier


def _say(context: handles.Context) -> Callable[[HostError], None]:
    def say(error: HostError) -> None:
        context.log.warning(f"{error}\nTrying again; nothing was submitted yet.")

    return say
