"""One call of ``run_heterogeneous``: one job, and for each component a Pipes session and a verdict of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from dagster._utils.interrupts import capture_interrupts

from dagster_slurm.core.facts import Ended
from dagster_slurm.core.idle import component_facts
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.components import paths_of, plan_together
from dagster_slurm.engine.job_of_components import JobOfComponents
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, submit
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import JobCancelled
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.deadline import Deadline
from dagster_slurm.pipes.gathered import CompletedComponents
from dagster_slurm.pipes.interruption import INTERRUPTS, end_or_leave, run_is_cancelled
from dagster_slurm.pipes.launching import announce, collected, where
from dagster_slurm.pipes.parts import CallTogether, Ends, Part, failing, opened
from dagster_slurm.pipes.parts_results import PartsResults
from dagster_slurm.pipes.telling import Telling


def run_together(target: Target, call: CallTogether) -> CompletedComponents:
    """Run the components of a job to their end.

    Raises:
        SlurmFailure: one did not end well, or they could not begin; its ``error`` is one of ours.
    """
    with failing():
        return _run(target, call)


def _run(target: Target, call: CallTogether) -> CompletedComponents:
    if run_is_cancelled(call.context):
        raise JobCancelled("the run is being cancelled: nothing was submitted")
    place, key, taken_up = where(target, call.context, call.name)
    with contextlib.ExitStack() as stack:
        parts = [
            stack.enter_context(opened(call, number, paths_of(place, key, item.id), job=place.directory(key)))
            for number, item in enumerate(call.together.asks)
        ]
        launch = plan_together(call.together, key, place, [part.bootstrap for part in parts])
        handles.remember(call.context, key, launch.directory, target.host.name, taken_up)
        for remark in launch.remarks:
            call.context.log.warning(remark)
        return _Job(target, call, launch, parts).to_the_end()


class _Job:
    """The job that the components are in."""

    def __init__(self, target: Target, call: CallTogether, launch: Launch, parts: Sequence[Part]) -> None:
        self._target = target
        self._call = call
        self._launch = launch
        self._parts = parts
        self._telling = Telling(call.context, None, local=target.local)
        self._deadline = Deadline(target, launch, self._telling, call.poll_timeout)
        self._telling.on_delay = self._deadline.check

    def to_the_end(self) -> CompletedComponents:
        submitted: Submitted | None = None
        host, scheduler = self._target.host, self._target.scheduler
        try:
            submitted = submit(host, scheduler, self._launch, self._telling)
            announce(self._call.context, self._target, submitted)
            sinks = [part.telling for part in self._parts]
            job = JobOfComponents(host, scheduler, self._launch, submitted, sink=self._telling, sinks=sinks)
            self._deadline.following = job.following
            verdict, verdicts = job.verdicts(self._deadline.check)
        except INTERRUPTS:
            with capture_interrupts():  # a second signal must not keep us from cancelling
                end_or_leave(
                    self._call.context, self._target, self._launch, submitted, forward=self._call.forward_termination
                )
            raise
        return self._judged(submitted, job, verdict, verdicts)

    def _judged(
        self, submitted: Submitted, job: JobOfComponents, verdict: Verdict, verdicts: Sequence[Verdict]
    ) -> CompletedComponents:
        tracked = job.following.tracked
        whole = Ended(tracked, verdict, self._launch.spec.blocks[0], self._launch.directory, submitted.time)
        self._telling.echo.finish()
        ends = Ends(self._call)
        for part, member, decided, launch in zip(self._parts, job.members, verdicts, self._launch.members, strict=True):
            resources = launch.spec.resources
            ended = Ended(member.tracked, decided, resources, launch.directory, submitted.time, part.id)
            ends.add(part, ended, launch, member, partial(component_facts, job=whole))
        collected(self._target, self._launch, submitted, tracked.job, success=not ends.errors)
        results = PartsResults(
            target=self._target,
            context=self._call.context,
            together=self._call.together,
            launches=self._launch.members,
            outputs=[member.tracked.record.outputs for member in job.members],
            shared=tracked.record.outputs,
        )
        return ends.result((self._launch, whole), results)
