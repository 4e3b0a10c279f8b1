"""The jobs of one call, one after another, where a retry policy lets one follow another.

Each has a launch, a run directory and a Pipes session of its own. Dagster's event log remembers with each launch which
jobs came before it, so that whoever takes the launch up again goes on counting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from dagster_slurm.core import retries
from dagster_slurm.core import tried as trail
from dagster_slurm.core.facts import Ended, Fact, facts, requested_mebibytes
from dagster_slurm.core.partitions import Kind
from dagster_slurm.core.retries import Again, End
from dagster_slurm.core.spec import LaunchKey
from dagster_slurm.core.tried import Tried
from dagster_slurm.engine.ask import Ask, Place
from dagster_slurm.engine.launch import Launch
from dagster_slurm.engine.submission import Submitted
from dagster_slurm.engine.target import Target
from dagster_slurm.errors import DagsterSlurmError, JobError, SubmissionDelayed, SubmissionRefused
from dagster_slurm.pipes import handles
from dagster_slurm.pipes.call import Call
from dagster_slurm.pipes.launching import clear, collected, where
from dagster_slurm.remote.cleaning import CHECKPOINT


class Series:
    """The jobs of one call: the one that is begun or taken up, and those before it.

    Args:
        target: where they go.
        call: what they are for.

    Attributes:
        place: where runs go.
        key: the present launch.
        taken_up: where it was written down, if it was begun before.
        begun: when this process began to wait, in seconds of its monotonic clock.

    Raises:
        JobCancelled: the run was cancelled meanwhile.
        HostError: the host never answered, or refuses us.
    """

    def __init__(self, target: Target, call: Call) -> None:
        self._target = target
        self._call = call
        self._policy = call.retry
        self.begun = time.monotonic()
        found = where(target, call.context, call.name, unread=self._policy is not None)
        self.place: Place = found[0]
        self.key: LaunchKey = found[1]
        self.taken_up: handles.Earlier | None = found[2]
        self._tried = trail.unpacked(self.taken_up.handle.extras.get("tried")) if self.taken_up else ()
        self._next: tuple[LaunchKey, Tried] | None = None
        self._failed: JobError | None = None

    @property
    def ask(self) -> Ask:
        """What the present job is asked for."""
        ask = self._call.ask
        needs = self._policy.needs() if self._policy else None
        asked = ask.resources.over(needs) if needs else ask.resources
        variables = {"DAGSTER_SLURM_CONTINUATION": str(trail.continuation(self._tried))}
        data = ask.data
        if self._policy and self._policy.continues:
            first = replace(self.key, attempt=self._tried[0].attempt) if self._tried else self.key
            data = replace(data, since=first.attempt) if data else None
            variables["DAGSTER_SLURM_CHECKPOINT_DIR"] = f"{self.place.directory(first)}/{CHECKPOINT}"
        resources = trail.changed(asked, self._tried)
        return replace(ask, resources=resources, environment={**ask.environment, **variables}, data=data)

    def prepared(self, launch: Launch) -> Launch:
        """Return the present launch with what later ones need of it."""
        saves = self._policy is not None and self._policy.continues and not self._tried
        return replace(launch, own_folders=(*launch.own_folders, CHECKPOINT)) if saves else launch

    def remember(self, directory: str) -> None:
        """Write the present launch down, before it is submitted."""
        tried = trail.packed(self._tried)
        handles.remember(self._call.context, self.key, directory, self._target.host.name, self.taken_up, tried=tried)

    def facts(self, ended: Ended) -> dict[str, Fact]:
        """Return what is known of all jobs together."""
        return trail.summed(self._tried, facts(ended))

    def succeeded(self, launch: Launch, submitted: Submitted, job: str) -> None:
        """Note on the host that the result was taken over."""
        collected(self._target, launch, submitted, job, success=True)
        self._collect_earlier("success")

    def failed(self, launch: Launch, submitted: Submitted, ended: Ended, error: JobError) -> None:
        """Decide what follows a job that did not end well, and complete its error."""
        own, error.facts = error.facts, self.facts(ended)
        self._next = self._decided(launch, ended, error, own) if self._policy else None
        if self._next is not None:
            clear(self._target, launch, submitted, ended.tracked.job)
            return
        collected(self._target, launch, submitted, ended.tracked.job, success=False)
        self._collect_earlier("failure")

    def goes_on_after(self, error: DagsterSlurmError) -> bool:
        """Whether another job follows; if so, it is the present one now.

        Raises:
            JobError: Slurm does not take the job that was to follow: the end of the one before it is the step's.
        """
        if self._next is None:
            self._refused(error)
            return False
        assert isinstance(error, JobError)  # noqa: S101 - who decided had one
        (self.key, tried), self._next = self._next, None
        self._tried, self.taken_up, self._failed = (*self._tried, tried), None, error
        self._call.context.log.warning(f"{error}\nSubmitting it once more: {tried.text()}.")
        return True

    def _decided(
        self, launch: Launch, ended: Ended, error: JobError, own: Mapping[str, Fact]
    ) -> tuple[LaunchKey, Tried] | None:
        assert self._policy is not None  # noqa: S101 - who calls has looked
        # causes decide here, once: Dagster's own retries would multiply these
        error.allow_retries = False
        end = _end(launch, ended, error)
        decision = retries.decide(self._policy, self._tried, end, self._partitions(end.cause))
        if not isinstance(decision, Again):
            before = [item.text() for item in self._tried]
            error.details["not tried again"] = "; ".join([*before, decision.why])
            return None
        tried = Tried(
            attempt=self.key.attempt,
            job=ended.tracked.job,
            cause=end.cause,
            kind=decision.kind,
            how=decision.how,
            change=trail.next_change(self._tried, decision.change),
            facts=trail.figures(own),
        )
        return replace(self.key, attempt=self.key.attempt + 1), tried

    def _partitions(self, cause: str) -> tuple[Kind, ...]:
        """Return the limits of the cluster, where more is to be asked for."""
        if cause not in ("out_of_memory", "time_limit") or self._target.session is not None:
            return ()
        return self._target.partitions()

    def _refused(self, error: DagsterSlurmError) -> None:
        if self._failed is None or isinstance(error, SubmissionDelayed) or not isinstance(error, SubmissionRefused):
            return
        self._target.host.notify("collected", dir=self.place.directory(self.key), outcome="failure")
        self._collect_earlier("failure")
        self._failed.details["not tried again"] = f"{'; '.join(item.text() for item in self._tried)}: {error.message}"
        raise self._failed from None

    def _collect_earlier(self, outcome: str) -> None:
        for item in self._tried:
            directory = self.place.directory(replace(self.key, attempt=item.attempt))
            self._target.host.notify("collected", dir=directory, outcome=outcome)


def _end(launch: Launch, ended: Ended, error: JobError) -> End:
    start = ended.tracked.record.start
    one = start is not None and start.count == 1
    return End(
        cause=error.cause,
        resources=launch.spec.resources,
        memory=requested_mebibytes(ended),
        node=start.node if start is not None and one else "",
    )
