"""One call of ``run`` inside a step: re-attach or begin, follow, judge, and give the results back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dagster._core.pipes.utils import open_pipes_session
from dagster._utils.interrupts import capture_interrupts

from dagster_slurm.core import data
from dagster_slurm.core.causes import job_error, kind_of
from dagster_slurm.core.facts import Ended, facts
from dagster_slurm.core.spec import LaunchKey, RunPaths
from dagster_slurm.core.tracker import Tracked
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine import previous
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.plan import Ask, Place, plan
from dagster_slurm.engine.sessions import Moved
from dagster_slurm.engine.submission import Submitted, cancel_others, submit
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.units import flags
from dagster_slurm.errors import DagsterSlurmError, HostError, JobCancelled, JobError
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.attendance import attending, run_and_step
from dagster_slurm.pipes.completed import CompletedRun
from dagster_slurm.pipes.context_file import ContextFile
from dagster_slurm.pipes.deadline import Deadline
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.interruption import INTERRUPTS, end_or_leave, run_is_cancelled
from dagster_slurm.pipes.outputs import OwnFacts, own_facts, say_what_is_empty
from dagster_slurm.pipes.reader import RunMessageReader
from dagster_slurm.pipes.telling import Telling

Look = Callable[[Tracked], None]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of ``run``.

    Args:
        context: of the step.
        name: what tells it from other calls in the step.
        extras: for the payload.
        ask: what to run.
        poll_timeout: seconds after which to give up and cancel; None waits as long as it takes.
        forward_termination: whether a cancelled run cancels its job.
        resource_keys: the step's resources that lead to the same session, where one is used.
    """

    context: handles.Context
    name: str
    ask: Ask
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])
    poll_timeout: float | None = None
    forward_termination: bool = True
    resource_keys: tuple[str, ...] = ()


def run(target: Target, call: Call) -> CompletedRun:
    """Run a payload to its end.

    Raises:
        SlurmFailure: it did not end well, or could not begin; its ``error`` is one of ours.
    """
    try:
        with attending(target.session, call.context, call.resource_keys):
            return _run(target, call)
    except JobError as error:
        raise failure(error, dict(error.facts)) from None
    except DagsterSlurmError as error:
        raise failure(error) from None


def _run(target: Target, call: Call) -> CompletedRun:
    if run_is_cancelled(call.context):
        raise JobCancelled("the run is being cancelled: nothing was submitted")
    place, key, taken_up = _where(target, call)
    paths = RunPaths(place.directory(key))
    reader = RunMessageReader(paths.messages)
    injector = ContextFile(paths.context, call.context)
    with open_pipes_session(call.context, injector, reader, extras=_extras(call, place, paths)) as session:
        launch = plan(call.ask, key, place, bootstrap=session.get_bootstrap_env_vars(), context=injector.content)
        handles.remember(call.context, key, launch.directory, target.host.name, taken_up)
        for remark in launch.remarks:
            call.context.log.warning(remark)
        telling = Telling(call.context, reader, local=target.local)
        submitted, following, verdict = _to_the_end(target, call, launch, telling)
        telling.echo.finish()
        exception = reader.finish(following.tracked.record.restart, success=verdict.success)
        ended = Ended(following.tracked, verdict, launch.spec.resources, launch.directory, submitted.time)
        error = None if verdict.success else _error(launch, ended, _log(following, ended, telling), exception)
        _collected(target, launch, submitted, ended)
        if error is not None:
            raise error
        say_what_is_empty(call.context, call.ask.data, following.tracked.record.outputs)
        return CompletedRun(session, facts(ended), _own(call, place, following))


def _extras(call: Call, place: Place, paths: RunPaths) -> dict[str, Any]:
    """What the user hands over, and where results are read and written."""
    wanted = call.ask.data
    return {**(data.extras(wanted, wanted.at(place.base), paths.directory) if wanted else {}), **call.extras}


def _own(call: Call, place: Place, following: Following) -> OwnFacts:
    """What there is of each asset's result."""
    wanted = call.ask.data
    return own_facts(wanted, following.tracked.record.outputs, wanted.at(place.base)) if wanted else {}


