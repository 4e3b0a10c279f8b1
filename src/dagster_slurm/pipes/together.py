"""One call of ``run_heterogeneous``: one job, and for each component a Pipes session and a verdict of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagster import PipesSession
from dagster._core.pipes.utils import open_pipes_session
from dagster._utils.interrupts import capture_interrupts

from dagster_slurm.core import data
from dagster_slurm.core.facts import Ended
from dagster_slurm.core.idle import component_facts
from dagster_slurm.core.spec import LaunchKey, RunPaths
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.abreast import Abreast, OneAtATime
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.components import Bootstrap, Together, paths_of, plan_together
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted, submit
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import DagsterSlurmError, JobCancelled, JobError
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.context_file import ContextFile
from dagster_slurm.pipes.deadline import Deadline
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.fetched import Fetched, bring, shown
from dagster_slurm.pipes.gathered import Assets, CompletedComponents, Told, all_metadata, record, results_of
from dagster_slurm.pipes.interruption import INTERRUPTS, end_or_leave, run_is_cancelled
from dagster_slurm.pipes.launching import announce, collected, error_of, log_of, where
from dagster_slurm.pipes.outputs import Own, merged, own_metadata, say_what_is_empty
from dagster_slurm.pipes.reader import RunMessageReader
from dagster_slurm.pipes.telling import Telling

#: of a job as a whole: if all its components ended for one of these, it is the job's own end
_OF_THE_JOB = frozenset({"cancelled", "preempted", "time_limit", "node_failure", "interrupted", "lost"})


@dataclass(frozen=True, kw_only=True)
class CallTogether:
    """One call of ``run_heterogeneous``.

    Args:
        context: of the step.
        name: what tells it from other calls in the step.
        together: what to run.
        extras: for each payload.
        assets: which component makes which assets.
        poll_timeout: seconds after which to give up and cancel; None waits as long as it takes.
        forward_termination: whether a cancelled run cancels its job.
    """

    context: handles.Context
    name: str
    together: Together
    extras: Sequence[Mapping[str, Any]]
    assets: Assets
    poll_timeout: float | None = None
    forward_termination: bool = True


@dataclass
class _Part:
    """A component on its way: where what it says goes, and how it ended."""

    id: str
    session: PipesSession
    reader: RunMessageReader
    injector: ContextFile
    telling: Telling
    following: Following | None = None


class _Failed(Exception):
    """The error of the step, with what is known of all components."""

    def __init__(self, error: JobError, told: Sequence[Told]) -> None:
        super().__init__(error.message)
        self.error = error
        self.told = told


def run_together(target: Target, call: CallTogether) -> CompletedComponents:
    """Run the components of a job to their end.

    Raises:
        SlurmFailure: one did not end well, or they could not begin; its ``error`` is one of ours.
    """
    try:
        return _run(target, call)
    except _Failed as failed:
        raise failure(failed.error, dict(failed.error.facts), all_metadata(failed.told)) from None
    except JobError as error:
        raise failure(error, dict(error.facts)) from None
    except DagsterSlurmError as error:
        raise failure(error) from None


def _run(target: Target, call: CallTogether) -> CompletedComponents:
    if run_is_cancelled(call.context):
        raise JobCancelled("the run is being cancelled: nothing was submitted")
    place, key, taken_up = where(target, call.context, call.name)
    with contextlib.ExitStack() as stack:
        parts = [
            stack.enter_context(
                _opened(call, number, paths_of(place, key, call.together.asks[number].id), _shared(call, place, key))
            )
            for number in range(len(call.extras))
        ]
        launch = plan_together(
            call.together,
            key,
            place,
            [Bootstrap(part.session.get_bootstrap_env_vars(), part.injector.content) for part in parts],
        )
        handles.remember(call.context, key, launch.directory, target.host.name, taken_up)
        for remark in launch.remarks:
            call.context.log.warning(remark)
        return _Job(target, call, launch, parts).to_the_end()


@contextlib.contextmanager
def _opened(call: CallTogether, number: int, paths: RunPaths, shared: Mapping[str, Any]) -> Generator[_Part]:
    """Open the Pipes session of a component."""
    name = call.together.asks[number].id
    reader = RunMessageReader(paths.messages)
    own = [asset.to_escaped_user_string() for asset in call.assets.get(name, ())]
    injector = ContextFile(paths.context, call.context, own or None)
    telling = Telling(call.context, reader, local=call.together.local, component=name)
    wanted = call.together.asks[number].ask.data
    extras = data.together(data.extras(wanted, paths.directory) if wanted else {}, shared)
    with open_pipes_session(call.context, injector, reader, extras={**extras, **call.extras[number]}) as session:
        yield _Part(name, session, reader, injector, telling)


def _shared(call: CallTogether, place: Place, key: LaunchKey) -> dict[str, Any]:
    """What Pipes says of results that several components write: the job's own directory leads to them."""
    return data.extras(call.together.data, place.directory(key)) if call.together.data else {}


