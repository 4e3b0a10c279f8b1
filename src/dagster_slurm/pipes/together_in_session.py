"""One call of ``run_heterogeneous`` in a session: each component is a unit of it, packed as the session does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dagster._utils.interrupts import capture_interrupts

from dagster_slurm.core.components import variable
from dagster_slurm.core.facts import Ended, facts
from dagster_slurm.core.nodelist import names
from dagster_slurm.core.spec import LaunchKey, RunPaths
from dagster_slurm.engine import previous
from dagster_slurm.engine.abreast import OneAtATime
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.plan import plan
from dagster_slurm.engine.sessions import Generation, Session
from dagster_slurm.engine.side_by_side import Member, SideBySideUnits
from dagster_slurm.engine.submission import cancel
from dagster_slurm.engine.target import Target
from dagster_slurm.engine.unit_run import UnitRun, Work
from dagster_slurm.engine.units import flags
from dagster_slurm.errors import DagsterSlurmError, JobCancelled
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.attendance import attending, run_and_step
from dagster_slurm.pipes.deadline import Deadline
from dagster_slurm.pipes.gathered import CompletedComponents
from dagster_slurm.pipes.interruption import INTERRUPTS, end_or_leave, ends, run_is_cancelled
from dagster_slurm.pipes.launching import announce, collected, where
from dagster_slurm.pipes.parts import CallTogether, Ends, Part, failing, opened
from dagster_slurm.pipes.parts_results import PartsResults

#: in the run directory of a component that waits for no other
_SHARED = "shared"
#: how long the host may take to hear that a unit is to end, in seconds
_CANCEL_WITHIN = 10.0


def run_in_session(target: Target, session: Session, call: CallTogether) -> CompletedComponents:
    """Run components as units of a session to their end.

    Raises:
        SlurmFailure: one did not end well, or they could not begin; its ``error`` is one of ours.
    """
    with failing(), attending(session, call.context, call.resource_keys):
        return _run(target, session, call)


def _run(target: Target, session: Session, call: CallTogether) -> CompletedComponents:
    if run_is_cancelled(call.context):
        raise JobCancelled("the run is being cancelled: nothing was submitted")
    ids = [item.id for item in call.together.asks]
    place, key, taken_up = where(target, call.context, call.name, fate=partial(_fate, target, ids))
    first = next(number for number, item in enumerate(call.together.asks) if not item.after)
    shared = RunPaths(place.directory(_key_of(key, ids[first]))).file(_SHARED)
    with contextlib.ExitStack() as stack:
        parts = [
            stack.enter_context(
                opened(call, number, RunPaths(place.directory(_key_of(key, name))), spokesman=number == first)
            )
            for number, name in enumerate(ids)
        ]
        launches = [_planned(call, part, key, place, shared) for part in parts]
        launches[first] = replace(launches[first], more={**launches[first].more, f"{_SHARED}/.keep": ""})
        handles.remember(call.context, key, launches[first].directory, target.host.name, taken_up)
        for name, launch in zip(ids, launches, strict=True):
            for remark in launch.remarks:
                call.context.log.warning(f"Component {name}: {remark}")
        return _Units(target, session, call, parts, launches, first).to_the_end()


def _planned(call: CallTogether, part: Part, key: LaunchKey, place: Place, shared: str) -> Launch:
    pairs = zip(call.together.asks, call.together.components, strict=True)
    item, component = next(pair for pair in pairs if pair[0].id == part.id)
    bootstrap = part.bootstrap
    own = {"DAGSTER_SLURM_COMPONENT": item.id, "DAGSTER_SLURM_SHARED_DIR": shared}
    launch = plan(
        replace(item.ask, resources=component.resources),
        _key_of(key, item.id),
        place,
        bootstrap={**bootstrap.variables, **own},
        context=bootstrap.context,
    )
    # where a unit runs is known when it begins
    nodes = f'export {_nodes_of(item.id)}="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste -sd, -)"'
    return replace(launch, spec=replace(launch.spec, activate=(nodes, *launch.spec.activate)))


def _key_of(key: LaunchKey, component_id: str) -> LaunchKey:
    """Return the launch of a component: a run of its own for all who look at runs."""
    return replace(key, call=f"{key.call}.{component_id}")


def _nodes_of(component_id: str) -> str:
    return f"DAGSTER_SLURM_COMPONENT_{variable(component_id)}_NODES"


def _fate(target: Target, ids: Sequence[str], place: Place, key: LaunchKey) -> previous.Fate:
    """Of components, one that failed is the fate of all of them, once none goes on."""
    found = {
        previous.fate(target.host, target.scheduler, place.directory(_key_of(key, component_id)))
        for component_id in ids
    }
    if "failed" in found and "going on" not in found:
        return "failed"
    return "succeeded" if found == {"succeeded"} else "going on"


@dataclass
class _Units:
    """The units that the components are."""

    target: Target
    session: Session
    call: CallTogether
    parts: Sequence[Part]
    launches: Sequence[Launch]
    first: int

    def __post_init__(self) -> None:
        lock = threading.RLock()
        self._members: list[Member] = []
        for number, component in enumerate(self.call.together.components):
            launch = self.launches[number]
            sink = OneAtATime(self.parts[number].telling, lock)
            unit = UnitRun(self.session, self.target.host, partial(self._work, launch), sink)
            self._members.append(Member(component, unit, partial(self._cancel, launch)))
        spokesman = self.parts[self.first].telling
        self._deadline = Deadline(self.target, self.launches[self.first], spokesman, self.call.poll_timeout)
        for part in self.parts:
            part.telling.on_delay = self._deadline.check

    def to_the_end(self) -> CompletedComponents:
        together = self.call.together
        units = SideBySideUnits(
            self._members, on_failure=together.on_failure, grace=together.grace, handed_in=self._handed_in
        )
        try:
            units.to_the_end(self._deadline.check)
        except INTERRUPTS:
            with capture_interrupts():  # a second signal must not keep us from cancelling
                self._end_or_leave()
            raise
        except DagsterSlurmError:
            self._cancel_all()  # the others are of no use alone
            raise
        finally:
            units.abandon()
        return self._judged()

    def _work(self, launch: Launch, _generation: Generation | None) -> Work:
        """Return what is handed over: a unit is told where those are that began before it."""
        run, step = run_and_step(self.call.context)
        environment = {**launch.spec.environment, **self._known_nodes()}
        launch = replace(launch, spec=replace(launch.spec, environment=environment))
        return Work(launch, flags(launch.spec.key, launch.spec.resources, run, step))

    def _known_nodes(self) -> Mapping[str, str]:
        starts = {item.component.id: item.unit.tracked.record.start for item in self._members if item.begun}
        return {
            _nodes_of(name): ",".join(names(start.nodes or start.node))
            for name, start in starts.items()
            if start is not None
        }

    def _handed_in(self, member: Member) -> None:
        if member is self._members[self.first]:
            self._deadline.following = member.unit
        if not member.unit.handed_over and member.unit.submitted is not None:
            announce(self.call.context, self.target, member.unit.submitted)

    def _cancel(self, launch: Launch) -> Sequence[str]:
        return cancel(self.target.host, self.target.scheduler, launch, within=_CANCEL_WITHIN)

    def _cancel_all(self) -> None:
        for member in self._members:
            if member.begun and member.state == "runs":
                with contextlib.suppress(DagsterSlurmError):  # what failed first is told
                    member.cancel()

    def _end_or_leave(self) -> None:
        going_on = [number for number, member in enumerate(self._members) if member.state == "runs"]
        number = going_on[-1] if going_on else self.first
        if ends(self.call.context, self.target, forward=self.call.forward_termination):
            for other in going_on[:-1]:
                with contextlib.suppress(DagsterSlurmError):  # told of the last one, if the host is away
                    self._members[other].cancel()
        member = self._members[number]
        submitted = member.unit.submitted if member.begun else None
        forward = self.call.forward_termination
        end_or_leave(self.call.context, self.target, self.launches[number], submitted, forward=forward)

    def _judged(self) -> CompletedComponents:
        ended_parts = Ends(self.call)
        for part, member, launch in zip(self.parts, self._members, self.launches, strict=True):
            assert member.verdict is not None  # noqa: S101 - all are over
            submitted = member.unit.submitted if member.begun else None
            time = submitted.time if submitted is not None else 0.0
            ended = Ended(member.tracked, member.verdict, launch.spec.resources, launch.directory, time, part.id)
            ended_parts.add(part, ended, launch, member.unit if member.begun else None, facts)
            if submitted is not None:
                collected(self.target, launch, submitted, ended.tracked.job, success=member.success)
        results = PartsResults(
            target=self.target,
            context=self.call.context,
            together=self.call.together,
            launches=self.launches,
            outputs=[member.tracked.record.outputs for member in self._members],
        )
        return ended_parts.result(results=results)