def _to_the_end(target: Target, call: Call, launch: Launch, telling: Telling) -> tuple[Submitted, Following, Verdict]:
    submitted: Submitted | None = None
    deadline = Deadline(target, launch, telling, call.poll_timeout)
    telling.on_delay = deadline.check
    try:
        while True:
            submitted, look = _hand_in(target, call, launch, telling)
            following = Following(target.host, target.scheduler, launch, submitted, telling)
            deadline.following = following
            try:
                return submitted, following, following.verdict(on_tick=partial(_tick, deadline, look, following))
            except Moved as moved:
                call.context.log.warning(f"The work waits, and goes to another allocation: {moved}.")
    except INTERRUPTS:
        with capture_interrupts():  # a second signal must not keep us from cancelling
            end_or_leave(call.context, target, launch, submitted, forward=call.forward_termination)
        raise


def _hand_in(target: Target, call: Call, launch: Launch, telling: Telling) -> tuple[Submitted, Look | None]:
    """Submit the launch, or hand it to the session; return what is to be looked at while it goes on."""
    session = target.session
    if session is None:
        submitted = submit(target.host, target.scheduler, launch, telling)
        _announce(target, call, submitted)
        return submitted, None
    asked = flags(launch.spec.key, launch.spec.resources, *run_and_step(call.context))
    submitted, generation = session.submit(launch, Place(launch.base, launch.spec.sync), asked, telling)
    if generation is None:
        _announce(target, call, submitted)
    return submitted, session.watch(generation)


def _tick(deadline: Deadline, look: Look | None, following: Following) -> None:
    deadline.check()
    if look is not None:
        look(following.tracked)


def _announce(target: Target, call: Call, submitted: Submitted) -> None:
    if submitted.adopted:
        kind = kind_of(submitted.id)
        call.context.log.info(f"Re-attached to {kind} {submitted.id} on {target.host.name}; nothing was submitted.")
    elif not target.local:
        call.context.log.info(f"Submitted job {submitted.id} to {target.host.name}.")


def _collected(target: Target, launch: Launch, submitted: Submitted, ended: Ended) -> None:
    """Note on the host that the result was taken over: its variables go now, its directory in some days."""
    outcome = "success" if ended.verdict.success else "failure"
    target.host.notify("collected", dir=launch.directory, outcome=outcome)
    if submitted.doubtful or ended.tracked.job != submitted.id:
        cancel_others(target.host, target.scheduler, launch, ended.tracked.job)


def _log(following: Following, ended: Ended, telling: Telling) -> str:
    """Return the lines that show a failure: the payload's, or the scheduler's where the payload has nothing to say."""
    log = telling.last_lines()
    if ended.verdict.exit is None or not log:
        log = f"{log}\n{following.tail('slurm.log')}".strip()
    return log


def _error(launch: Launch, ended: Ended, log: str, exception: Mapping[str, Any] | None) -> JobError:
    error = job_error(ended, shlex.join(launch.spec.command), log[-4000:], exception)
    error.facts = facts(ended)
    return error


def _where(target: Target, call: Call) -> tuple[Place, LaunchKey, handles.Earlier | None]:
    """Return where runs go, the launch to begin or to take up again, and for that where it was written down."""
    earlier = handles.find(call.context, call.name)
    try:
        place = target.place(_say(call.context))
        return (place, *_key(target, call, place, earlier))
    except INTERRUPTS:
        if not run_is_cancelled(call.context):
            raise
        job = f"; an earlier job {earlier.key.job_name} may still run" if earlier else ""
        raise JobCancelled(f"the run was cancelled before anything was submitted{job}") from None


def _key(
    target: Target, call: Call, place: Place, earlier: handles.Earlier | None
) -> tuple[LaunchKey, handles.Earlier | None]:
    """A fresh directory is made only after a terminal failure was read in the old one."""
    if earlier is None:
        return handles.fresh(call.context, call.name), None
    fate = previous.fate(target.host, target.scheduler, place.directory(earlier.key), _say(call.context))
    if fate == "failed":
        return handles.fresh(call.context, call.name, earlier), None
    return earlier.key, earlier


def _say(context: handles.Context) -> Callable[[HostError], None]:
    def say(error: HostError) -> None:
        context.log.warning(f"{error}\nTrying again; nothing was submitted yet.")

    return say
