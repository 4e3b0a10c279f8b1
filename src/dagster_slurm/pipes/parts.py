"""The components of one call: a Pipes session for each, and what becomes of the step when all have ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster import PipesSession
from dagster._core.pipes.utils import open_pipes_session

from dagster_slurm.core.facts import Ended, Fact
from dagster_slurm.core.spec import RunPaths
from dagster_slurm.engine.components import Bootstrap, Together
from dagster_slurm.engine.launch import Launch
from dagster_slurm.errors import DagsterSlurmError, JobError
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.context_file import ContextFile
from dagster_slurm.pipes.failure import SlurmFailure, failure
from dagster_slurm.pipes.gathered import Assets, CompletedComponents, Told, all_metadata, record, results_of
from dagster_slurm.pipes.launching import Tailed, error_of, log_of
from dagster_slurm.pipes.outputs import Own
from dagster_slurm.pipes.parts_results import PartsResults, extras_of
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
        resource_keys: the step's resources that lead to the same session, where one is used.
    """

    context: handles.Context
    name: str
    together: Together
    extras: Sequence[Mapping[str, Any]]
    assets: Assets
    poll_timeout: float | None = None
    forward_termination: bool = True
    resource_keys: tuple[str, ...] = ()


@dataclass
class Part:
    """A component on its way: where what it says goes."""

    id: str
    session: PipesSession
    reader: RunMessageReader
    injector: ContextFile
    telling: Telling

    @property
    def bootstrap(self) -> Bootstrap:
        """How its payload finds its Pipes context and messages."""
        return Bootstrap(self.session.get_bootstrap_env_vars(), self.injector.content)


@contextlib.contextmanager
def opened(
    call: CallTogether, number: int, paths: RunPaths, *, job: str = "", spokesman: bool = False
) -> Generator[Part]:
    """Open the Pipes session of a component; the spokesman says what concerns all of them.

    Args:
        call: of all of them.
        number: which one.
        paths: where it lies.
        job: the run directory of the job, if they are one.
        spokesman: whether it says what concerns all of them.
    """
    name = call.together.asks[number].id
    reader = RunMessageReader(paths.messages)
    own = [asset.to_escaped_user_string() for asset in call.assets.get(name, ())]
    injector = ContextFile(paths.context, call.context, own or None)
    telling = Telling(call.context, reader, local=call.together.local, component=name, spokesman=spokesman)
    extras = {**extras_of(call.together, number, paths.directory, job), **call.extras[number]}
    with open_pipes_session(call.context, injector, reader, extras=extras) as session:
        yield Part(name, session, reader, injector, telling)


@dataclass
class Ends:
    """How the components of a call ended.

    Args:
        call: which.
    """

    call: CallTogether
    told: list[Told] = field(default_factory=list[Told])
    errors: list[tuple[Ended, JobError]] = field(default_factory=list[tuple[Ended, JobError]])

    def add(
        self,
        part: Part,
        ended: Ended,
        launch: Launch,
        followed: Tailed | None,
        facts: Callable[[Ended], dict[str, Fact]],
    ) -> None:
        """Take in one component; ``followed`` is None for one that never began."""
        part.telling.echo.finish()
        exception = part.reader.finish(ended.tracked.record.restart, success=ended.verdict.success)
        found = facts(ended)
        if not ended.verdict.success:
            log = "" if followed is None else log_of(followed, ended, part.telling)
            error = error_of(launch, ended, log, exception)
            error.facts = found
            self.errors.append((ended, error))
        self.told.append(Told(part.id, found, part.session, ended.verdict.success))

    def result(
        self, whole: tuple[Launch, Ended] | None = None, results: PartsResults | None = None
    ) -> CompletedComponents:
        """Return the results of the step, or record what stands although it fails.

        Args:
            whole: the job that all components were in, if there was one.
            results: what they left in the folder for results.

        Raises:
            DagsterSlurmError: a component did not succeed, or what was to be fetched did not come.
        """
        assets = self.call.assets
        if self.errors:
            self._record(results.own() if results else {})
            raise _PartsFailed(self._error(whole), self.told)
        keys = list(dict.fromkeys(key for item in self.told for key in assets.get(item.id, ())))
        nothing: tuple[Own, Mapping[str, Path]] = ({}, {})
        own, fetched = results.fetched() if results else nothing
        return CompletedComponents(self.told, results_of(self.told, assets, keys, own, several=len(keys) > 1), fetched)

    def _record(self, own: Own) -> None:
        """Of several assets those stand whose components have all succeeded, although the step fails."""
        assets = self.call.assets
        lost = {key for item in self.told if not item.success for key in assets.get(item.id, ())}
        keys = list(dict.fromkeys(key for item in self.told for key in assets.get(item.id, ()) if key not in lost))
        if keys:
            well = [item for item in self.told if item.success]
            record(self.call.context, results_of(well, assets, keys, own, several=True))

    def _error(self, whole: tuple[Launch, Ended] | None) -> JobError:
        """The component that failed first is the error; the job's own end is, if it took all of them."""
        causes = {ended.verdict.cause for ended, _ in self.errors}
        of_all = whole is not None and causes == {whole[1].verdict.cause} and causes <= _OF_THE_JOB
        if whole is not None and of_all and len(self.errors) > 1:
            error = error_of(*whole, self.errors[0][1].log_tail or "", None)
        else:
            own = [pair for pair in self.errors if pair[0].verdict.cause != "stopped"] or self.errors
            error = min(own, key=lambda pair: _time_of(pair[0]))[1]
        causes_by_id = {ended.component: ended.verdict.cause for ended, _ in self.errors}
        states = [f"{item.id}: {causes_by_id.get(item.id, 'success')}" for item in self.told]
        error.details["components"] = ", ".join(states)
        return error


class _PartsFailed(DagsterSlurmError):
    """The error of the step, with what is known of all components."""

    def __init__(self, error: JobError, told: Sequence[Told]) -> None:
        super().__init__(error.message)
        self.allow_retries = error.allow_retries
        self.error = error
        self.told = told


@contextlib.contextmanager
def failing() -> Generator[None]:
    """Hand our errors on as Dagster's.

    Raises:
        SlurmFailure: its ``error`` is one of ours.
    """
    error: SlurmFailure
    try:
        yield
    except _PartsFailed as failed:
        error = failure(failed.error, dict(failed.error.facts), all_metadata(failed.told))
    except JobError as job_error:
        error = failure(job_error, dict(job_error.facts))
    except DagsterSlurmError as other:
        error = failure(other)
    else:
        return
    raise error from None


def _time_of(ended: Ended) -> float:
    return ended.verdict.exit.time if ended.verdict.exit is not None else float("inf")
