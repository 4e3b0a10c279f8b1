"""One call of ``run`` inside a step: re-attach or begin, follow, judge, and give the results back."""

from __future__ import annotations

from typing import Any

from dagster._core.pipes.utils import open_pipes_session
from dagster._utils.interrupts import capture_interrupts

from dagster_slurm.core import data
from dagster_slurm.core.facts import Ended
from dagster_slurm.core.spec import RunPaths
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, submit
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.unit_run import UnitRun
from dagster_slurm.errors import DagsterSlurmError, JobCancelled, JobError
from dagster_slurm.pipes import past
from dagster_slurm.pipes.attendance import attending
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.completed import CompletedRun
from dagster_slurm.pipes.context_file import ContextFile
from dagster_slurm.pipes.deadline import Deadline
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.fetched import bring, shown
from dagster_slurm.pipes.interruption import INTERRUPTS, end_or_leave, run_is_cancelled
from dagster_slurm.pipes.launching import announce, error_of, log_of
from dagster_slurm.pipes.outputs import merged, own_metadata, say_what_is_empty
from dagster_slurm.pipes.planning import Planning
from dagster_slurm.pipes.reader import RunMessageReader
from dagster_slurm.pipes.series import Series
from dagster_slurm.pipes.telling import Telling
from dagster_slurm.pipes.warmth import beside


def run(target: Target, call: Call) -> CompletedRun:
    """Run a payload to its end.

    Raises:
        SlurmFailure: it did not end well, or could not begin; its ``error`` is one of ours.
    """
    try:
        with attending(target.session or beside(target, call), call.context, call.resource_keys):
            return _run(target, call)
    except JobError as error:
        raise failure(error, dict(error.facts)) from None
    except DagsterSlurmError as error:
        raise failure(error) from None


def _run(target: Target, call: Call) -> CompletedRun:
    if run_is_cancelled(call.context):
        raise JobCancelled("the run is being cancelled: nothing was submitted")
    series = Series(target, call)
    while True:
        try:
            return _attempt(target, call, series)
        except DagsterSlurmError as error:
            if not series.goes_on_after(error):
                raise
            if run_is_cancelled(call.context):
                raise JobCancelled("the run was cancelled: nothing more is submitted") from None


def _attempt(target: Target, call: Call, series: Series) -> CompletedRun:
    paths = RunPaths(series.place.directory(series.key))
    reader = RunMessageReader(paths.messages)
    injector = ContextFile(paths.context, call.context)
    with open_pipes_session(call.context, injector, reader, extras=_extras(call, paths)) as session:
        telling = Telling(call.context, reader, local=target.local)
        planning = Planning(
            target=target,
            call=call,
            series=series,
            variables=session.get_bootstrap_env_vars(),
            context=injector.content,
            sink=telling,
        )
        launch = planning.launch()
        series.remember(launch.directory)
        for remark in launch.remarks:
            call.context.log.warning(remark)
        deadline = Deadline(target, launch, telling, call.poll_timeout, series.begun)
        unit = None
        if target.session is not None:
            unit = UnitRun(target.session, target.host, planning.work, telling)
        submitted, following, verdict = _to_the_end(target, call, launch, telling, deadline=deadline, unit=unit)
        launch = launch if unit is None else unit.launch
        telling.echo.finish()
        exception = reader.finish(following.tracked.record.restart, success=verdict.success)
        ended = Ended(following.tracked, verdict, launch.spec.resources, launch.directory, submitted.time)
        if not verdict.success:
            error = error_of(launch, ended, log_of(following, ended, telling), exception)
            series.failed(launch, submitted, ended, error)
            raise error
        series.succeeded(launch, submitted, ended.tracked.job)
        outputs = following.tracked.record.outputs
        say_what_is_empty(call.context, call.ask.data, outputs)
        fetched = bring(target, call.context, call.ask, launch, outputs)
        pictures = shown(call.context, call.ask.data, fetched)
        own = merged(own_metadata(call.ask.data, outputs, target.host.name), pictures)
        known = series.facts(ended)
        known = known if target.local else {**known, **past.hint(call.context, known)}
        return CompletedRun(session, known, own, fetched)


def _extras(call: Call, paths: RunPaths) -> dict[str, Any]:
    """What the user hands over, and where results are read and written."""
    return {**(data.extras(call.ask.data, paths.directory) if call.ask.data else {}), **call.extras}


def _to_the_end(
    target: Target, call: Call, launch: Launch, telling: Telling, *, deadline: Deadline, unit: UnitRun | None
) -> tuple[Submitted, Following, Verdict]:
    submitted: Submitted | None = None
    telling.on_delay = deadline.check
    try:
        if unit is None:
            submitted = submit(target.host, target.scheduler, launch, telling)
            announce(call.context, target, submitted)
            following = deadline.following = Following(target.host, target.scheduler, launch, submitted, telling)
            return submitted, following, following.verdict(on_tick=deadline.check)
        submitted = unit.hand_in()
        if not unit.handed_over:
            announce(call.context, target, submitted)
        deadline.following = unit
        verdict = unit.verdict(on_tick=deadline.check)
    except INTERRUPTS:
        with capture_interrupts():  # a second signal must not keep us from cancelling
            end_or_leave(call.context, target, launch, submitted, forward=call.forward_termination)
        raise
    return unit.submitted or submitted, unit.following, verdict
