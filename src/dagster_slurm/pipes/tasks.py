"""One partition on its way, and what became of all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import dagster as dg
from dagster import PipesSession
from dagster._core.pipes.utils import open_pipes_session

from dagster_slurm.core.facts import Ended, Fact, facts
from dagster_slurm.core.spec import RunPaths
from dagster_slurm.core.verdict import Verdict
from dagster_slurm.engine.abreast import OneAtATime
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.errors import JobError, PartitionsFailed
from dagster_slurm.pipes import partition_events as events
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.completed import Result
from dagster_slurm.pipes.context_file import ContextFile
from dagster_slurm.pipes.failure import namespaced
from dagster_slurm.pipes.launching import error_of, log_of
from dagster_slurm.pipes.reader import RunMessageReader
from dagster_slurm.pipes.telling import Telling

#: how much of what all payloads print is shown in the step's log, and of each at least: characters
_SHOWN, _SHOWN_OF_EACH = 1_000_000, 2_000
#: seconds between two lines on how far it is
_EVERY = 30.0
#: partitions whose errors are told in full
_IN_FULL = 20


@dataclass
class Task:
    """A partition on its way: where what it says goes, and how it is followed."""

    partition: str
    session: PipesSession
    reader: RunMessageReader
    injector: ContextFile
    telling: Telling
    _opened: contextlib.ExitStack
    launch: Launch | None = None
    submitted: Submitted | None = None
    following: Following | None = None

    @property
    def begun(self) -> bool:
        """Whether its payload has been started."""
        return self.following is not None and self.following.tracked.started

    def close(self) -> None:
        """Let go what is held for it."""
        self._opened.close()


@dataclass(frozen=True)
class Lost:
    """A partition that did not end well."""

    partition: str
    error: JobError
    job: str
    node: str


@dataclass
class Progress:
    """All partitions of one call, and what became of them.

    Args:
        call: which.
        assets: what each partition makes.
        keys: the partitions.
        before: those that were there already.
    """

    call: Call
    assets: Sequence[dg.AssetKey]
    keys: Sequence[str]
    before: frozenset[str]
    done: dict[str, Mapping[str, Fact]] = field(default_factory=dict[str, "Mapping[str, Fact]"])
    lost: list[Lost] = field(default_factory=list["Lost"])
    checks: dict[str, Sequence[dg.AssetCheckResult]] = field(default_factory=dict[str, "Sequence[dg.AssetCheckResult]"])
    lock: threading.RLock = field(default_factory=threading.RLock)
    _told: float = field(default_factory=time.monotonic)

    def todo(self) -> list[str]:
        """Return the partitions of which nobody knows yet how they end."""
        over = {*self.before, *self.done, *(item.partition for item in self.lost)}
        return [key for key in self.keys if key not in over]

    def open(self, partition: str, paths: RunPaths, context: str | None) -> Task:
        """Open the Pipes session of a partition.

        Args:
            partition: which.
            paths: where its run lies.
            context: the path of its context; None: it goes with the variables.
        """
        reader = RunMessageReader(paths.messages)
        injector = ContextFile(context or "", self.call.context, partition=partition)
        most = max(_SHOWN // len(self.keys), _SHOWN_OF_EACH)
        telling = Telling(self.call.context, reader, local=self.call.ask.local, component=partition, most=most)
        stack = contextlib.ExitStack()
        session = stack.enter_context(
            open_pipes_session(self.call.context, injector, reader, extras=dict(self.call.extras))
        )
        return Task(partition, session, reader, injector, telling, stack)

    def sink(self, task: Task) -> OneAtATime:
        """Return who takes what a partition says."""
        return OneAtATime(task.telling, self.lock)

    def over(self, task: Task, verdict: Verdict) -> bool:
        """Take down how a partition ended: materialize it, or remember why it cannot be. Return whether it is there."""
        assert task.following is not None and task.launch is not None and task.submitted is not None  # noqa: S101, PT018
        with self.lock:
            task.telling.echo.finish()
            tracked = task.following.tracked
            exception = task.reader.finish(tracked.record.restart, success=verdict.success)
            launch = task.launch
            ended = Ended(tracked, verdict, launch.spec.resources, launch.directory, task.submitted.time)
            if verdict.success:
                self._materialize(task, facts(ended))
            else:
                error = error_of(launch, ended, log_of(task.following, ended, task.telling), exception)
                start = tracked.record.start
                self.lost.append(Lost(task.partition, error, tracked.job, start.node if start else ""))
                if len(self.lost) <= _IN_FULL:
                    self.call.context.log.warning(f"Partition {task.partition} failed: {error}")
            task.close()
        return verdict.success

    def tell(self, tasks: Sequence[Task], *, at_last: bool = False) -> None:
        """Say now and then how far it is."""
        if not at_last and time.monotonic() - self._told < _EVERY:
            return
        self._told = time.monotonic()
        waiting = self.todo()
        running = sum(task.begun for task in tasks if task.partition in set(waiting))
        there = f", {len(self.before)} were there before" if self.before else ""
        self.call.context.log.info(
            f"Partitions: {len(self.done)} done, {running} running, {len(waiting) - running} waiting, "
            f"{len(self.lost)} failed{there}."
        )

    def results(self) -> list[Result]:
        """Return the results of the step.

        Raises:
            PartitionsFailed: not all partitions are there.
        """
        if self.lost:
            raise self._error()
        return events.at_the_end(self.assets, self.checks)

    def _materialize(self, task: Task, found: dict[str, Fact]) -> None:
        results = cast("Sequence[Result]", task.session.get_reported_results())  # pyright: ignore[reportUnknownMemberType]
        events.materialize(self.call.context, self.assets, task.partition, results, namespaced(found))
        self.checks[task.partition] = [item for item in results if isinstance(item, dg.AssetCheckResult)]
        self.done[task.partition] = found

    def _error(self) -> PartitionsFailed:
        causes = Counter(item.error.cause for item in self.lost)
        told = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
        first = self.lost[0]
        error = PartitionsFailed(
            f"{len(self.lost)} of {len(self.keys)} partitions failed: {told}",
            hint="Retry the run from failure, or launch a backfill of what is missing: what is there stays as it is. "
            f"Of the first one: {first.error.hint}",
            log_tail=first.error.log_tail,
            details={
                **{item.partition: item.error.message for item in self.lost[:_IN_FULL]},
                **({"...": f"{len(self.lost) - _IN_FULL} more"} if len(self.lost) > _IN_FULL else {}),
            },
        )
        error.allow_retries = any(item.error.allow_retries for item in self.lost)
        return error


def table(lost: Sequence[Lost]) -> dg.MetadataValue:
    """Return the partitions that failed, as metadata show them."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "partition": item.partition,
                    "cause": item.error.cause,
                    "job": item.job,
                    "node": item.node,
                    "message": item.error.message,
                    "run directory": str(item.error.details.get("run directory", "")),
                }
            )
            for item in lost
        ]
    )
