"""One call of ``run_partitions``: each partition of the step is a task, with a Pipes session and an end of its own."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dagster import AssetKey
from dagster._utils.interrupts import capture_interrupts
from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, DAGSTER_PIPES_MESSAGES_ENV_VAR

from dagster_slurm.core.facts import Fact
from dagster_slurm.core.spec import LaunchKey, RunPaths
from dagster_slurm.engine.abreast import Abreast, OneAtATime
from dagster_slurm.engine.arrays import plan_array, task_of
from dagster_slurm.engine.ask import Place
from dagster_slurm.engine.following import Following
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.plan import plan
from dagster_slurm.engine.submission import Submitted, cancel, submit
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import (
    DagsterSlurmError,
    JobCancelled,
    PartitionsFailed,
    SubmissionDelayed,
    SubmissionRefused,
)
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.completed import Result
from dagster_slurm.pipes.failure import failure
from dagster_slurm.pipes.interruption import INTERRUPTS, end_or_leave, run_is_cancelled
from dagster_slurm.pipes.launching import announce, collected, where, where_unread
from dagster_slurm.pipes.partition_events import materialized
from dagster_slurm.pipes.tasks import Progress, Task, table
from dagster_slurm.pipes.telling import Telling

#: tasks of one array: the default of MaxArraySize allows so many
MOST_TASKS = 1000
_LOOK = 0.5
#: single jobs at once, where there are no arrays and nobody says how many
_SINGLE_JOBS = 50
#: what sbatch says of arrays that it does not take, and of limits to the number of jobs
_ARRAYS = re.compile(r"job array|array (spec|size|task|job)|arrays? ", re.IGNORECASE)
_LIMITS = re.compile(r"Submit\w*Limit|MaxJobCount|queue is full", re.IGNORECASE)


class CompletedPartitions(tuple[Result, ...]):  # noqa: SLOT001 - it has attributes
    """The results of a step over partitions, each of which is materialized already.

    Attributes:
        facts: what is known of each partition's task, of those that this call ran.
    """

    facts: Mapping[str, Mapping[str, Fact]]

    def __new__(cls, results: Sequence[Result], facts: Mapping[str, Mapping[str, Fact]]) -> CompletedPartitions:
        """Make the tuple."""
        made = super().__new__(cls, results)
        made.facts = facts
        return made

    def __reduce__(self) -> tuple[type, tuple[tuple[Result, ...]]]:
        """Pickle the results alone."""
        return tuple, (tuple(self),)

    def get_results(self) -> tuple[Result, ...]:
        """Return the results."""
        return tuple(self)


def run_partitions(
    target: Target, call: Call, keys: Sequence[str], assets: Sequence[AssetKey], concurrent: int | None
) -> CompletedPartitions:
    """Run a payload once for each partition.

    Args:
        target: where.
        call: what.
        keys: the partitions.
        assets: what each of them makes.
        concurrent: how many run at once.

    Raises:
        SlurmFailure: one did not end well, or they could not begin; its ``error`` is one of ours.
    """
    progress = Progress(call, assets, keys, frozenset())
    try:
        if run_is_cancelled(call.context):
            raise JobCancelled("the run is being cancelled: nothing was submitted")
        progress.before = frozenset(materialized(call.context, assets) & set(keys))
        if progress.before:
            call.context.log.info(f"{len(progress.before)} of {len(keys)} partitions are there already.")
        if target.local:
            _Pool(target, progress, concurrent or os.cpu_count() or 1).run(progress.todo())
        else:
            _in_arrays(target, progress, concurrent)
        return CompletedPartitions(progress.results(), progress.done)
    except PartitionsFailed as error:
        raise failure(error, {}, {"slurm/failed_partitions": table(progress.lost)}) from None
    except DagsterSlurmError as error:
        raise failure(error) from None


def _in_arrays(target: Target, progress: Progress, concurrent: int | None) -> None:
    """Run what is left in arrays as large as Slurm takes them; in single jobs, if it takes none."""
    most = MOST_TASKS
    while todo := progress.todo():
        try:
            _Array(target, progress, concurrent, most).run(todo)
        except _TooLarge as error:
            most = error.tasks // 2
            told = f"arrays of {most} tasks" if most else f"single jobs, {concurrent or _SINGLE_JOBS} at once"
            progress.call.context.log.warning(f"{error}\nThe partitions go into {told}.")
            if not most:
                _Pool(target, progress, concurrent or _SINGLE_JOBS).run(progress.todo())


class _TooLarge(Exception):
    """Slurm does not take an array of so many tasks."""

    def __init__(self, tasks: int, error: DagsterSlurmError) -> None:
        super().__init__(str(error))
        self.tasks = tasks


class _Array:
    """Partitions as tasks of one job array."""

    def __init__(self, target: Target, progress: Progress, concurrent: int | None, most: int) -> None:
        self._target = target
        self._progress = progress
        self._concurrent = concurrent
        self._most = most

    def run(self, todo: Sequence[str]) -> None:
        """Submit an array of these partitions, or take up the one that is there, and follow its tasks to their ends."""
        call = self._progress.call
        place, key, taken_up = where_unread(self._target, call.context, call.name)
        # which task is which partition was settled when the array was first written down
        keys: list[str] = list(taken_up.handle.extras["keys"]) if taken_up else list(todo[: self._most])
        paths = RunPaths(place.directory(key))
        tasks = [self._progress.open(name, paths.task(number), None) for number, name in enumerate(keys)]
        try:
            self._follow(place, key, taken_up, tasks, todo)
        finally:
            for task in tasks:
                task.close()

    def _follow(
        self,
        place: Place,
        key: LaunchKey,
        taken_up: handles.Earlier | None,
        tasks: Sequence[Task],
        todo: Sequence[str],
    ) -> None:
        call, host = self._progress.call, self._target.host
        bootstraps = [task.session.get_bootstrap_env_vars() for task in tasks]
        words = [(item[DAGSTER_PIPES_CONTEXT_ENV_VAR], item[DAGSTER_PIPES_MESSAGES_ENV_VAR]) for item in bootstraps]
        launch = plan_array(call.ask, key, place, words, self._concurrent)
        more = {"keys": [task.partition for task in tasks]}
        handles.remember(call.context, key, launch.directory, host.name, taken_up, more=more)
        submitted, abreast, following = None, Abreast(), dict[int, Task]()
        wanted = set(todo)
        try:
            submitted = self._submitted(launch, len(tasks))
            announce(call.context, self._target, submitted)
            for number, task in enumerate(tasks):
                if task.partition not in wanted:
                    continue
                task.launch = task_of(launch, number)
                task.submitted = replace(submitted, job={**submitted.job, "id": f"{submitted.id}_{number}"})
                task.following = Following(
                    host,
                    self._target.scheduler,
                    task.launch,
                    task.submitted,
                    self._progress.sink(task),
                    leader=launch.directory,
                    mark=f"_{number}",
                )
                following[abreast.add(task.following)] = task
            while following:
                for number, verdict in abreast.ended(_LOOK):
                    self._progress.over(following.pop(number), verdict)
                self._progress.tell(tasks)
        except INTERRUPTS:
            with capture_interrupts():  # a second signal must not keep us from cancelling
                end_or_leave(call.context, self._target, launch, submitted, forward=call.forward_termination)
            raise
        finally:
            abreast.abandon()
        self._progress.tell(tasks, at_last=True)
        collected(self._target, launch, submitted, submitted.id, success=not self._progress.lost)

    def _submitted(self, launch: Launch, tasks: int) -> Submitted:
        """Submit the array.

        Raises:
            _TooLarge: a smaller one may be taken.
        """
        host, scheduler = self._target.host, self._target.scheduler
        telling = Telling(self._progress.call.context, None, local=False)
        sink = _Impatient(telling, self._progress.lock, tasks)
        try:
            return submit(host, scheduler, launch, sink)
        except _TooLarge:
            cancel(host, scheduler, launch)  # nothing of it may land later
            raise
        except SubmissionRefused as error:
            if _ARRAYS.search(error.message) is None:
                raise
            cancel(host, scheduler, launch)
            raise _TooLarge(tasks, error) from None


class _Impatient(OneAtATime):
    """Does not wait until a limit leaves room for all tasks, where fewer may be taken now."""

    def __init__(self, telling: Telling, lock: threading.RLock, tasks: int) -> None:
        super().__init__(telling, lock)
        self._tasks = tasks

    def delayed(self, error: SubmissionDelayed) -> None:
        """Hear that the submission is not taken now."""
        if self._tasks > 1 and _LIMITS.search(error.message) is not None:
            raise _TooLarge(self._tasks, error)
        super().delayed(error)


class _Pool:
    """Partitions as runs of their own, some at once: processes beside Dagster, or single jobs."""

    def __init__(self, target: Target, progress: Progress, concurrent: int) -> None:
        self._target = target
        self._progress = progress
        self._concurrent = concurrent
        self._abreast = Abreast()
        self._following: dict[int, Task] = {}

    def run(self, todo: Sequence[str]) -> None:
        """Run these partitions to their ends."""
        left, tasks = list(todo), list[Task]()
        try:
            while left or self._following:
                while left and len(self._following) < self._concurrent:
                    tasks.append(self._begin(left.pop(0)))
                for number, verdict in self._abreast.ended(_LOOK):
                    task = self._following.pop(number)
                    good = self._progress.over(task, verdict)
                    assert task.launch is not None and task.submitted is not None  # noqa: S101, PT018 - it was begun
                    collected(self._target, task.launch, task.submitted, task.submitted.id, success=good)
                self._progress.tell(tasks)
        except INTERRUPTS:
            with capture_interrupts():
                self._end()
            raise
        finally:
            self._abreast.abandon()
            for task in tasks:
                task.close()
        self._progress.tell(tasks, at_last=True)

    def _begin(self, partition: str) -> Task:
        call, host = self._progress.call, self._target.host
        place, key, taken_up = where(self._target, call.context, f"{call.name}-{partition}")
        paths = RunPaths(place.directory(key))
        task = self._progress.open(partition, paths, paths.context)
        try:
            variables = task.session.get_bootstrap_env_vars()
            launch = plan(call.ask, key, place, bootstrap=variables, context=task.injector.content)
            handles.remember(call.context, key, launch.directory, host.name, taken_up)
            task.launch = launch
            task.submitted = submit(host, self._target.scheduler, launch, self._progress.sink(task))
            task.following = Following(host, self._target.scheduler, launch, task.submitted, self._progress.sink(task))
        except BaseException:  # also an interrupt: nobody would read what this one says
            task.close()
            raise
        self._following[self._abreast.add(task.following)] = task
        return task

    def _end(self) -> None:
        """End all processes: nobody could re-attach to them."""
        said: JobCancelled | None = None
        call = self._progress.call
        for task in self._following.values():
            assert task.launch is not None  # noqa: S101 - it was begun
            try:
                end_or_leave(call.context, self._target, task.launch, task.submitted, forward=call.forward_termination)
            except JobCancelled as error:
                said = error
        if said is not None:
            raise said