class _Job:
    """The job that the components are in."""

    def __init__(self, target: Target, call: CallTogether, launch: Launch, parts: Sequence[_Part]) -> None:
        self._target = target
        self._call = call
        self._launch = launch
        self._parts = parts
        self._lock = threading.RLock()
        self._telling = Telling(call.context, None, local=target.local)
        self._deadline = Deadline(target, launch, self._telling, call.poll_timeout)
        self._telling.on_delay = self._deadline.check

    def to_the_end(self) -> CompletedComponents:
        submitted: Submitted | None = None
        abreast: Abreast | None = None
        try:
            submitted = submit(self._target.host, self._target.scheduler, self._launch, self._telling)
            announce(self._call.context, self._target, submitted)
            following = self._deadline.following = self._follow(submitted)
            abreast = Abreast([self._follow_part(part, number, submitted) for number, part in enumerate(self._parts)])
            ticking = _Ticking(self._deadline, abreast)
            verdict = following.verdict(on_tick=ticking)
            verdicts = abreast.verdicts(ticking)
        except INTERRUPTS:
            with capture_interrupts():  # a second signal must not keep us from cancelling
                end_or_leave(
                    self._call.context, self._target, self._launch, submitted, forward=self._call.forward_termination
                )
            raise
        finally:
            if abreast is not None:
                abreast.abandon()
        return self._judged(submitted, following, verdict, verdicts)

    def _follow(self, submitted: Submitted) -> Following:
        sink = OneAtATime(self._telling, self._lock)
        return Following(self._target.host, self._target.scheduler, self._launch, submitted, sink)

    def _follow_part(self, part: _Part, number: int, submitted: Submitted) -> Following:
        name = f"{submitted.id}+{number}" if len(self._parts) > 1 else submitted.id
        own = replace(submitted, job={**submitted.job, "id": name})
        sink = OneAtATime(part.telling, self._lock)
        member = self._launch.members[number]
        part.following = Following(
            self._target.host, self._target.scheduler, member, own, sink, leader=self._launch.directory
        )
        return part.following

    def _judged(
        self, submitted: Submitted, following: Following, verdict: Verdict, verdicts: Sequence[Verdict]
    ) -> CompletedComponents:
        whole = Ended(following.tracked, verdict, self._launch.spec.blocks[0], self._launch.directory, submitted.time)
        self._telling.echo.finish()
        told: list[Told] = []
        errors: list[tuple[Ended, JobError]] = []
        for number, (part, decided) in enumerate(zip(self._parts, verdicts, strict=True)):
            ended, exception = self._end_of(part, number, decided, submitted)
            found = component_facts(ended, whole)
            if not decided.success:
                assert part.following is not None  # noqa: S101 - it was followed
                log = log_of(part.following, ended, part.telling)
                error = error_of(self._launch.members[number], ended, log, exception)
                error.facts = found
                errors.append((ended, error))
            told.append(Told(part.id, found, part.session, decided.success))
        collected(self._target, self._launch, submitted, following.tracked.job, success=not errors)
        assets, own = self._call.assets, self._own(following)
        if errors:
            self._record(told, own)
            raise _Failed(self._error(whole, errors, told), told)
        own, fetched = self._fetched(following, own)
        keys = list(dict.fromkeys(key for item in told for key in assets.get(item.id, ())))
        return CompletedComponents(told, results_of(told, assets, keys, own, several=len(keys) > 1), fetched)

    def _own(self, leader: Following) -> Own:
        """What there is of each asset's result."""
        found = self._told_of(self._call.together.data, leader)
        for item, part in zip(self._call.together.asks, self._parts, strict=True):
            if part.following is not None:
                found = merged(found, self._told_of(item.ask.data, part.following))
        return found

    def _fetched(self, leader: Following, own: Own) -> tuple[Own, Fetched]:
        """Bring what components ask for, of their own results, or of those that they write with others."""
        found: dict[str, Path] = {}
        together, context = self._call.together, self._call.context
        for item, part, member in zip(together.asks, self._parts, self._launch.members, strict=True):
            alone = item.ask.data is not None and item.ask.data.outputs
            wanted, of = (item.ask.data, part.following) if alone or not together.data else (together.data, leader)
            assert of is not None  # noqa: S101 - it was followed
            ask = replace(item.ask, data=wanted)
            mine = bring(self._target, context, ask, member, of.tracked.record.outputs)
            own = merged(own, shown(context, wanted, mine))
            found.update({f"{item.id}/{name}": path for name, path in mine.items()})
        return own, found

    def _told_of(self, wanted: data.Wanted | None, following: Following) -> Own:
        outputs = following.tracked.record.outputs
        say_what_is_empty(self._call.context, wanted, outputs)
        return own_metadata(wanted, outputs, self._target.host.name)

    def _end_of(
        self, part: _Part, number: int, decided: Verdict, submitted: Submitted
    ) -> tuple[Ended, dict[str, Any] | None]:
        assert part.following is not None  # noqa: S101 - it was followed
        part.telling.echo.finish()
        tracked, member = part.following.tracked, self._launch.members[number]
        exception = part.reader.finish(tracked.record.restart, success=decided.success)
        resources = member.spec.resources
        return Ended(tracked, decided, resources, member.directory, submitted.time, part.id), exception

    def _record(self, told: Sequence[Told], own: Own) -> None:
        """Of several assets those stand whose components have all succeeded, although the step fails."""
        assets = self._call.assets
        lost = {key for item in told if not item.success for key in assets.get(item.id, ())}
        keys = list(dict.fromkeys(key for item in told for key in assets.get(item.id, ()) if key not in lost))
        if keys:
            well = [item for item in told if item.success]
            record(self._call.context, results_of(well, assets, keys, own, several=True))

    def _error(self, whole: Ended, errors: Sequence[tuple[Ended, JobError]], told: Sequence[Told]) -> JobError:
        """The component that failed first is the error; the job's own end is, if it took all of them."""
        causes = {ended.verdict.cause for ended, _ in errors}
        if len(errors) > 1 and causes == {whole.verdict.cause} and whole.verdict.cause in _OF_THE_JOB:
            error = error_of(self._launch, whole, errors[0][1].log_tail or "", None)
        else:
            own = [pair for pair in errors if pair[0].verdict.cause != "stopped"] or errors
            error = min(own, key=lambda pair: _time_of(pair[0]))[1]
        causes_by_id = {ended.component: ended.verdict.cause for ended, _ in errors}
        states = [f"{item.id}: {causes_by_id.get(item.id, 'success')}" for item in told]
        error.details["components"] = ", ".join(states)
        return error


@dataclass(frozen=True)
class _Ticking:
    """What is looked after at least once a second."""

    deadline: Deadline
    abreast: Abreast

    def __call__(self) -> None:
        self.deadline.check()
        self.abreast.check()


def _time_of(ended: Ended) -> float:
    return ended.verdict.exit.time if ended.verdict.exit is not None else float("inf")
